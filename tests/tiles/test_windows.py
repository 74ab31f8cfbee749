"""Tiles cover every pixel; blocks cover every tile once and stay within their bound."""

from __future__ import annotations

import numpy as np
import pytest

from georelay.errors import UserError
from georelay.geo.grid import Grid
from georelay.tiles.windows import cut, offsets, require_tile_fits, tiles_per_block


def grid(height: int, width: int) -> Grid:
    return Grid(height, width, (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), "EPSG:32631", 1, "uint8", None)


def test_offsets_by_hand() -> None:
    assert offsets(64, 16, 16).tolist() == [0, 16, 32, 48]
    assert offsets(50, 16, 16).tolist() == [0, 16, 32, 34]  # the last one is shifted inwards
    assert offsets(16, 16, 16).tolist() == [0]
    assert offsets(40, 16, 8).tolist() == [0, 8, 16, 24]
    assert offsets(50, 16, 16, "pad").tolist() == [0, 16, 32, 48]  # the last one reaches beyond
    assert offsets(50, 16, 16, "drop").tolist() == [0, 16, 32]  # what is left over is in no tile
    assert offsets(48, 16, 16, "drop").tolist() == [0, 16, 32] and len(offsets(6000, 512, 512, "drop")) == 11
    assert len(offsets(6000, 512, 512, "pad")) == 12 and len(offsets(2448, 512, 512, "pad")) == 5


def test_every_pixel_is_in_a_tile() -> None:
    for size in range(16, 70):
        covered = np.zeros(size, bool)
        for start in offsets(size, 16, 12):
            covered[start : start + 16] = True
        assert covered.all() and offsets(size, 16, 12)[-1] + 16 == size
        padded = offsets(size, 16, 12, "pad")
        assert (np.diff(padded) == 12).all() and padded[-1] < size <= padded[-1] + 16


@pytest.mark.parametrize("per_block", [1, 2, 3, 4, 9, 100])
def test_blocks_hold_every_tile_once_and_in_order(per_block: int) -> None:
    places, blocks = cut([grid(64, 48), grid(16, 32)], 16, [16, 16], per_block)
    assert [i for block in blocks for i in range(block.first, block.last)] == list(range(14)) == list(range(len(places)))
    assert max(block.last - block.first for block in blocks) <= per_block
    assert all(set(places.scene[b.first : b.last]) == {b.scene} for b in blocks)


def test_a_block_is_a_rectangle_of_tiles() -> None:
    places, blocks = cut([grid(64, 48)], 16, [16], 7)  # three columns: two rows fit, a third does not
    assert [block.last - block.first for block in blocks] == [6, 6]
    places, blocks = cut([grid(64, 48)], 16, [16], 2)
    assert all(len(set(places.row[b.first : b.last])) == 1 for b in blocks)


def test_places_run_along_rows_first() -> None:
    places, _ = cut([grid(32, 48)], 16, [16], 100)
    assert places.row.tolist() == [0, 0, 0, 16, 16, 16] and places.col.tolist() == [0, 16, 32] * 2


def test_block_size_follows_memory() -> None:
    assert tiles_per_block(64, 2, 1_000_000) == 8
    assert tiles_per_block(1, 4, 1_000_000) == 1


def test_a_scene_smaller_than_a_tile() -> None:
    with pytest.raises(UserError, match="12 x 20 pixels, less than one tile of 16"):
        require_tile_fits(grid(20, 12), 16, "a.tif")
