"""Which tile is for training, validation or testing, and in which order training tiles get their labels.

Whole scenes, square blocks of ground or single tiles are assigned, then tiles that overlap a tile of a more protected
split, or come closer to it than the buffer, are dropped. All draws come from hashes of names and positions, so they do
not change with the version of a random generator, nor when scenes are added elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
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


def turned(affine: np.ndarray, tile: int) -> np.ndarray:
    """The transforms of tiles that were turned by 180 degrees: their first pixel is what was the last."""
    a, b, c, d, e, f = affine.T
    return np.stack([-a, -b, c + (a + b) * tile, -d, -e, f + (d + e) * tile], axis=1)


def extents(places: Places, grids: Sequence[Grid], tile: int) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of the part of every tile that lies in its scene."""
    height, width = np.array([(grid.height, grid.width) for grid in grids])[places.scene].T
    return np.minimum(tile, width - places.col), np.minimum(tile, height - places.row)


def footprints(affine: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Left, bottom, right, top of the ground box around every tile."""
    a, b, c, d, e, f = affine.T
    x = np.stack([c, c + a * width, c + b * height, c + a * width + b * height])
    y = np.stack([f, f + d * width, f + e * height, f + d * width + e * height])
    return np.stack([x.min(0), y.min(0), x.max(0), y.max(0)], axis=1)


def apart(boxes: np.ndarray, scene: np.ndarray, buffer: float) -> np.ndarray:
    """Boxes of scenes without a known place, moved so far from each other that only their own scene is near."""
    step = np.ptp(boxes[:, [0, 2]]) + 2 * buffer + 1
    return boxes + np.outer(scene * step, [1, 0, 1, 0])


def by_scene(places: Places, scenes: Sequence[Scene]) -> np.ndarray:
    """The split that each tile's scene was given by its source."""
    codes: np.ndarray = np.array([SPLITS.index(scene.split) for scene in scenes], np.uint8)[places.scene]
    return codes


def by_draw(places: Places, boxes: np.ndarray, region: np.ndarray, names: Sequence[str], split: Any) -> np.ndarray:
    """The split of every tile by the rule of `split` that draws, region by region."""
    if split.rule == "blocks":
        return by_blocks(boxes, region, split)
    if split.rule == "scenes":
        return by_scenes(places, region, names, split)
    if split.rule == "eastings":
        return by_eastings(places, boxes, region, split)
    return by_tiles(places, region, names, split)


def by_blocks(boxes: np.ndarray, region: np.ndarray, split: Any) -> np.ndarray:
    """Draw a split for every square block of ground, region by region, and give it to the tiles centred there."""
    centre = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2 / split.block).astype(np.int64)
    blocks, member = np.unique(np.column_stack([region, centre]), axis=0, return_inverse=True)
    drawn = [_draw(split.seed, *block) for block in blocks.tolist()]
    return _dealt(drawn, blocks[:, 0], split.fractions, _rounded)[member.ravel()]


def by_scenes(places: Places, region: np.ndarray, names: Sequence[str], split: Any) -> np.ndarray:
    """Draw a split for every scene, region by region, and give it to its tiles."""
    scenes, first, member = np.unique(places.scene, return_index=True, return_inverse=True)
    drawn = [_draw(split.seed, names[scene]) for scene in scenes.tolist()]
    return _dealt(drawn, region[first], split.fractions, _rounded)[member.ravel()]


def by_eastings(places: Places, boxes: np.ndarray, region: np.ndarray, split: Any) -> np.ndarray:
    """Bins of equal number from west to east, region by region, of scenes by the eastings of their centres.

    Scenes of one place, seen several times, are in one bin.
    """
    scenes, first, member = np.unique(places.scene, return_index=True, return_inverse=True)
    west, east = np.full(len(scenes), np.inf), np.full(len(scenes), -np.inf)
    np.minimum.at(west, member.ravel(), boxes[:, 0])
    np.maximum.at(east, member.ravel(), boxes[:, 2])
    middle, bins = (west + east) / 2, np.zeros(len(scenes), np.int64)
    for name in np.unique(region):
        mine = region[first] == name
        edges = np.quantile(middle[mine], np.arange(1, split.bins) / split.bins)
        bins[mine] = np.searchsorted(edges, middle[mine], side="right")
    codes = np.full(split.bins, TRAIN, np.uint8)
    codes[-1 - split.fold], codes[(-2 - split.fold) % split.bins] = TEST, VAL
    return np.asarray(codes[bins][member.ravel()])


