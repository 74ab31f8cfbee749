"""Scores of one run: its maps against the labels, scene by scene, as integers first and ratios after.

results/scores/<experiment>/seed<k>.csv holds the confusion of every scene (cells that are zero are left out) and is what
comparisons are computed from; its rows without a truth say what was predicted where there is no true class. The JSON
beside it holds the scores for people, with null where a class is absent or not scored.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from georelay.errors import UserError
from georelay.evaluate import as_published
from georelay.evaluate.boundary import boundary_definition, boundary_f1
from georelay.evaluate.calibration import calibration, calibration_definition
from georelay.evaluate.confusion import class_f1, class_iou, cohen_kappa, mean_iou, mean_present, overall_accuracy
from georelay.evaluate.counting import Counts, count_scene
from georelay.evaluate.tested import tested_scenes
from georelay.files import read_json, sha256_file, write_json, write_text
from georelay.sources.receipt import NAME as RECEIPT
from georelay.sources.receipt import Receipt, Scene
from georelay.train.scored import scored_part

HEADER = ("scene", "truth", "predicted", "count")
Listed = tuple[str, str]  # a file's name and its sha256


@dataclass(frozen=True)
class Scores:
    """What one run scored: class and scene names, and the counts of each scene."""

    classes: tuple[str, ...]
    scenes: tuple[str, ...]
    counts: np.ndarray  # [scene, truth, predicted], int64; a row beyond the classes: pixels without a true class
    unscored: tuple[str, ...] = ()

    @property
    def scored(self) -> tuple[str, ...]:
        """The classes that scores are of."""
        return tuple(name for name in self.classes if name not in self.unscored)

    @property
    def confusions(self) -> np.ndarray:
        """[scene, truth, predicted]: true classes are the scored ones; the others are predicted behind them, if at all."""
        return scored_part(self.counts, self.classes, self.unscored)

    @property
    def predicted(self) -> np.ndarray:
        """How often each scored class was predicted, wherever that was."""
        kept = [name not in self.unscored for name in self.classes]
        return np.asarray(self.counts.sum((0, 1))[kept])

    @property
    def pooled(self) -> np.ndarray:
        """The sum over scenes, from which the run's scores come."""
        return np.asarray(self.confusions.sum(0))


def evaluate_run(plan: dict[str, Any], seed: int, root: Path, *, boundary: int, bins: int) -> None:
    """Score the maps of one run and write its two scores files; `boundary` pixels are near, certainty comes in `bins`."""
    folder = root / "results/maps" / plan["experiment"] / f"seed{seed}"
    files = _map_files(folder)
    raw = root / plan["source"]["folder"]
    receipt = _same_receipt(plan, raw)
    scenes = tested_scenes(plan, receipt)
    _require_same_scenes(files, scenes, folder / "maps.json")
    command = f"georelay predict {plan['experiment']} {seed}"
    counts = [count_scene(_intact_maps(folder, files[s.name], command), s, plan, raw, boundary) for s in scenes]
    unscored = tuple(plan.get("unscored", ()))  # plans made before there were such classes lack it
    scores = Scores(tuple(plan["classes"]), tuple(s.name for s in scenes), np.stack([c.pixels for c in counts]), unscored)
    write_scores(scores, plan["experiment"], seed, root, _quality(scores, counts, boundary, bins))


def _same_receipt(plan: dict[str, Any], raw: Path) -> Receipt:
    """The receipt that the plan was made with: maps must not be scored against the labels of another source."""
    receipt = Receipt.read(raw)
    if sha256_file(raw / RECEIPT) != plan["source"]["receipt"]:
        hint = f"run `georelay plan {plan['experiment']}` and train again, or fetch the old source"
        raise UserError("the source has changed since the plan was made", raw / RECEIPT, hint)
    receipt.require(raw)
    return receipt


def _map_files(folder: Path) -> Mapping[str, Mapping[str, Listed]]:
    """By scene the files of a map and of its certainty, which maps of older versions lack."""
    path = folder / "maps.json"
    listing = read_json(path)
    try:
        return {name: {"map": _listed(entry)} | _certainty(entry) for name, entry in listing["scenes"].items()}
    except (KeyError, TypeError, AttributeError):
        raise UserError("does not list maps with file and sha256", path, "delete the folder and predict again") from None


def _certainty(entry: Mapping[str, Any]) -> dict[str, Listed]:
    return {"certainty": _listed(entry["certainty"])} if "certainty" in entry else {}


def _listed(entry: Mapping[str, Any]) -> Listed:
    return str(entry["file"]), str(entry["sha256"])


def _require_same_scenes(files: Mapping[str, Any], scenes: list[Scene], where: Path) -> None:
    """All test scenes are scored and nothing else: a score over fewer scenes is another score."""
    expected = {scene.name for scene in scenes}
    if not expected:
        raise UserError("the source has no test scenes in the plan's test domain", where)
    odd = {"lacks": sorted(expected - set(files)), "has besides": sorted(set(files) - expected)}
    if any(odd.values()):
        said = "; ".join(f"{verb} {', '.join(names[:3])}" for verb, names in odd.items() if names)
        raise UserError(f"{said} ({len(expected)} test scenes are expected)", where, "predict the run again")


