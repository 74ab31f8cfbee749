"""Whole scenes to georeferenced class maps: windows read from the rasters, blended, written as COG with palette.

Beside each map lie two more rasters that say how sure it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.modality import Modality, modalities_of
from georelay.errors import UserError
from georelay.evaluate.certainty import LAYERS, LEVELS, UNKNOWN, read_off
from georelay.evaluate.scales import mean_over_scales
from georelay.evaluate.stitch import Corner, blend
from georelay.evaluate.tested import tested_scenes
from georelay.files import sha256_file, write_json
from georelay.geo.grid import Grid
from georelay.geo.raster import open_grid, read_tags, read_window, write_cog
from georelay.methods.base import method_class, predict, run_facts
from georelay.models.device import memory_format, prepare_torch
from georelay.models.weights import load_weights
from georelay.progress import Progress
from georelay.sources.receipt import Receipt, Scene


def predict_run(plan: dict[str, Any], seed: int, root: Path, target: Path) -> None:
    """Write a map of every test scene of a run into the folder `target`, and maps.json with their digests."""
    receipt, folder = open_receipt(plan, root), root / plan["source"]["folder"]
    scenes = tested_scenes(plan, receipt)
    if not scenes:
        raise UserError(f"no test scene in domain {plan['test_domain']}", folder)
    mapper = Mapper.open(plan, root / "results" / "runs" / plan["experiment"] / f"seed{seed}" / "model.safetensors")
    digests = {}
    with Progress(f"predict {plan['experiment']} seed {seed}", len(scenes), "scenes") as bar:
        for scene in scenes:
            digests[scene.name] = mapper.write(scene, folder, target / f"{scene.name}.tif")
            bar.advance()
    write_json(target / "maps.json", {"scenes": digests})


def open_receipt(plan: dict[str, Any], root: Path) -> Receipt:
    """The receipt of the plan's source, the very one that the plan was made with."""
    folder = root / plan["source"]["folder"]
    receipt = Receipt.read(folder)
    if sha256_file(folder / "receipt.json") != plan["source"]["receipt"]:
        hint = f"run `georelay plan {plan['experiment']}` and train again, or fetch the old source"
        raise UserError("the source has changed since the plan was made", folder / "receipt.json", hint)
    return receipt


@dataclass
class Mapper:
    """A trained student, and everything about its inputs that it must be given again."""

    plan: dict[str, Any]
    student: Any
    modalities: list[Modality]
    device: torch.device

    @classmethod
    def open(cls, plan: dict[str, Any], weights: Path) -> Mapper:
        """Build the plan's student and load its weights, which must have been trained for the same inputs."""
        train = plan["settings"]["train"]
        device = prepare_torch(train)
        student = method_class(plan["method"]).build_student(plan)
        load_weights(weights, student, run_facts(plan))
        student.to(device=device).to(memory_format=memory_format(train)).eval()
        return cls(plan, student, modalities_of(plan, plan["inputs"]), device)

    @property
    def shown(self) -> list[Modality]:
        """The inputs that are there at test time."""
        return [modality for modality in self.modalities if modality.name not in self.plan["settings"]["predict"]["missing"]]

    def write(self, scene: Scene, folder: Path, target: Path) -> dict[str, Any]:
        """Predict one scene into COGs, the map and beside it how sure it is; the files' names and digests."""
        turned = self.plan["source"].get("align_look", False) and scene.look == 1
        rasters = Rasters.open(scene, folder, self.shown, turned)
        labels, *others = self.layers(rasters)
        write = partial(write_cog, transform=rasters.grid.transform, crs=rasters.grid.crs)
        names, colours = self.plan["classes"], [tuple(colour) for colour in self.plan["colours"]]
        write(target, labels, nodata=self.plan["ignore"], colours=colours, class_names=names)
        files = _listed(target)
        for (name, meaning), values in zip(LAYERS.items(), others, strict=True):
            path = target.with_name(f"{target.stem}-{name}.tif")
            write(path, values, nodata=UNKNOWN, band=meaning, scale=1 / LEVELS)
            files[name] = _listed(path)
        return files

    def layers(self, rasters: Rasters) -> np.ndarray:
        """Class, certainty and entropy of every pixel [3, y, x]; `ignore` and twice UNKNOWN where an input has no data."""
        whole = self.plan["settings"]["predict"]["scales"] != [1.0]
        layers, seen = self._at_scales(rasters) if whole else self._by_windows(rasters)
        layers[:, ~seen] = np.array([[self.plan["ignore"]], [UNKNOWN], [UNKNOWN]], np.uint8)
        return np.ascontiguousarray(layers[:, ::-1, ::-1]) if rasters.turned else layers

    def _by_windows(self, rasters: Rasters) -> tuple[np.ndarray, np.ndarray]:
        """The same as the student sees the scene, from windows that overlap, and where it has data."""
        grid, options = rasters.grid, self.plan["settings"]["predict"]
        layers = np.empty((1 + len(LAYERS), grid.height, grid.width), np.uint8)
        seen = np.zeros((grid.height, grid.width), bool)

        def answer(corners: Sequence[Corner]) -> np.ndarray:
            windows = [rasters.window(corner, options["window"]) for corner in corners]
            for (row, col), (_, valid, size) in zip(corners, windows, strict=True):
                seen[row : row + size[0], col : col + size[1]] = valid[0, : size[0], : size[1]].numpy()
            return self.probabilities([(values, valid) for values, valid, _ in windows])

        size = (grid.height, grid.width, options["window"], options["overlap"], options["batch"], len(self.plan["classes"]))
        for row, band in blend(*size, answer, uniform=options["blend"] == "uniform"):
            layers[:, row : row + band.shape[1]] = read_off(band)
        return layers, seen

    @torch.no_grad()
    def probabilities(self, windows: Sequence[tuple[list[torch.Tensor], torch.Tensor]]) -> np.ndarray:
        """Class probabilities of several windows, in float32 whatever the training's precision was."""
        answer: np.ndarray = self._logits(self._normalised(windows)).softmax(dim=1).cpu().numpy()
        return answer

    @torch.no_grad()
    def _at_scales(self, rasters: Rasters) -> tuple[np.ndarray, np.ndarray]:
        """The same as the student sees the scene, from all of it at several sizes, and where it has data."""
        grid, options = rasters.grid, self.plan["settings"]["predict"]
        values, valid, _ = rasters.window((0, 0), max(grid.height, grid.width))
        image = self._normalised([(values, valid)])[..., : grid.height, : grid.width]
        probabilities = mean_over_scales(image, options, len(self.plan["classes"]), self._logits)[0]
        return read_off(probabilities.numpy()), valid[0, : grid.height, : grid.width].numpy()

    def _normalised(self, windows: Sequence[tuple[list[torch.Tensor], torch.Tensor]]) -> Tensor:
        valid = torch.stack([mask for _, mask in windows])
        values = {m.name: torch.stack([given[place] for given, _ in windows]) for place, m in enumerate(self.shown)}
        return torch.cat([self._scaled(modality, values.get(modality.name), valid) for modality in self.modalities], dim=1)

    @staticmethod
    def _scaled(modality: Modality, values: Tensor | None, valid: Tensor) -> Tensor:
        """A modality as the student knows it; one that is missing is its mean everywhere."""
        if values is None:
            return torch.zeros(len(valid), len(modality.bands), *valid.shape[-2:])
        return modality.normalised(values, valid)

    def _logits(self, image: Tensor) -> Tensor:
        image = image.to(self.device, memory_format=memory_format(self.plan["settings"]["train"]))
        return predict_at_multiple(self.student, image, self.plan["settings"]["predict"]["multiple"])


