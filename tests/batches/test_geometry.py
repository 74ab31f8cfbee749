"""Geometry: what happens to the image happens to every map of the same tile, whatever the size of its cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.geometry import Geometry, common_grid, draw_geometry, identity
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
    torch.testing.assert_close(geometry.apply(teacher(image)), teacher(geometry.apply(image)), atol=1e-6, rtol=0)


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


def window(top: float, left: float, side: int, tile: int) -> Geometry:
    """One window that is cut and neither mirrored nor turned."""
    zero = np.zeros(1)
    return Geometry(tile, side, zero + top, zero + left, zero + side, zero.astype(bool), zero.astype(int))


def test_a_crop_between_cells_is_a_slice() -> None:
    maps = torch.rand(1, 3, 4, 4)  # cells of 8 pixels
    assert torch.equal(window(8, 16, 16, 32).apply(maps), maps[..., 1:3, 2:4])


def test_a_crop_through_cells_is_resampled_by_hand() -> None:
    # Cells of 4 pixels, a window from pixel 2: each result cell lies half and half on two cells.
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4) ** 2
    assert window(0, 2, 8, 16).apply(ramp)[0, 0, 0].tolist() == [0.5, 2.5]


@pytest.mark.parametrize(("side", "cells", "expected"), [(16, 19, 10), (12, 19, 7), (16, 5, 2), (4, 3, 1), (1, 2, 1)])
def test_cells_that_are_no_whole_pixels_keep_about_their_size(side: int, cells: int, expected: int) -> None:
    plane = (torch.arange(cells) + 0.5).view(1, 1, 1, -1).expand(1, 1, cells, cells) * 32 / cells  # pixel of each centre
    result = window(3, 7, side, 32).apply(plane)[0, 0, 0]
    cell = side / expected
    assert result.shape == (expected,)
    inner = slice(1, -1)  # the outer half cell of a tile has nothing to be interpolated with
    torch.testing.assert_close(result[inner], (7 + (torch.arange(expected) + 0.5) * cell)[inner], atol=1e-4, rtol=0)


@pytest.mark.parametrize("cells", [3, 16, 19])
def test_flips_and_turns_are_exact_on_any_grid(cells: int) -> None:
    maps = torch.rand(1, 2, cells, cells)
    for flip, turn in [(False, 1), (True, 0), (True, 3)]:
        mirrored = maps.flip(-1) if flip else maps
        assert torch.equal(one(flip, turn, tile=16).apply(maps), mirrored.rot90(turn, (-2, -1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_stay_halves_and_are_resampled_in_float32(dtype: torch.dtype) -> None:
    maps = (torch.rand(16, 3, 16, 16) * 100).to(dtype)
    exact, scaled = drawn(crop=8), drawn(crop=8, scale=[0.8, 1.3])
    for geometry in (exact, scaled):
        assert torch.equal(geometry.apply(maps), geometry.apply(maps.float()).to(dtype))


def test_what_becomes_of_a_tile_does_not_depend_on_its_neighbours() -> None:
    # Without a crop what would be shrunk keeps its size: some windows are the whole tile, others are magnified.
    maps, geometry = torch.rand(16, 2, 16, 16), drawn(scale=[0.5, 1.5])
    assert 2 < (geometry.window == 16).sum() < 14
    alone = [geometry.take(slice(place, place + 1)).apply(maps[place : place + 1]) for place in range(16)]
    assert torch.equal(torch.cat(alone), geometry.apply(maps))


def test_the_common_grid_of_cells() -> None:
    assert common_grid(64, [16, 8, 64]) == 8  # cells of 4, 8 and 1 pixels
    assert common_grid(48, [12, 8]) == 12  # cells of 4 and 6
    assert common_grid(256, [19, 37, 16]) == 16  # of the others no crop is a slice anyway
    assert common_grid(256, []) == 1


def test_maps_that_are_not_square_are_refused() -> None:
    with pytest.raises(ValueError, match="4 x 5 cells do not cover square tiles"):
        drawn().apply(torch.rand(16, 1, 4, 5))