def by_tiles(places: Places, region: np.ndarray, names: Sequence[str], split: Any) -> np.ndarray:
    """Draw a split for every tile by itself, region by region; as papers do, and it leaks."""
    drawn = [_draw(split.seed, names[scene], row, col) for scene, row, col in places.triples]
    return _dealt(drawn, region, split.fractions, _truncated)


def _dealt(drawn: Sequence[int], region: np.ndarray, fractions: Any, shares: Callable[[int, Any], np.ndarray]) -> np.ndarray:
    """A split code for everything that was drawn a number for: in the order of the numbers, each region by itself."""
    numbers = np.array(drawn, np.uint64)
    codes = np.zeros(len(numbers), np.uint8)
    for name in np.unique(region):
        mine = np.flatnonzero(region == name)
        order = mine[np.argsort(numbers[mine], kind="stable")]
        codes[order] = shares(len(order), fractions)
    return codes


def _rounded(count: int, fractions: Any) -> np.ndarray:
    """Split codes in drawn order; a split that is wanted gets something as long as there is any."""
    test, val = (max(round(count * part), int(part > 0)) for part in (fractions.test, fractions.val))
    codes = np.full(count, TRAIN if fractions.train else TEST, np.uint8)
    codes[:test], codes[test : test + val] = TEST, VAL
    return codes


def _truncated(count: int, fractions: Any) -> np.ndarray:
    """Split codes in drawn order; train and val are rounded down and test has the rest, as in published lists."""
    train, val = (int(count * part) for part in (fractions.train, fractions.val))
    codes = np.full(count, TEST, np.uint8)
    codes[:train], codes[train : train + val] = TRAIN, VAL
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
    drawn = np.array([_draw(names[scene], row, col) for scene, row, col in places.triples], np.uint64)
    for code in np.unique(domain[eligible]):
        mine = np.flatnonzero(eligible & (domain == code))
        mine = mine[np.lexsort((drawn[mine], places.scene[mine]))]
        starts = np.searchsorted(places.scene[mine], places.scene[mine])
        turn = np.arange(len(mine)) - starts  # how many tiles of its scene come before it
        rank[mine[np.lexsort((drawn[mine], turn))]] = np.arange(len(mine))
    return rank


def split_lists(split: np.ndarray, places: Places, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per split: tile numbers, how many, and a digest of where these tiles are."""
    return {name: _listed(np.flatnonzero(split == code), places, names) for code, name in enumerate(SPLITS)}


def ranked_lists(
    rank: np.ndarray, domain: np.ndarray, domains: Sequence[str], places: Places, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Per domain the same of the labelled training tiles, in the order of their ranks: every label budget is a prefix."""
    order = np.argsort(rank, kind="stable")
    ranked = {name: order[(rank[order] >= 0) & (domain[order] == code)] for code, name in enumerate(domains)}
    return {name: _listed(tiles, places, names) for name, tiles in ranked.items()}


def _listed(tiles: np.ndarray, places: Places, names: Sequence[str]) -> dict[str, Any]:
    where = [[names[scene], row, col] for scene, row, col in places.chosen(tiles).triples]
    return {"count": len(tiles), "digest": digest(where), "tiles": tiles.tolist()}


def require_splits(split: np.ndarray, task: str) -> None:
    """Training and testing both need at least one tile."""
    for code in (TRAIN, TEST):
        if not (split == code).any():
            hint = "give it scenes, or lower `split.buffer`"
            raise UserError(f"split {SPLITS[code]} is empty", f"params.yaml: tasks.{task}", hint)


def _draw(*parts: object) -> int:
    """64 random bits that belong to a name."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")