def _listed(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": sha256_file(path)}


def predict_at_multiple(student: Any, image: Tensor, multiple: int) -> Tensor:
    """Logits of every pixel, from an image whose sides are brought to the nearest multiples; 0 leaves them as they are."""
    if not multiple:
        return predict(student, image)
    own = image.shape[-2:]
    sides = [max(int(side / multiple + 0.5), 1) * multiple for side in own]
    whole = F.interpolate(image, sides, mode="bilinear", align_corners=True)
    return F.interpolate(predict(student, whole), own, mode="bilinear", align_corners=True)


@dataclass
class Rasters:
    """The rasters of one scene that a student reads, on one grid; `turned`: it is shown them turned by 180 degrees."""

    paths: list[Path]
    modalities: list[Modality]
    grid: Grid
    turned: bool = False

    @classmethod
    def open(cls, scene: Scene, folder: Path, modalities: list[Modality], turned: bool = False) -> Rasters:
        """The scene's files of these modalities, checked against each other and against what was trained with."""
        for modality in modalities:
            if modality.name not in scene.images:
                what = f"has no {modality.name}, which the student was trained on; it has {', '.join(scene.images)}"
                raise UserError(what, f"{folder}: {scene.name}")
        paths = [folder / scene.images[modality.name] for modality in modalities]
        grids = [open_grid(path) for path in paths]
        for path, grid, modality in zip(paths, grids, modalities, strict=True):
            _require_sensor(path, grid, modality)
            if difference := grid.difference(grids[0]):
                raise UserError(f"does not lie on the grid of {paths[0].name}: {difference}", path)
        return cls(paths, modalities, grids[0], turned)

    def window(self, corner: Corner, side: int) -> tuple[list[torch.Tensor], torch.Tensor, tuple[int, int]]:
        """Raster values of each modality, the valid mask (1, side, side), and the part of it that lies in the scene.

        What hangs over the scene's edge is its mirror image.
        """
        row, col = corner
        size = min(side, self.grid.height - row), min(side, self.grid.width - col)
        arrays = [self._read(path, row, col, *size) for path in self.paths]
        valid = np.logical_and.reduce([_valid(array, m.nodata) for array, m in zip(arrays, self.modalities, strict=True)])
        padding = ((0, 0), (0, side - size[0]), (0, side - size[1]))
        values = [torch.from_numpy(np.pad(array.astype(np.float32), padding, mode="symmetric")) for array in arrays]
        return values, torch.from_numpy(np.pad(valid, padding, mode="symmetric")), size

    def _read(self, path: Path, row: int, col: int, height: int, width: int) -> np.ndarray:
        """A window of the scene as it is shown."""
        if not self.turned:
            return read_window(path, row, col, height, width)
        return read_window(path, self.grid.height - row - height, self.grid.width - col - width, height, width)[:, ::-1, ::-1]


def _require_sensor(path: Path, grid: Grid, modality: Modality) -> None:
    """A raster of another sensor is refused: by its bands, and by what its tags say where it has any."""
    expected = f"the student reads {len(modality.bands)} of {modality.name} in {modality.unit}: {', '.join(modality.bands)}"
    if grid.count != len(modality.bands):
        raise UserError(f"has {grid.count} bands, {expected}", path)
    tags = read_tags(path)
    for key, wanted in (("modality", modality.name), ("unit", modality.unit)):
        if (found := tags.get(key, wanted)) != wanted:
            raise UserError(f"holds {grid.count} bands of {key} {found}, {expected}", path, "give it what it was trained on")


def _valid(array: np.ndarray, nodata: float | None) -> np.ndarray:
    """Where every band has a value, as (1, y, x)."""
    good = np.isfinite(array) if nodata is None else np.isfinite(array) & (array != nodata)
    valid: np.ndarray = good.all(axis=0, keepdims=True)
    return valid
