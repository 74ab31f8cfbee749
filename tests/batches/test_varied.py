"""Crops drawn again while one class covers too much of them; target tiles with a geometry of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from georelay.batches.geometry import Move, draw_geometry
from georelay.batches.rescale import draw_rescale
from georelay.batches.streams import Batch, open_stream
from georelay.batches.varied import REDRAWS, varied
from georelay.params import load_params
from georelay.reading import validated
from georelay.settings.augment import Augment
from invented import AUGMENT, SIDE, InventedStore, make_plan

IGNORE = 255
IMAGE = {"scaling": "image", "scale": [0.5, 2.0], "resizing": "opencv", "crop": 16}
WHOLE = {"flip": False, "turn": False, "crop": 16, "scale": [1.0, 1.0], "scaling": "fit", "resizing": "opencv", "padding": "mean"}


def most(label: Tensor) -> list[float]:
    """The share of the most frequent class of each crop, 1 where there is but one."""
    counts = [torch.bincount(crop[crop != IGNORE], minlength=4).double() for crop in label.flatten(1)]
    return [(count.max() / count.sum()).item() for count in counts]


def corner(batch: int) -> Tensor:
    """Tiles of class 0 with class 1 in the last quarter of the last row and column: few crops of 8 pixels hold both."""
    label = torch.zeros(batch, 1, 32, 32, dtype=torch.uint8)
    label[:, :, 24:, 24:] = 1
    return label


def moves(batch: int, rule: str) -> Move:
    rng, augment = np.random.default_rng(0), AUGMENT | {"crop": 8, "scaling": rule}
    return draw_rescale(rng, batch, 32, augment) if rule == "image" else draw_geometry(rng, batch, 32, augment, 4)


def drawn_again(
    rule: str, batch: int = 64, samples: slice = slice(None), share: float = 0.9, label: Tensor | None = None
) -> Move:
    label, move = (corner(batch) if label is None else label)[samples], moves(batch, rule).take(samples)
    return varied(move, label, share, IGNORE, np.random.default_rng(1), batch, samples, 4)


def good(move: Move, label: Tensor, share: float) -> np.ndarray:
    return np.array([value < share for value in most(move.apply(label, nearest=True))])


@pytest.mark.parametrize("rule", ["image", "window"])
def test_poor_crops_are_drawn_again_and_good_ones_stay(rule: str) -> None:
    before, after, label = moves(64, rule), drawn_again(rule), corner(64)
    was, now = good(before, label, 0.9), good(after, label, 0.9)
    assert was.sum() < 12 and now.sum() > 3 * max(was.sum(), 3)
    tops = [np.asarray(vars(move)["top"]) for move in (before, after)]
    assert (tops[0][was] == tops[1][was]).all() and (tops[0][~was] != tops[1][~was]).any()
    assert np.array_equal(vars(before)["flip"], vars(after)["flip"])
    if rule == "window":
        assert not (tops[1] % 4).any(), "crops keep to the grid of stored maps"


def test_as_often_as_ten_times() -> None:
    """What is never good enough is looked at eleven times, and stays at the eleventh place."""
    seen: list[Move] = []

    class Watched(np.random.Generator):
        def random(self, *size: Any, **options: Any) -> Any:
            seen.append(size)  # type: ignore[arg-type]
            return super().random(*size, **options)

    move, nothing = moves(4, "image"), torch.zeros(4, 1, 32, 32, dtype=torch.uint8)
    result = varied(move, nothing, 0.9, IGNORE, Watched(np.random.Philox(3)), 4, slice(None), 1)
    assert len(seen) == REDRAWS == 10
    rng = np.random.Generator(np.random.Philox(3))
    last = [rng.random((2, 4)) for _ in range(10)][-1]
    assert np.array_equal(vars(result)["top"], np.floor(last[0] * 25)), "one of 25 rows"


def test_ignored_pixels_are_no_class() -> None:
    """Half a crop without a label: the rest is of two classes, or of one."""
    label = torch.full((2, 1, 32, 32), IGNORE, dtype=torch.uint8)
    label[0, :, :, ::4], label[0, :, :, 1::4] = 0, 1
    label[1, :, :, ::4] = 3
    before, after = moves(2, "image"), drawn_again("image", 2, share=0.75, label=label)
    same = vars(before)["top"] == vars(after)["top"]
    assert same.tolist() == [True, False]


def test_a_rank_redraws_its_share_alone() -> None:
    whole = drawn_again("image")
    shares = [drawn_again("image", samples=slice(start, start + 16)) for start in range(0, 64, 16)]
    for name in ("top", "left"):
        assert np.array_equal(np.concatenate([vars(share)[name] for share in shares]), vars(whole)[name])


def batch_of(stream: str = "labelled", rank: int = 0, world: int = 1, step: int = 0, **changes: Any) -> Batch:
    return open_stream(InventedStore(), make_plan(augment=IMAGE | changes), stream, 0).batch(step, rank, world)


def test_streams_redraw_labelled_crops_alone() -> None:
    plain, again = (np.concatenate([most(batch_of(step=s, crop_share=c).label) for s in range(6)]) for c in (1.0, 0.6))
    assert (again >= 0.6).sum() < (plain >= 0.6).sum() / 2 > 2
    for stream in ("unlabelled", "target"):
        assert torch.equal(batch_of(stream, crop_share=0.6).image, batch_of(stream).image), "their labels are not looked at"
    shares = [batch_of(rank=rank, world=4, crop_share=0.6) for rank in range(4)]
    assert torch.equal(torch.cat([share.image for share in shares]), batch_of(crop_share=0.6).image)


def test_target_tiles_have_a_geometry_of_their_own() -> None:
    still = {"gain": 0.0, "photometric": AUGMENT["photometric"]}
    batch = batch_of("target", target=WHOLE, **still)
    assert batch.valid.all() and batch.image.shape[-2:] == (16, 16)
    tiles = torch.from_numpy(InventedStore().array("label"))[batch.index]
    assert torch.equal(batch.label, tiles[:, ::2, ::2].long()), f"every second of {SIDE} pixels, and nothing is mirrored"
    for stream in ("labelled", "unlabelled"):
        assert torch.equal(batch_of(stream, target=WHOLE).image, batch_of(stream).image)


def test_target_tiles_have_colours_of_their_own() -> None:
    """Drawn by the rules of the others, in another order."""
    loud = {"target": WHOLE | {"crop": SIDE}, "photometric": AUGMENT["photometric"] | {"chance": 1.0}}
    plain = batch_of("target", target=WHOLE | {"crop": SIDE}).image
    changed = batch_of("target", **loud).image
    assert not torch.equal(plain, changed) and not torch.equal(changed, batch_of("target", step=1, **loud).image)


def test_the_default_is_off() -> None:
    augment = load_params(Path(__file__).parents[2] / "params.yaml").defaults.augment
    assert (augment.crop_share, augment.target, augment.resizing) == (1.0, None, "pillow")
    given = validated(Augment, augment.model_dump() | {"target": WHOLE}, "augment")
    assert given.target.scaling == "fit"
