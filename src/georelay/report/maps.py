"""The pictures of a map panel as arrays: image, truth, and each row's prediction, errors and entropy, for fixed test scenes.

Scenes are the first test scenes by name, seen through a window in their middle, so that every row and every later run
shows the same ground. A row's maps are those of its lowest seed.
"""

from __future__ import annotations

import re
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
from georelay.geo.raster import metres_per_unit, open_grid, read_window
from georelay.report.tables import Row, families, read_runs
from georelay.sources.receipt import Receipt, Scene

WINDOW = 256  # pixels a side
STRETCH = (2, 98)  # percentiles that become black and white
DARKEST = 0.35  # brightness that the median is lifted to at least: clouds would leave the ground black
TRUE_COLOUR = ("red", "green", "blue")
FALSE_COLOUR = ("nir", "red", "green", "blue")  # longest wavelength in red, as colour-infrared film has it
WRONG = (190, 0, 20)  # as dark as a grey of 60
RIGHT_FROM, RIGHT_TO = 170, 240  # greys of right pixels: the ground shows through, the red stands out, in grey as well
GREY_BLOCK, GREY_STEP = 4, 12  # coarse in space and tone: grain would hide the errors and triple the file
SURE, UNSURE = (250, 250, 250), (84, 39, 136)  # colours of entropy 0 and of the largest possible
ENTROPY_STEPS = 16  # tones between them
ENTROPY_SCALE, ENTROPY_NODATA = 254, 255  # how maps of it are stored
WKT_NAME = re.compile(r'^\w+\["([^"]+)"')
Box = tuple[int, int, int, int]  # row, column, height, width


@dataclass(frozen=True)
class RowMap:
    """What one row made of one scene; arrays are RGB pictures, None where there is no such map."""

    row: str
    prediction: np.ndarray | None = None
    errors: np.ndarray | None = None
    entropy: np.ndarray | None = None
    miou: float | None = None  # of the whole scene


@dataclass(frozen=True)
class PanelScene:
    """One test scene as pictures."""

    name: str
    place: str  # where on the ground, in words
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
    inputs: Mapping[str, Sequence[str]]  # modalities that each row sees


@dataclass(frozen=True)
class _Ground:
    """The part of a test scene that is shown."""

    scene: str
    box: Box
    truth: np.ndarray
    plan: Mapping[str, Any]

    def coloured(self, labels: np.ndarray) -> np.ndarray:
        return colourise(labels, self.plan["colours"], self.plan["ignore"])


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
    return Panel(pictures, tuple(plan["classes"]), colours, lowest, inputs)


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
    box = middle(grid)
    images = {}
    for modality, facts in receipt.modalities.items():
        if any(modality in names for names in inputs.values()):
            bands = read_window(raw / scene.images[modality], *box)
            images[modality] = picture(bands, receipt.bands(modality, scene.domain), facts["nodata"])
    ground = _Ground(scene.name, box, only_tested(read_window(raw / scene.label, *box)[0], plan, scene.name, *box[:2]), plan)
    folders = {name: root / "results/maps" / name / f"seed{seeds[name]}" for name in scores}
    maps = tuple(_row_map(name, folders[name], ground, images[inputs[name][0]], scores[name]) for name in scores)
    place, gsd = place_of(grid, box)
    return PanelScene(scene.name, place, gsd, images, ground.coloured(ground.truth), maps)


def place_of(grid: Grid, box: Box) -> tuple[str, float | None]:
    """Where a window lies, in words, and the metres of its pixels, if the raster says."""
    row, column, height, width = box
    size = f"{width} × {height} pixels"
    if grid.crs is None:
        return f"no CRS, {size}", None
    x, y = grid.point(row + height / 2, column + width / 2)
    east, north = metres_per_unit(grid.crs, y)
    gsd = grid.gsd * east
    where = f"{x:.4f}° E, {y:.4f}° N" if east != north else f"{x:.0f} E, {y:.0f} N"
    named = WKT_NAME.match(grid.crs)
    return f"{named[1] if named else grid.crs}, centre {where}, {size} of {gsd:.3g} m", gsd


def middle(grid: Grid) -> Box:
    """Row, column, height and width of the window that pictures show."""
    height, width = min(WINDOW, grid.height), min(WINDOW, grid.width)
    return (grid.height - height) // 2, (grid.width - width) // 2, height, width


def _row_map(name: str, folder: Path, ground: _Ground, image: np.ndarray, scores: Scores) -> RowMap:
    path, plan = folder / f"{ground.scene}.tif", ground.plan
    if ground.scene not in scores.scenes or scores.classes != tuple(plan["classes"]) or not path.is_file():
        return RowMap(name)
    guess = read_window(path, *ground.box)[0]
    aside = [place for place, name in enumerate(scores.classes) if name in scores.unscored]
    counted = np.where(np.isin(ground.truth, aside), plan["ignore"], ground.truth)
    errors = error_picture(image, counted, guess, plan["ignore"])
    score = float(mean_iou(scores.confusions[scores.scenes.index(ground.scene)]))
    return RowMap(name, ground.coloured(guess), errors, _entropy(folder, ground), score)


def _entropy(folder: Path, ground: _Ground) -> np.ndarray | None:
    """The picture of a scene's entropy, where a map of it was kept."""
    listing = folder / "maps.json"
    scenes = read_json(listing)["scenes"] if listing.is_file() else {}
    kept = scenes.get(ground.scene, {}).get("entropy")
    path = folder / kept["file"] if kept else None
    return entropy_picture(read_window(path, *ground.box)[0]) if path and path.is_file() else None


def entropy_picture(values: np.ndarray) -> np.ndarray:
    """Stored entropy in tones from sure to unsure; black where there is none."""
    share = np.round(values / ENTROPY_SCALE * (ENTROPY_STEPS - 1)) / (ENTROPY_STEPS - 1)
    result = np.array(SURE) + share[..., None] * (np.array(UNSURE) - np.array(SURE))
    return np.where((values == ENTROPY_NODATA)[..., None], 0, result).round().astype(np.uint8)


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
