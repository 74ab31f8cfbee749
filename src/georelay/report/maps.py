"""The pictures of a map panel as arrays: image, truth, and each row's prediction and errors, for fixed test scenes.

Scenes are the first test scenes by name, seen through a window in their middle, so that every row and every later run
shows the same ground. A row's maps are those of its lowest seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from georelay.evaluate.confusion import mean_iou
from georelay.evaluate.scores import Scores
from georelay.evaluate.tested import only_tested, tested_scenes
from georelay.files import read_json
from georelay.geo.grid import Grid
from georelay.geo.palette import colourise
from georelay.geo.raster import open_grid, read_window
from georelay.report.tables import Row, families, read_runs
from georelay.sources.receipt import Receipt, Scene

WINDOW = 256  # pixels a side
STRETCH = (2, 98)  # percentiles that become black and white
DARKEST = 0.35  # brightness that the median is lifted to at least: clouds would leave the ground black
TRUE_COLOUR = ("red", "green", "blue")
FALSE_COLOUR = ("nir", "red", "green", "blue")  # longest wavelength in red, as colour-infrared film has it
WRONG = (214, 39, 40)
RIGHT_FROM, RIGHT_TO = 150, 235  # greys of right pixels: the ground shows through, the red stands out
GREY_BLOCK, GREY_STEP = 4, 12  # coarse in space and tone: grain would hide the errors and triple the file


@dataclass(frozen=True)
class RowMap:
    """What one row made of one scene; arrays are RGB pictures, None where there is no map."""

    row: str
    prediction: np.ndarray | None
    errors: np.ndarray | None
    miou: float | None  # of the whole scene


@dataclass(frozen=True)
class PanelScene:
    """One test scene as pictures."""

    name: str
    gsd: float | None  # metres; None where the raster has no CRS
    images: Mapping[str, np.ndarray]  # by modality: what any row sees
    truth: np.ndarray
    rows: tuple[RowMap, ...]


@dataclass(frozen=True)
class Panel:
    """The scenes of a study's panel and the classes they are coloured by."""

    scenes: tuple[PanelScene, ...]
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    seed_of: Mapping[str, int]


def read_panel(rows: Sequence[Row], seeds: Sequence[int], root: Path, scenes: int) -> Panel | None:
    """The panel of a study; None when no row of it has been evaluated."""
    ordered = [row["experiment"] for _, row in families(rows)]
    runs = {name: found for name in ordered if (found := read_runs(name, seeds, root))}
    if not runs:
        return None
    plans = {name: read_json(root / "results/plans" / f"{name}.json") for name in runs}
    inputs = {name: facts["inputs"] for name, facts in plans.items()}
    plan = plans[next(iter(runs))]
    receipt = Receipt.read(root / plan["source"]["folder"])
    tested = sorted(tested_scenes(plan, receipt), key=lambda scene: scene.name)[:scenes]
    lowest = {name: min(found) for name, found in runs.items()}
    scores = {name: runs[name][seed] for name, seed in lowest.items()}
    pictures = tuple(_scene(scene, receipt, plan, scores, lowest, inputs, root) for scene in tested)
    colours = tuple((r, g, b) for r, g, b in plan["colours"])
    return Panel(pictures, tuple(plan["classes"]), colours, lowest)


def _scene(
    scene: Scene,
    receipt: Receipt,
    plan: Mapping[str, Any],
    scores: Mapping[str, Scores],
    seeds: Mapping[str, int],
    inputs: Mapping[str, Sequence[str]],
    root: Path,
) -> PanelScene:
    raw = root / plan["source"]["folder"]
    grid = open_grid(raw / scene.label)
    window = middle(grid)
    images = {}
    for modality, facts in receipt.modalities.items():
        if any(modality in names for names in inputs.values()):
            bands = read_window(raw / scene.images[modality], *window)
            images[modality] = picture(bands, receipt.bands(modality, scene.domain), facts["nodata"])
    truth = only_tested(read_window(raw / scene.label, *window)[0], plan, scene.name, *window[:2])
    maps = (
        _row_map(
            name,
            _map_path(root, name, seeds[name], scene.name),
            window,
            images[inputs[name][0]],
            truth,
            plan,
            scores[name],
            scene.name,
        )
        for name in scores
    )
    gsd = grid.gsd if grid.crs else None
    return PanelScene(scene.name, gsd, images, colourise(truth, plan["colours"], plan["ignore"]), tuple(maps))


