"""Which tile is for training, validation or testing, and in which order training tiles get their labels.

Splits are spatial: whole scenes, or square blocks of ground, are assigned, then tiles that come closer than the
buffer to a tile of a more protected split are dropped. All draws come from hashes of names and positions, so they
do not change with the version of a random generator, nor when scenes are added elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from georelay.errors import UserError
from georelay.files import digest
from georelay.geo.grid import Grid
from georelay.sources.receipt import Scene
from georelay.tiles.schema import SPLITS
from georelay.tiles.windows import Places

TRAIN, VAL, TEST = range(3)
TOUCH = 1e-6  # metres; rounding of coordinates must not make neighbours overlap


def transforms(places: Places, grids: Sequence[Grid]) -> np.ndarray:
    """The affine transform of every tile."""
    scene = np.array([grid.transform for grid in grids], np.float64)[places.scene]
    a, b, c, d, e, f = scene.T
    x, y = a * places.col + b * places.row + c, d * places.col + e * places.row + f
    return np.stack([a, b, x, d, e, y], axis=1)


def footprints(affine: np.ndarray, tile: int) -> np.ndarray:
    """Left, bottom, right, top of the ground box around every tile."""
    a, b, c, d, e, f = affine.T
    x = np.stack([c, c + a * tile, c + b * tile, c + (a + b) * tile])
    y = np.stack([f, f + d * tile, f + e * tile, f + (d + e) * tile])
    return np.stack([x.min(0), y.min(0), x.max(0), y.max(0)], axis=1)


def apart(boxes: np.ndarray, scene: np.ndarray, buffer: float) -> np.ndarray:
    """Boxes of scenes without a known place, moved so far from each other that only their own scene is near."""
    step = np.ptp(boxes[:, [0, 2]]) + 2 * buffer + 1
    return boxes + np.outer(scene * step, [1, 0, 1, 0])


def by_scene(places: Places, scenes: Sequence[Scene]) -> np.ndarray:
    """The split that each tile's scene was given by its source."""
    codes: np.ndarray = np.array([SPLITS.index(scene.split) for scene in scenes], np.uint8)[places.scene]
    return codes


def by_blocks(boxes: np.ndarray, region: np.ndarray, split: Any) -> np.ndarray:
    """Draw a split for every square block of ground, region by region, and give it to the tiles centred there."""
    centre = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2 / split.block).astype(np.int64)
    blocks, member = np.unique(np.column_stack([region, centre]), axis=0, return_inverse=True)
    drawn = np.array([_draw(split.seed, *block) for block in blocks.tolist()], np.uint64)
    codes = np.zeros(len(blocks), np.uint8)
    for name in np.unique(region):
        mine = np.flatnonzero(blocks[:, 0] == name)
        order = mine[np.argsort(drawn[mine], kind="stable")]
        codes[order] = _shares(len(order), split.fractions)
    return codes[member.ravel()]


def _shares(count: int, fractions: Any) -> np.ndarray:
    """Split codes for `count` blocks in drawn order; a split that is wanted gets a block as long as there are any."""
    wanted = [getattr(fractions, name) for name in SPLITS]
    if abs(sum(wanted) - 1) > 1e-6:
        raise UserError(f"fractions add up to {sum(wanted):g}, not 1", "split.fractions")
    test, val = (max(round(count * wanted[code]), int(wanted[code] > 0)) for code in (TEST, VAL))
    codes = np.full(count, TRAIN, np.uint8)
    codes[:test], codes[test : test + val] = TEST, VAL
    return codes


def keep_apart(split: np.ndarray, boxes: np.ndarray, buffer: float) -> np.ndarray:
    """Which tiles may stay: val tiles away from test, train tiles away from both."""
    keep = np.ones(len(split), bool)
    for code, protected in ((VAL, (TEST,)), (TRAIN, (TEST, VAL))):
        mine, others = np.flatnonzero(split == code), keep & np.isin(split, protected)
        keep[mine] = ~too_close(boxes[mine], boxes[others], buffer)
    return keep