def _intact_maps(folder: Path, files: Mapping[str, Listed], command: str) -> dict[str, Path]:
    for name, sha256 in files.values():
        path = folder / name
        if not path.is_file():
            raise UserError("map is missing", path, f"delete {folder} and run `{command}`")
        if sha256_file(path) != sha256:
            raise UserError("is not the map that was predicted (its sha256 differs)", path, f"delete it and run `{command}`")
    return {kind: folder / name for kind, (name, _) in files.items()}


def _quality(scores: Scores, counts: Sequence[Counts], boundary: int, bins: int) -> dict[str, Any]:
    """What the confusions do not tell: of outlines, and of certainty."""
    scored = [name not in scores.unscored for name in scores.classes]
    each = boundary_f1(np.sum([count.boundary for count in counts], axis=0))[scored]
    levels = np.sum([count.levels for count in counts], axis=0)
    facts = calibration(levels, bins)
    table = [{key: value if key == "pixels" else _plain(value) for key, value in one.items()} for one in facts["bins"]]
    return {
        "boundary_f1": _plain(mean_present(each)),
        "boundary_f1_classes": _by_class(scores, each),
        "calibration": {"ece": _plain(facts["ece"]), "bins": table},
        "definitions": {"boundary_f1": boundary_definition(boundary), "ece": calibration_definition(bins)},
    }


def scores_path(experiment: str, seed: int, root: Path) -> Path:
    """Where a run's scores lie; the confusions are the CSV of the same name."""
    return root / "results/scores" / experiment / f"seed{seed}.json"


def write_scores(scores: Scores, experiment: str, seed: int, root: Path, quality: Mapping[str, Any] = {}) -> None:
    """Write the scores and the confusions they come from; `quality` is what else is known of the maps."""
    path = scores_path(experiment, seed, root)
    write_text(path.with_suffix(".csv"), _confusion_csv(scores))
    write_json(path, {"experiment": experiment, "seed": seed, **summary(scores), **quality})


def summary(scores: Scores) -> dict[str, Any]:
    """All ratios of a run as plain values; None where a class or a whole scene has nothing to count, or is not scored."""
    pooled = scores.pooled
    f1 = class_f1(pooled)
    return {
        "classes": list(scores.classes),
        "unscored": list(scores.unscored),
        "pixels": int(pooled.sum()),
        "miou": _plain(mean_iou(pooled)),
        "oa": _plain(overall_accuracy(pooled)),
        "kappa": _plain(cohen_kappa(pooled)),
        "macro_f1": _plain(mean_present(f1)),
        "iou": _by_class(scores, class_iou(pooled)),
        "f1": _by_class(scores, f1),
        "scenes": {name: _scene_facts(cells) for name, cells in zip(scores.scenes, scores.confusions, strict=True)},
        "as_published": _as_published(scores),
    }


def _by_class(scores: Scores, values: np.ndarray) -> dict[str, float | None]:
    return dict.fromkeys(scores.classes) | dict(zip(scores.scored, map(_plain, values), strict=True))


def _as_published(scores: Scores) -> dict[str, Any]:
    facts = as_published.published_scores(scores.pooled, scores.predicted)
    plain = {name: _by_class(scores, value) if np.ndim(value) else _plain(value) for name, value in facts.items()}
    return {**plain, "definitions": as_published.DEFINITIONS}


def _scene_facts(cells: np.ndarray) -> dict[str, Any]:
    return {"pixels": int(cells.sum()), "miou": _plain(mean_iou(cells)), "oa": _plain(overall_accuracy(cells))}


def _plain(value: Any) -> float | None:
    # Nine digits: enough to tell any two confusions apart, few enough to be free of a last-bit difference.
    return round(float(value), 9) if math.isfinite(value) else None


def _confusion_csv(scores: Scores) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    truths = (*scores.classes, "")
    for scene, truth, guess in np.argwhere(scores.counts):
        count = int(scores.counts[scene, truth, guess])
        writer.writerow((scores.scenes[scene], truths[truth], scores.classes[guess], count))
    return text.getvalue()


def read_scores(experiment: str, seed: int, root: Path) -> Scores | None:
    """The stored confusions of a run; None when the run has not been evaluated."""
    path = scores_path(experiment, seed, root)
    if not path.is_file():
        return None
    facts = read_json(path)
    try:
        return _parse(facts, path.with_suffix(".csv").read_text())
    except (KeyError, ValueError, TypeError, OSError) as error:
        hint = f"delete both and run `georelay evaluate {experiment} {seed}`"
        raise UserError(f"scores and confusions do not fit together ({error})", path, hint) from None


def _parse(facts: Mapping[str, Any], text: str) -> Scores:
    classes, scenes = tuple(facts["classes"]), tuple(sorted(facts["scenes"]))
    place = {name: index for index, name in enumerate((*classes, ""))}
    scene_place = {name: index for index, name in enumerate(scenes)}
    counts = np.zeros((len(scenes), len(classes) + 1, len(classes)), np.int64)
    for row in csv.DictReader(io.StringIO(text)):
        counts[scene_place[row["scene"]], place[row["truth"]], place[row["predicted"]]] = int(row["count"])
    scores = Scores(classes, scenes, counts, tuple(facts.get("unscored", ())))
    if (pixels := int(scores.pooled.sum())) != facts["pixels"]:
        raise ValueError(f"{pixels} pixels in the CSV, {facts['pixels']} in the JSON")
    return scores