def middle(grid: Grid) -> tuple[int, int, int, int]:
    """Row, column, height and width of the window that pictures show."""
    height, width = min(WINDOW, grid.height), min(WINDOW, grid.width)
    return (grid.height - height) // 2, (grid.width - width) // 2, height, width


def _map_path(root: Path, name: str, seed: int, scene: str) -> Path:
    return root / "results/maps" / name / f"seed{seed}" / f"{scene}.tif"


def _row_map(
    name: str,
    path: Path,
    window: tuple[int, int, int, int],
    image: np.ndarray,
    truth: np.ndarray,
    plan: Mapping[str, Any],
    scores: Scores,
    scene: str,
) -> RowMap:
    if scene not in scores.scenes or scores.classes != tuple(plan["classes"]) or not path.is_file():
        return RowMap(name, None, None, None)
    guess = read_window(path, *window)[0]
    aside = [place for place, name in enumerate(scores.classes) if name in scores.unscored]
    counted = np.where(np.isin(truth, aside), plan["ignore"], truth)
    errors = error_picture(image, counted, guess, plan["ignore"])
    score = float(mean_iou(scores.confusions[scores.scenes.index(scene)]))
    return RowMap(name, colourise(guess, plan["colours"], plan["ignore"]), errors, score)


def picture(bands: np.ndarray, names: Sequence[str], nodata: float | None) -> np.ndarray:
    """RGB of an image [band, y, x]: true or else false colour, VV, VH and VV - VH for SAR, else what there is."""
    values = bands.astype(np.float64)
    there = np.isfinite(values) & (values != nodata)  # no number equals None
    valid: np.ndarray = there.all(0)
    if {"vv", "vh"} <= set(names):
        vv, vh = values[names.index("vv")], values[names.index("vh")]
        channels = np.stack([_stretch(channel, valid) for channel in (vv, vh, vv - vh)], -1)
    elif set(TRUE_COLOUR) <= set(names):
        # Jointly: stretching each band by itself would change the colours.
        channels = _stretch(np.stack([values[names.index(name)] for name in TRUE_COLOUR], -1), valid)
    elif len(spectral := [name for name in FALSE_COLOUR if name in names]) > 2:
        channels = np.stack([_stretch(values[names.index(name)], valid) for name in spectral[:3]], -1)
    else:
        channels = np.stack([_stretch(values[min(index, len(values) - 1)], valid) for index in range(3)], -1)
    return np.where(valid[..., None], channels, 0).astype(np.uint8)


def _stretch(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    if not valid.any():
        return np.zeros(values.shape)
    low, high = np.percentile(values[valid], STRETCH)
    # Invalid pixels may hold NaN, which has no integer form.
    level = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    median = np.clip(np.median(level[valid]), 0.05, DARKEST)
    return np.asarray(np.nan_to_num(level ** (np.log(DARKEST) / np.log(median)) * 255))


def error_picture(image: np.ndarray, truth: np.ndarray, guess: np.ndarray, ignore: int) -> np.ndarray:
    """Wrong pixels red, right ones in the image's greys, pixels that do not count black."""
    grey = RIGHT_FROM + _coarse(image.mean(-1)) / 255 * (RIGHT_TO - RIGHT_FROM)
    result = np.repeat((grey // GREY_STEP * GREY_STEP)[..., None], 3, axis=-1).astype(np.uint8)
    result[truth != guess] = WRONG
    result[(truth == ignore) | (guess == ignore)] = 0
    return result


def _coarse(values: np.ndarray) -> np.ndarray:
    """Each pixel as the mean of its block."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % GREY_BLOCK), (0, -width % GREY_BLOCK)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // GREY_BLOCK, GREY_BLOCK, -1, GREY_BLOCK).mean((1, 3))
    return np.asarray(blocks.repeat(GREY_BLOCK, 0).repeat(GREY_BLOCK, 1)[:height, :width])


def scale_bar(width: int, gsd: float) -> tuple[float, float]:
    """A length of at most a quarter of the width, 1, 2 or 5 times a power of ten: in metres, and in pixels."""
    wanted = width * gsd / 4
    power = 10.0 ** np.floor(np.log10(wanted))
    metres = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    return float(metres), float(metres / gsd)