def too_close(boxes: np.ndarray, others: np.ndarray, buffer: float) -> np.ndarray:
    """Which boxes overlap one of the others or have less than `buffer` of ground between.

    Others are hashed into cells as wide as two near boxes' centres can be apart; each box then meets only the nine
    cells around its own, three neighbouring ones of which are one range of the sorted cell numbers.
    """
    close = np.zeros(len(boxes), bool)
    if not len(boxes) or not len(others):
        return close
    reach = buffer + max((both[:, 2:] - both[:, :2]).max() for both in (boxes, others))
    corner = np.minimum(boxes[:, :2].min(0), others[:, :2].min(0))
    mine, theirs = (np.floor((_centres(part) - corner) / reach).astype(np.int64) for part in (boxes, others))
    rows = max(mine[:, 1].max(), theirs[:, 1].max()) + 3
    cells = theirs[:, 0] * rows + theirs[:, 1] + 1
    order = np.argsort(cells, kind="stable")
    cells, others = cells[order], others[order]
    for column in (-1, 0, 1):
        middle = (mine[:, 0] + column) * rows + mine[:, 1] + 1
        first, last = np.searchsorted(cells, middle - 1, "left"), np.searchsorted(cells, middle + 1, "right")
        _compare(boxes, others, first, last, buffer, close)
    return close


def _compare(
    boxes: np.ndarray, others: np.ndarray, first: np.ndarray, last: np.ndarray, buffer: float, close: np.ndarray
) -> None:
    """Mark boxes that are close to one of others[first:last]; looks at one candidate of every box at a time."""
    while True:
        active = np.flatnonzero((first < last) & ~close)
        if not len(active):
            return
        a, b = boxes[active], others[first[active]]
        gap = np.maximum(a[:, :2] - b[:, 2:], b[:, :2] - a[:, 2:])  # negative along an axis: they overlap in it
        distance = np.hypot(*np.maximum(gap, 0).T)
        close[active] = (distance < buffer - TOUCH) | (gap < -TOUCH).all(axis=1)
        first = first + 1


def _centres(boxes: np.ndarray) -> np.ndarray:
    centres: np.ndarray = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centres


def label_ranks(places: Places, names: Sequence[str], domain: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """A fixed random order of the eligible tiles of each domain that visits all scenes before one comes again.

    Budgets are prefixes of it, so a larger budget holds all tiles of a smaller one.
    """
    rank = np.full(len(places), -1, np.int32)
    keys = zip(places.scene.tolist(), places.row.tolist(), places.col.tolist(), strict=True)
    drawn = np.array([_draw(names[scene], row, col) for scene, row, col in keys], np.uint64)
    for code in np.unique(domain[eligible]):
        mine = np.flatnonzero(eligible & (domain == code))
        mine = mine[np.lexsort((drawn[mine], places.scene[mine]))]
        starts = np.searchsorted(places.scene[mine], places.scene[mine])
        turn = np.arange(len(mine)) - starts  # how many tiles of its scene come before it
        rank[mine[np.lexsort((drawn[mine], turn))]] = np.arange(len(mine))
    return rank


def split_lists(split: np.ndarray, places: Places, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per split: tile numbers, how many, and a digest of where these tiles are."""
    lists = {}
    for code, name in enumerate(SPLITS):
        tiles = np.flatnonzero(split == code)
        part = places.chosen(tiles)
        where = [[names[s], r, c] for s, r, c in zip(part.scene.tolist(), part.row.tolist(), part.col.tolist(), strict=True)]
        lists[name] = {"count": len(tiles), "digest": digest(where), "tiles": tiles.tolist()}
    return lists


def require_splits(split: np.ndarray, task: str) -> None:
    """Training and testing both need at least one tile."""
    for code in (TRAIN, TEST):
        if not (split == code).any():
            hint = "give it scenes, or lower `split.buffer`"
            raise UserError(f"split {SPLITS[code]} is empty", f"params.yaml: tasks.{task}", hint)


def _draw(*parts: object) -> int:
    """64 random bits that belong to a name."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")
