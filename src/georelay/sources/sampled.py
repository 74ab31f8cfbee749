"""What a sample of files holds: grids, values of each band, classes; every file of it is read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from georelay.errors import UserError
from georelay.geo.grid import Grid
from georelay.geo.raster import metres_per_unit, open_grid, read_window
from georelay.sources.layout import Key, Sheaf

WHOLE = 4_000_000  # pixels: of larger files a square in the middle is read
SQUARE = 1024
MOST_VALUES = 256  # of a label: more are no classes

Value = int | tuple[int, int, int]


@dataclass
class Facts:
    """What the sampled files of one kind have in common, and where they differ."""

    grids: dict[Key, Grid] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    pixels: int = 0
    blank: int = 0  # pixels that are 0 in all bands
    values: Counter[Value] = field(default_factory=Counter)  # of labels
    fractions: bool = False  # labels that are no whole numbers

    @property
    def first(self) -> Grid:
        """The grid of the first file."""
        return next(iter(self.grids.values()))

    @property
    def systems(self) -> list[str | None]:
        """The CRS of all files."""
        return list(dict.fromkeys(grid.crs for grid in self.grids.values()))

    @property
    def sides(self) -> tuple[int, int]:
        """The smallest and the largest side."""
        sides = [side for grid in self.grids.values() for side in (grid.height, grid.width)]
        return min(sides), max(sides)

    @property
    def gsd(self) -> float | None:
        """Metres a pixel of the first file; None where it lies nowhere."""
        if self.first.crs is None:
            return None
        return float(self.first.gsd * metres_per_unit(self.first.crs, 0.0)[1])


def chosen(scenes: Collection[Key], count: int) -> list[Key]:
    """So many scenes, evenly among all of them."""
    every = sorted(scenes)
    if len(every) <= count:
        return every
    return [every[round(place)] for place in np.linspace(0, len(every) - 1, count)]


def sample_images(folder: Path, sheaf: Sheaf, scenes: Sequence[Key]) -> Facts:
    """Grids, and the range of each band."""
    facts = Facts()
    for key in scenes:
        if (pixels := _read(folder, sheaf, key, facts)) is not None and len(pixels) == facts.first.count:
            _add_range(facts, pixels)
    return facts


def sample_labels(folder: Path, sheaf: Sheaf, scenes: Sequence[Key]) -> Facts:
    """Grids, and how many pixels each value or colour has."""
    facts = Facts()
    for key in scenes:
        if (pixels := _read(folder, sheaf, key, facts)) is None:
            continue
        whole = np.nan_to_num(pixels)
        facts.fractions |= bool((whole != np.round(whole)).any())
        if len(facts.values) <= MOST_VALUES:
            facts.values.update(_counted(whole))
    return facts


def _read(folder: Path, sheaf: Sheaf, key: Key, facts: Facts) -> np.ndarray | None:
    """Pixels of a file, whose grid is noted; None where it cannot be read."""
    try:
        grid = open_grid(folder / sheaf.files[key])
        row, col, height, width = _window(grid)
        pixels = read_window(folder / sheaf.files[key], row, col, height, width)
    except UserError:
        facts.unreadable.append(sheaf.files[key])
        return None
    facts.grids[key] = grid
    return pixels


def _window(grid: Grid) -> tuple[int, int, int, int]:
    if grid.height * grid.width <= WHOLE:
        return 0, 0, grid.height, grid.width
    height, width = min(grid.height, SQUARE), min(grid.width, SQUARE)
    return (grid.height - height) // 2, (grid.width - width) // 2, height, width


def _add_range(facts: Facts, pixels: np.ndarray) -> None:
    nodata = facts.first.nodata
    facts.pixels += pixels[0].size
    facts.blank += int((pixels == 0).all(axis=0).sum())
    missing = ~np.isfinite(pixels) if nodata is None else ~np.isfinite(pixels) | (pixels == nodata)
    known = np.ma.masked_array(pixels, missing).reshape(len(pixels), -1)
    low, high = known.min(axis=1).astype(float).filled(np.inf), known.max(axis=1).astype(float).filled(-np.inf)
    facts.low = low if facts.low is None else np.minimum(facts.low, low)
    facts.high = high if facts.high is None else np.maximum(facts.high, high)


def _counted(pixels: np.ndarray) -> dict[Value, int]:
    """Pixels by the value of the only band, or by colour where there are three or more."""
    if len(pixels) < 3:
        values, counts = np.unique(np.round(pixels[0]).astype(np.int64), return_counts=True)
        return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
    packed = np.ravel(pixels[0].astype(np.int64) << 16 | pixels[1].astype(np.int64) << 8 | pixels[2].astype(np.int64))
    values, counts = np.unique(packed, return_counts=True)
    colours = [(int(value) >> 16, int(value) >> 8 & 255, int(value) & 255) for value in values]
    return dict(zip(colours, counts.tolist(), strict=True))
