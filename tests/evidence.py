"""A small finished project on disk: scenes, plans, runs, maps and scores of invented rows, without any training.

Truth is a smooth random class map; a row's prediction is the truth with blobs of other classes, more of them for a worse
row, so that pictures and numbers look like results and every row has a known order.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from georelay.evaluate.confusion import count_confusion
from georelay.evaluate.scores import Scores, write_scores
from georelay.files import digest, sha256_file, write_json
from georelay.geo.raster import write_cog, write_raster
from georelay.report.compare import compare_study
from georelay.report.tables import COLUMNS, read_table
from georelay.sources.receipt import Receipt, Scene

CLASSES = ("bare", "grass", "crop", "tree", "water", "building", "road")
COLOURS = ((190, 160, 120), (150, 200, 90), (230, 200, 80), (30, 110, 50), (50, 110, 200), (200, 60, 50), (120, 120, 120))
PLACE: dict[str, Any] = {"transform": (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0), "crs": "EPSG:32631"}
OPTICAL = {"bands": ["blue", "green", "red", "nir"], "dtype": "uint16", "scale": 0.0001, "nodata": 0, "unit": "reflectance"}
SAR = {"bands": ["vv", "vh"], "dtype": "float32", "scale": 1.0, "nodata": -9999.0, "unit": "dB"}
IGNORE = 255
STEPS = range(10, 210, 10)


def smooth(shape: tuple[int, int], generator: np.random.Generator, power: float = 2.0) -> np.ndarray:
    """Gaussian noise with a falling spectrum, zero mean and unit variance."""
    wave = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[1]), np.fft.fftfreq(shape[0])))
    wave[0, 0] = 1
    field = np.fft.ifft2(np.fft.fft2(generator.standard_normal(shape)) / wave**power).real
    return np.asarray((field - field.mean()) / field.std())


def truth_of(size: int, generator: np.random.Generator, classes: int) -> np.ndarray:
    """A class map: the strongest of one smooth field per class."""
    return np.asarray(np.stack([smooth((size, size), generator) for _ in range(classes)]).argmax(0), dtype=np.uint8)


def guess_of(truth: np.ndarray, share: float, generator: np.random.Generator, classes: int) -> np.ndarray:
    """The truth with about a share of its pixels, in blobs, replaced by another map."""
    wrong = smooth(truth.shape, generator, 1.5) > np.quantile(smooth(truth.shape, generator, 1.5), 1 - share)
    return np.where(wrong, truth_of(len(truth), generator, classes), truth).astype(np.uint8)


class Project:
    """Writes the files of a finished project below a root."""

    def __init__(self, root: Path, size: int = 32, scenes: int = 3, classes: int = 4) -> None:
        self.root, self.size, self.classes = root, size, classes
        self.names = [f"test-{index:03d}" for index in range(scenes)]
        self.truth: dict[str, dict[str, np.ndarray]] = {}

    def source(self, name: str, modality: str = "optical") -> None:
        """Scenes with one image and one label each, and their receipt."""
        raw, files = self.root / "data/raw" / name, {}
        generator = np.random.default_rng(int(digest(name), 16) % 2**32)
        self.truth[name] = {scene: truth_of(self.size, generator, self.classes) for scene in self.names}
        for scene, truth in self.truth[name].items():
            image = self._image(truth, modality, generator)
            facts = SAR if modality == "sar" else OPTICAL
            write_raster(raw / scene / f"{modality}.tif", image, **PLACE, nodata=facts["nodata"], band_names=facts["bands"])
            label = truth.copy()
            label[:2, : self.size // 4] = IGNORE
            write_raster(raw / scene / "label.tif", label[None], **PLACE, nodata=IGNORE)
            for path in (raw / scene / f"{modality}.tif", raw / scene / "label.tif"):
                files[str(path.relative_to(raw))] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
        classes = tuple({"name": c, "colour": list(rgb)} for c, rgb in zip(CLASSES[: self.classes], COLOURS, strict=False))
        listed = tuple(Scene(s, "test", "main", {modality: f"{s}/{modality}.tif"}, f"{s}/label.tif") for s in self.names)
        facts = {modality: SAR if modality == "sar" else OPTICAL}
        Receipt(name, "synthetic", "CC0-1.0", None, classes, IGNORE, facts, PLACE["crs"], listed, files).write(raw)

    def _image(self, truth: np.ndarray, modality: str, generator: np.random.Generator) -> np.ndarray:
        if modality == "sar":
            level = np.linspace(-20, -5, self.classes)[truth]
            return np.stack(
                [level + generator.normal(0, 2, truth.shape), level - 7 + generator.normal(0, 2, truth.shape)]
            ).astype(np.float32)
        rgb = np.array(COLOURS[: self.classes])[truth].astype(float) * 10 + 200 * generator.standard_normal((*truth.shape, 3))
        bands = [rgb[..., 2], rgb[..., 1], rgb[..., 0], rgb.mean(-1) * 1.5]
        return np.clip(np.stack(bands), 1, 9999).astype(np.uint16)

    def plan(self, experiment: str, source: str, modality: str = "optical", **changes: Any) -> None:
        """The plan of a row."""
        settings = {
            "model": {"backbone": "test_resnet", "width": 48},
            "train": {"lr": 0.003, "steps": 200},
            "predict": {"overlap": 16},
        }
        facts = {"experiment": experiment, "method": "supervised", "task": source, "inputs": [modality], "labels": 32}
        classes = {
            "classes": list(CLASSES[: self.classes]),
            "colours": [list(c) for c in COLOURS[: self.classes]],
            "ignore": IGNORE,
        }
        place = {
            "train_domain": "main",
            "test_domain": "main",
            "source": {"name": source, "folder": f"data/raw/{source}", "receipt": "c" * 64},
        }
        tiles = {"tiles": {"path": f"results/tiles/{source}.zarr.zip", "sha256": digest(source)}, "teachers": {}, "features": {}}
        code = {
            "code": {"train": "d" * 64, "predict": "e" * 64},
            "versions": {"torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7"},
        }
        modalities = {modality: {**(SAR if modality == "sar" else OPTICAL), "mean": [0.0], "std": [1.0]}}
        whole = {
            **facts,
            **classes,
            **place,
            **tiles,
            **code,
            "modalities": modalities,
            "settings": {**settings, "method": {}},
            **changes,
        }
        write_json(self.root / "results/plans" / f"{experiment}.json", whole)

    def run(self, experiment: str, source: str, seed: int, wrong: float) -> None:
        """Run folder, maps and scores of one seed of a row whose maps have about a share of wrong pixels."""
        generator = np.random.default_rng([seed, int(digest(experiment), 16) % 2**32])
        folder = self.root / "results/runs" / experiment / f"seed{seed}"
        self._history(folder, wrong, generator)
        facts = {"steps": 200, "parameters": 411_000, "loss": 0.4, "val_miou": 1 - wrong}
        write_json(folder / "metrics.json", facts)
        write_json(folder / "timing.json", {"seconds": 9.5, "seconds_per_step": 0.04, "peak_mb": 512.0, "device": "cpu"})
        (folder / "plan.json").write_bytes((self.root / "results/plans" / f"{experiment}.json").read_bytes())
        maps = {scene: guess_of(truth, wrong, generator, self.classes) for scene, truth in self.truth[source].items()}
        self._maps(experiment, seed, maps)
        confusions = [self._confusion(source, scene, guess) for scene, guess in maps.items()]
        write_scores(Scores(CLASSES[: self.classes], tuple(maps), np.stack(confusions)), experiment, seed, self.root)

    def _confusion(self, source: str, scene: str, guess: np.ndarray) -> np.ndarray:
        truth = self.truth[source][scene].copy()
        truth[:2, : self.size // 4] = IGNORE
        return count_confusion(truth, guess, self.classes, IGNORE)

    def _history(self, folder: Path, wrong: float, generator: np.random.Generator) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "history.csv", "w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("step", "lr", "loss", "ce", "val_miou"))
            for step in STEPS:
                loss = 1.6 * np.exp(-step / 60) + wrong + 0.05 * generator.standard_normal()
                score = f"{(1 - wrong) * (1 - np.exp(-step / 50)):.4f}" if step % 50 == 0 else ""
                writer.writerow((step, f"{0.003 * (1 - step / 200):.6g}", f"{loss:.6g}", f"{loss:.6g}", score))

    def _maps(self, experiment: str, seed: int, maps: dict[str, np.ndarray]) -> None:
        folder, listing = self.root / "results/maps" / experiment / f"seed{seed}", {}
        for scene, labels in maps.items():
            layout = {**PLACE, "nodata": IGNORE, "colours": COLOURS[: self.classes], "class_names": CLASSES[: self.classes]}
            write_cog(folder / f"{scene}.tif", labels, **layout)
            listing[scene] = {"file": f"{scene}.tif", "sha256": sha256_file(folder / f"{scene}.tif")}
        write_json(folder / "maps.json", {"scenes": listing})


def row(experiment: str, study: str, parent: str | None = None, why: str = "to see") -> dict[str, Any]:
    """A row of the experiments table as the command line passes it on."""
    return {
        "experiment": experiment,
        "study": study,
        "parent": parent,
        "why": why,
        "method": "supervised",
        "task": study,
        "core": True,
        "labels": None,
        "family": experiment,
    }


def finish_study(
    project: Project, study: str, shares: dict[str, float], seeds: Sequence[int], modality: str = "optical"
) -> list[dict[str, Any]]:
    """A study whose first row is the parent of the others, all seeds run; returns its rows."""
    project.source(study, modality)
    for experiment, wrong in shares.items():
        project.plan(experiment, study, modality)
        for seed in seeds:
            project.run(experiment, study, seed, wrong)
    first = next(iter(shares))
    return [
        row(name, study, None if name == first else first, f"{share:.0%} of the pixels wrong") for name, share in shares.items()
    ]


RIGHT = {"base": {0: 60, 1: 64, 2: 62}, "better": {0: 70, 1: 75, 2: 71}}  # of 100 pixels, by row and seed
RIGHT_SCENES = ("test-000", "test-001")


def score_right(root: Path, experiment: str, seed: int, right: int, scenes: Sequence[str] = RIGHT_SCENES) -> None:
    """Scores of scenes of 200 pixels in two classes, of each of which `right` of 100 are right; a third class is nowhere."""
    confusion = np.pad([[right, 100 - right], [100 - right, right]], (0, 1))
    write_scores(Scores(("a", "b", "never"), tuple(scenes), np.stack([confusion] * len(scenes))), experiment, seed, root)


def right_miou(right: int) -> float:
    """IoU of both of these classes, and so mIoU."""
    return right / (200 - right)


def compare_rows(root: Path, rows: Sequence[dict[str, Any]], seeds: Sequence[int] = (0, 1, 2)) -> dict[str, dict[str, Any]]:
    """The lines of a study `s`, compared, by row."""
    compare_study("s", rows, seeds, root, resamples=200, seed=0)
    return {line["row"]: line for line in read_table("s", root)}


def table_line(**facts: Any) -> dict[str, Any]:
    """A line of a study's table as the page reads it: a row without a parent, and no number that is not given."""
    words = {"row": "s-low", "parent": "", "why": "to see", "base": "", "note": ""}
    return dict.fromkeys(COLUMNS, math.nan) | words | {"n": 3, "mean": 0.5, "sd": 0.01} | facts
