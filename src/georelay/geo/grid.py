"""Where the pixels of a raster lie: size, affine transform and CRS, as plain numbers.

Light: no numpy, no rasterio. Pixels are areas; a transform maps pixel corners (column, row) to the ground and is
written (a, b, c, d, e, f) as affine and rasterio do: x = a*column + b*row + c, y = d*column + e*row + f.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Transform = tuple[float, float, float, float, float, float]

SAME_PLACE = 1e-3  # in pixels: far below what matters, far above what float text round trips lose
SAME_SCENE = 0.05  # files that others made of one scene: SpaceNet 6's radar and optical ones differ by 0.012 pixels at a corner


@dataclass(frozen=True)
class Grid:
    """The pixel grid of one raster file."""

    height: int
    width: int
    transform: Transform
    crs: str | None
    count: int
    dtype: str
    nodata: float | None

    @property
    def gsd(self) -> float:
        """Side of a pixel on the ground, in units of the CRS."""
        a, b, _, d, e, _ = self.transform
        return math.sqrt(abs(a * e - b * d))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the box around all four corners."""
        corners = [self.point(row, col) for row in (0, self.height) for col in (0, self.width)]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)

    def point(self, row: float, col: float) -> tuple[float, float]:
        """Ground coordinates of a pixel's upper left corner."""
        return _apply(self.transform, row, col)

    def window_transform(self, row: int, col: int) -> Transform:
        """The transform of a window that starts at (row, col)."""
        a, b, _, d, e, _ = self.transform
        x, y = self.point(row, col)
        return (a, b, x, d, e, y)

    def difference(self, other: Grid, tolerance: float = SAME_PLACE) -> str:
        """What keeps two grids from covering the same pixels, in words; empty when nothing does. `tolerance` is in pixels."""
        if (self.height, self.width) != (other.height, other.width):
            return f"size {self.width} x {self.height} against {other.width} x {other.height} pixels"
        if self.crs != other.crs:
            return f"CRS {self.crs} against {other.crs}"
        if self._farthest(other) > tolerance * self.gsd:
            return f"transform {self.transform} against {other.transform}"
        return ""

    def same_as(self, other: Grid) -> bool:
        """Whether both rasters cover the same pixels of the ground."""
        return not self.difference(other)

    def _farthest(self, other: Grid) -> float:
        corners = [(row, col) for row in (0, self.height) for col in (0, self.width)]
        return max(math.dist(self.point(*corner), other.point(*corner)) for corner in corners)


def _apply(transform: Transform, row: float, col: float) -> tuple[float, float]:
    a, b, c, d, e, f = transform
    return a * col + b * row + c, d * col + e * row + f
