"""Geometry: what happens to the image happens to every map of the same tile, at any stride."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.geometry import Geometry, draw_geometry, identity
from georelay.errors import UserError

ALL = {"flip": True, "turn": True, "crop": 0, "scale": [1.0, 1.0]}


def drawn(batch: int = 16, tile: int = 16, grid: int = 1, **changes: Any) -> Geometry:
    return draw_geometry(np.random.default_rng(0), batch, tile, ALL | changes, grid)


def one(flip: bool, turn: int, tile: int = 2) -> Geometry:
    zero = np.zeros(1)
    return Geometry(tile, tile, zero, zero, np.full(1, float(tile)), np.array([flip]), np.array([turn]))


@pytest.mark.parametrize(
    ("flip", "turn", "expected"),
    [
        (False, 0, [[1, 2], [3, 4]]),
        (True, 0, [[2, 1], [4, 3]]),
        (False, 1, [[2, 4], [1, 3]]),  # anticlockwise
        (False, 2, [[4, 3], [2, 1]]),
        (True, 1, [[1, 3], [2, 4]]),  # mirrored first, then turned: the transpose
    ],
)
def test_flips_and_turns_by_hand(flip: bool, turn: int, expected: list[list[int]]) -> None:
    result = one(flip, turn).apply(torch.tensor([[[[1, 2], [3, 4]]]]))
    assert result[0, 0].tolist() == expected


def test_all_eight_positions_occur() -> None:
    geometry = drawn(batch=200)
    assert len({(bool(flip), int(turn)) for flip, turn in zip(geometry.flip, geometry.turn, strict=True)}) == 8


def test_off_is_off() -> None:
    maps = torch.rand(16, 3, 16, 16)
    assert torch.equal(drawn(flip=False, turn=False).apply(maps), maps)
    assert torch.equal(identity(16, 16).apply(maps), maps)


@pytest.mark.parametrize("changes", [{}, {"crop": 8}, {"crop": 12}])
def test_a_teacher_that_averages_cells_commutes(changes: dict[str, Any]) -> None:
    def teacher(image: Tensor) -> Tensor:
        return F.avg_pool2d(image, 4) ** 2

    image, geometry = torch.rand(16, 3, 16, 16), drawn(grid=4, **changes)
    torch.testing.assert_close(geometry.apply(teacher(image), stride=4), teacher(geometry.apply(image)), atol=1e-6, rtol=0)


def test_crops_start_anywhere_and_stay_inside() -> None:
    ramp = torch.arange(256.0).view(1, 1, 16, 16).expand(300, 1, 16, 16)
    corner = drawn(batch=300, crop=10, flip=False, turn=False).apply(ramp)[:, 0, 0, 0]
    assert set((corner // 16).tolist()) == set((corner % 16).tolist()) == set(range(7))


def test_crops_keep_to_the_grid() -> None:
    geometry = drawn(batch=100, crop=8, grid=4)
    assert set(geometry.top.tolist()) == {0.0, 4.0, 8.0}


def test_a_crop_off_the_grid_is_refused() -> None:
    with pytest.raises(UserError, match="crop 10 must be a multiple of 4"):
        drawn(crop=10, grid=4)
    with pytest.raises(UserError, match="at most the tile"):
        drawn(crop=32)


def test_scaling_magnifies_by_the_factor() -> None:
    # A plane stays a plane: at scale 2 neighbouring pixels of the result lie half a pixel of the tile apart.
    plane = (torch.arange(16.0).view(1, 1, 1, 16) * 3).expand(8, 1, 16, 16)
    result = drawn(batch=8, crop=8, scale=[2.0, 2.0], flip=False, turn=False).apply(plane)
    assert result.shape[-2:] == (8, 8)
    steps = result[..., 2:-2].diff(dim=-1)
    torch.testing.assert_close(steps, torch.full_like(steps, 1.5), atol=1e-4, rtol=0)


def test_scaled_label_stays_in_register_with_the_image() -> None:
    label = (torch.rand(16, 1, 16, 16) > 0.5).to(torch.uint8)
    label = label.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :16, :16]  # blobs of 4 pixels
    geometry = drawn(scale=[0.8, 1.5], crop=12)
    image, moved = geometry.apply(label.float()), geometry.apply(label, nearest=True)
    assert moved.dtype == torch.uint8
    assert set(moved.unique().tolist()) <= {0, 1}
    assert ((image > 0.5) != (moved == 1)).float().mean() < 0.02


def test_a_part_of_a_batch_has_a_part_of_its_geometry() -> None:
    maps, geometry = torch.rand(16, 2, 16, 16), drawn(crop=8)
    part = slice(4, 9)
    assert torch.equal(geometry.take(part).apply(maps[part]), geometry.apply(maps)[part])


def test_maps_of_another_tile_are_refused() -> None:
    with pytest.raises(ValueError, match="do not cover"):
        drawn().apply(torch.rand(16, 1, 5, 5), stride=4)
