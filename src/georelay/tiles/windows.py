"""Where tiles lie in their scenes, and which of them are read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from georelay.errors import UserError
from georelay.geo.grid import Grid

# A block in work holds the raster window, the tiles cut from it and copies on their way out of it.
COPIES = 4


@dataclass(frozen=True)
class Places:
    """Every tile's scene and first pixel, scene by scene and row by row."""

    scene: np.ndarray
    row: np.ndarray
    col: np.ndarray

    def __len__(self) -> int:
        return len(self.scene)

    @property
    def triples(self) -> list[tuple[int, int, int]]:
        """Scene, row and column of every tile, as plain numbers."""
        return list(zip(self.scene.tolist(), self.row.tolist(), self.col.tolist(), strict=True))

    def chosen(self, keep: np.ndarray) -> Places:
        """The places of some tiles."""
        return Places(self.scene[keep], self.row[keep], self.col[keep])


@dataclass(frozen=True)
class Block:
    """Tiles `first` to `last` (not included), all of one scene, cut from one raster window."""

    scene: int
    first: int
    last: int


def offsets(size: int, tile: int, stride: int, edges: str = "shift") -> np.ndarray:
    """First pixels of the tiles along one axis. What is left over gets a tile that is shifted inwards or reaches beyond,
    or is dropped.
    """
    starts = list(range(0, size - tile + 1, stride))
    if starts[-1] + tile < size and edges != "drop":
        starts.append(size - tile if edges == "shift" else starts[-1] + stride)
    return np.array(starts, np.int32)


def cut(
    grids: Sequence[Grid], tile: int, strides: Sequence[int], per_block: int, edges: str = "shift"
) -> tuple[Places, list[Block]]:
    """The places of all tiles of all scenes, each with its stride, and blocks of at most `per_block` of them."""
    parts, blocks, count = [], [], 0
    for scene, (grid, stride) in enumerate(zip(grids, strides, strict=True)):
        rows, cols = (offsets(size, tile, stride, edges) for size in (grid.height, grid.width))
        row, col = (axis.ravel() for axis in np.meshgrid(rows, cols, indexing="ij"))
        parts.append((np.full(row.size, scene, np.int32), row, col))
        blocks += [Block(scene, count + a, count + b) for a, b in _spans(len(rows), len(cols), per_block)]
        count += row.size
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Places(*columns), blocks


def tiles_per_block(memory_mb: int, workers: int, tile_bytes: int) -> int:
    """How many tiles may be in work at once in each worker; one is always allowed."""
    return max(1, int(memory_mb * 1e6 / (workers * COPIES * tile_bytes)))


def require_tile_fits(grid: Grid, tile: int, where: object) -> None:
    """A scene smaller than one tile cannot be cut."""
    if min(grid.height, grid.width) < tile:
        what = f"has {grid.width} x {grid.height} pixels, less than one tile of {tile}"
        raise UserError(what, str(where), "lower `tile` of the task")


def _spans(rows: int, cols: int, per_block: int) -> list[tuple[int, int]]:
    """Whole rows of tiles where they fit, else pieces of a row: so a block's window holds its tiles and no more."""
    step = per_block // cols * cols
    if step:
        return [(a, min(a + step, rows * cols)) for a in range(0, rows * cols, step)]
    starts = [(row * cols, col) for row in range(rows) for col in range(0, cols, per_block)]
    return [(base + col, base + min(col + per_block, cols)) for base, col in starts]
