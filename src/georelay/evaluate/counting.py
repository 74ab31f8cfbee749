"""One scene's map against its label: all that scores are made of, as integers, counted strip by strip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from georelay.errors import UserError
from georelay.evaluate.boundary import count_boundary
from georelay.evaluate.calibration import count_levels
from georelay.evaluate.certainty import UNKNOWN
from georelay.evaluate.confusion import count_pixels
from georelay.evaluate.tested import only_tested
from georelay.geo.grid import Grid
from georelay.geo.raster import open_grid, read_window
from georelay.sources.receipt import Scene

STRIP_PIXELS = 1 << 22  # a scene is read in strips of whole rows, so that its size does not matter


@dataclass(frozen=True)
class Counts:
    """What is counted in a scene, or in a strip of it."""

    pixels: np.ndarray  # [truth, predicted], with a row more: pixels without a true class
    boundary: np.ndarray  # [4, class]: see count_boundary
    levels: np.ndarray  # [wrong or right, level of certainty]

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.pixels + other.pixels, self.boundary + other.boundary, self.levels + other.levels)


def count_scene(files: Mapping[str, Path], scene: Scene, plan: Mapping[str, Any], raw: Path, tolerance: int) -> Counts:
    """Everything that is counted in a scene; `files` are its `map` and, if there is one, its `certainty`."""
    label, grid = raw / scene.label, open_grid(raw / scene.label)
    for path in files.values():
        if difference := open_grid(path).difference(grid):
            raise UserError(f"does not lie on the grid of its label {label}: {difference}", path, "predict the run again")
    return reduce(add, (_count_strip(strip, files, label, scene, plan, tolerance) for strip in _strips(grid, tolerance + 1)))


@dataclass(frozen=True)
class Strip:
    """Whole rows of a scene: those that are read, and which of these it counts; the others are there to look at."""

    read: slice
    own: slice
    width: int

    def of(self, path: Path) -> np.ndarray:
        """Its pixels of a raster."""
        (band,) = read_window(path, self.read.start, 0, self.read.stop - self.read.start, self.width)
        return np.asarray(band)


def _strips(grid: Grid, margin: int) -> Iterator[Strip]:
    step = max(1, STRIP_PIXELS // grid.width)
    for row in range(0, grid.height, step):
        end, top = min(row + step, grid.height), max(row - margin, 0)
        yield Strip(slice(top, min(end + margin, grid.height)), slice(row - top, end - top), grid.width)


def _count_strip(
    strip: Strip, files: Mapping[str, Path], label: Path, scene: Scene, plan: Mapping[str, Any], tolerance: int
) -> Counts:
    classes, ignore = len(plan["classes"]), plan["ignore"]
    truth, guess = (only_tested(strip.of(path), plan, scene.name, strip.read.start, 0) for path in (label, files["map"]))
    pixels = _located(truth[strip.own], guess[strip.own], classes, ignore, files["map"])
    scored = [place for place, name in enumerate(plan["classes"]) if name not in plan.get("unscored", ())]
    counted = np.isin(truth, scored) & (guess != ignore)
    level = strip.of(files["certainty"]) if "certainty" in files else np.full_like(truth, UNKNOWN)
    inside = counted[strip.own]
    levels = count_levels((truth == guess)[strip.own][inside], level[strip.own][inside])
    return Counts(pixels, count_boundary(truth, guess, counted, strip.own, classes, tolerance), levels)


def _located(truth: np.ndarray, guess: np.ndarray, classes: int, ignore: int, where: Path) -> np.ndarray:
    try:
        return count_pixels(truth, guess, classes, ignore)
    except UserError as error:
        raise UserError(error.what, where, "check the classes of the task and the labels of the source") from None
