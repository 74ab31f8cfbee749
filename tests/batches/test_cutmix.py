"""CutMix: boxes and mixtures as RS-MTDF has them, and shares of coarse cells worked out by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from georelay.batches.cutmix import CutMix, draw_cutmix
from georelay.errors import UserError

DATA = Path(__file__).parents[1] / "parity" / "data"
PAPER: dict[str, Any] = {"probability": 0.5, "area": (0.02, 0.4), "ratio": (0.3, 1 / 0.3)}


class RecordedDraws:
    """The generators of the public code: Python's for the gate, NumPy's old one for the box."""

    def __init__(self, seed: int) -> None:
        self.gate, self.box = random.Random(seed), np.random.RandomState(seed)
        self.random, self.uniform, self.integers = self.gate.random, self.box.uniform, self.box.randint


def drawn(batch: int = 200, side: int = 64, **changes: Any) -> CutMix:
    return draw_cutmix(np.random.default_rng(0), batch, side, **(PAPER | changes))


def boxed(*boxes: tuple[int, int, int, int], side: int = 8) -> CutMix:
    return CutMix(side, np.array(boxes))


def test_the_same_draws_give_the_boxes_of_the_paper() -> None:
    rows = np.load(DATA / "mtdf_cutmix.npz")["rows"]
    for side, seed, *corners, area in rows.tolist():
        box = draw_cutmix(RecordedDraws(seed), 1, side, **PAPER).boxes[0]
        assert box.tolist() == (corners if area else [0, 0, 0, 0])
    assert 20 < (rows[:, -1] > 0).sum() < 55


def test_mixtures_are_those_of_the_public_code() -> None:
    step = np.load(DATA / "mtdf_cutmix.npz")
    mix = CutMix(16, np.stack([_corners(mask) for mask in step["cutmix_box"]]))
    confidence, pseudo = torch.from_numpy(step["ema_logits"]).softmax(dim=1).max(dim=1)
    given = {"strong": torch.from_numpy(step["img_u_s"]), "ignore": torch.from_numpy(step["ignore_mask"])}
    for name, maps in (given | {"pseudo": pseudo}).items():
        assert np.array_equal(mix.apply(maps).numpy(), step[f"{name}_mixed"]), name
    np.testing.assert_allclose(mix.apply(confidence).numpy(), step["conf_mixed"], atol=1e-6)


def _corners(mask: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(mask)
    return np.array([y.min(), y.max() + 1, x.min(), x.max() + 1] if len(y) else [0] * 4)


def test_a_box_shows_the_partner_from_the_other_end() -> None:
    maps = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 8, 8)
    mixed = boxed((0, 4, 2, 8), (0, 8, 0, 8), (0, 0, 0, 0)).apply(maps)
    assert (mixed[0, :, :4, 2:] == 2).all()
    assert mixed[0].sum() == 2 * 2 * 24  # and nothing outside the box
    assert (mixed[1] == 1).all()  # the middle one meets itself
    assert (mixed[2] == 2).all()


def test_another_partner_may_be_named() -> None:
    mixed = boxed((2, 3, 4, 6)).apply(torch.zeros(1, 8, 8), torch.ones(1, 8, 8))
    assert mixed.sum() == mixed[0, 2, 4:6].sum() == 2


def test_cells_covered_in_part_are_blended_by_their_share() -> None:
    # Cells of 4 pixels; the box covers rows 0 to 6 and columns 3 to 8.
    mixed = boxed((0, 6, 3, 8)).apply(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    assert mixed[0, 0].tolist() == [[0.25, 1.0], [0.125, 0.5]]
    nearest = boxed((0, 7, 3, 8)).apply(torch.zeros(1, 2, 2), torch.ones(1, 2, 2), nearest=True)
    assert nearest[0].tolist() == [[0, 1], [0, 1]]


def test_cells_of_a_padded_tile_lie_where_they_were() -> None:
    # 3 cells of 4 pixels over a tile of 10 pixels padded to 12: a box over the tile covers the last cell by half.
    mixed = boxed((0, 10, 0, 10), side=10).apply(torch.zeros(1, 1, 3, 3), torch.ones(1, 1, 3, 3), span=12)
    assert mixed[0, 0, 0].tolist() == [1, 1, 0.5]
    assert mixed[0, 0, 2].tolist() == [0.5, 0.5, 0.25]


@settings(max_examples=50, deadline=None)
@given(cells=st.integers(1, 20), corners=st.lists(st.integers(0, 32), min_size=4, max_size=4))
def test_blended_cells_show_as_much_of_the_partner_as_pixels_do(cells: int, corners: list[int]) -> None:
    (y0, y1), (x0, x1) = sorted(corners[:2]), sorted(corners[2:])
    mixed = boxed((y0, y1, x0, x1), side=32).apply(torch.zeros(1, cells, cells), torch.ones(1, cells, cells))
    assert float(mixed.mean()) == pytest.approx((y1 - y0) * (x1 - x0) / 32**2, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int64, torch.bool])
def test_whole_cells_keep_their_type_and_bits(dtype: torch.dtype) -> None:
    maps = (torch.rand(2, 8, 8) * 50000).to(dtype)
    mixed = boxed((0, 8, 0, 8), (0, 0, 0, 0)).apply(maps)
    assert mixed.dtype == dtype
    assert torch.equal(mixed, maps[[1, 1]])


def test_large_halves_are_blended_without_overflow() -> None:
    far = torch.full((1, 2, 2), 60000.0, dtype=torch.float16)
    assert (boxed((0, 2, 0, 8)).apply(-far, far)[0, 0] == 0).all()


def test_a_part_of_a_batch_has_its_own_boxes() -> None:
    maps, other, mix = torch.rand(200, 2, 64, 64), torch.rand(200, 2, 64, 64), drawn()
    part = slice(30, 60)
    assert torch.equal(mix.take(part).apply(maps[part], other[part]), mix.apply(maps, other)[part])
    with pytest.raises(ValueError, match="200 boxes for 30 maps"):
        mix.apply(maps[part])


def test_boxes_have_the_shares_and_shapes_asked_for() -> None:
    y0, y1, x0, x1 = drawn(batch=2000, side=512).boxes.T
    height, width = y1 - y0, x1 - x0
    some = height > 0
    assert some.mean() == pytest.approx(0.5, abs=0.05)
    share, ratio = (height * width)[some] / 512**2, height[some] / width[some]
    assert 0.019 < share.min() < share.max() <= 0.4
    assert share.mean() == pytest.approx(0.21, abs=0.01)  # the middle of the range: a box that does not fit keeps its area
    assert 0.29 < ratio.min() < ratio.max() < 3.5
    assert ((y0 >= 0) & (y1 <= 512) & (x0 >= 0) & (x1 <= 512)).all()


def test_never_and_always() -> None:
    assert (drawn(probability=0.0).boxes == 0).all()
    boxes = drawn(probability=1.0).boxes
    assert (boxes[:, 1] > boxes[:, 0]).all()


def test_borders_keep_to_a_grid() -> None:
    free, kept = drawn().boxes, drawn(grid=16).boxes
    assert (kept % 16 == 0).all()
    assert np.abs(kept - free).max() == 8
    with pytest.raises(ValueError, match="64 pixels have no grid of 24"):
        drawn(grid=24)


@pytest.mark.parametrize("changes", [{"area": (0.1, 1.2)}, {"area": (0.5, 0.5), "ratio": (3.0, 4.0)}])
def test_boxes_that_never_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no box of"):
        drawn(**changes)
