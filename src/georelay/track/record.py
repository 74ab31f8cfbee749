"""What a run tells MLflow, as plain values: parameters, metrics, curves, tags and files. Knows nothing of MLflow.

A record carries the digest of the files it is made of, by which an import sees that it has nothing to do.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import georelay
from georelay.evaluate.scores import scores_path
from georelay.files import digest, read_json, sha256_file
from georelay.report.gallery import FIGURES, figure_path
from georelay.report.provenance import Checkout
from georelay.report.tables import Row, read_table, table_path

LAYOUT = 1  # part of every digest: raise it when records are written differently, and all runs are imported anew
MAPS_KEPT = 2  # test scenes whose maps are shown with a run; the others stay in results/maps
CURVE_POINTS = 100  # a curve in MLflow; every step stands in the artefact history.csv, and 900 metrics take 0.2 s a run
SCALARS = ("miou", "oa", "macro_f1")
PARENT_METRICS = {"mean": "miou", "sd": "miou.sd", "difference": "difference"}
PARENT_METRICS |= {"low": "difference.low", "high": "difference.high", "p": "difference.p"}


@dataclass(frozen=True)
class Record:
    """One MLflow run to be: `key` names it for good, `digest` says whether it has changed."""

    key: str
    name: str
    digest: str
    start: float  # seconds since 1970
    end: float
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: Sequence[tuple[str, float, int]] = ()  # metric, value, step
    files: Sequence[tuple[Path, str]] = ()  # file, folder among the artefacts
    maps: Sequence[Path] = ()  # class maps, logged as they are and as pictures
    colours: Sequence[Sequence[int]] = ()
    ignore: int = -1


def seed_record(row: Row, seed: int, root: Path, checkout: Checkout) -> Record | None:
    """The record of one seed of a row; None when the run has not been evaluated."""
    name = row["experiment"]
    folder, scores = root / "results/runs" / name / f"seed{seed}", scores_path(name, seed, root)
    sources = [folder / file for file in ("plan.json", "metrics.json", "history.csv")] + [scores, scores.with_suffix(".csv")]
    if not all(path.is_file() for path in sources):
        return None
    maps = root / "results/maps" / name / f"seed{seed}" / "maps.json"
    plan, timing = read_json(folder / "plan.json"), _optional(folder / "timing.json")
    end, curves = (folder / "metrics.json").stat().st_mtime, _curves((folder / "history.csv").read_text())
    parts = {path.name: sha256_file(path) for path in [*sources, maps] if path.is_file()}
    return Record(
        key=f"{name}/seed{seed}",
        name=f"{name} seed {seed}",
        digest=digest({"layout": LAYOUT, "row": dict(row), "files": parts}),
        start=end - float(timing.get("seconds", 0.0)),
        end=end,
        tags={**_tags(row, checkout), "seed": str(seed), **_plan_tags(plan, folder / "plan.json"), **_terms(plan, root)},
        params={**flat(_settings(plan)), "seed": str(seed)},
        metrics={
            **_score_metrics(read_json(scores)),
            **_finals(read_json(folder / "metrics.json"), curves),
            **_numbers(timing, "run."),
        },
        curves=curves,
        files=list(zip(sources, ("", "scores", "curves", "scores", "confusion"), strict=True)),
        maps=_some_maps(maps),
        colours=plan["colours"],
        ignore=plan["ignore"],
    )


def row_record(row: Row, children: Sequence[Record], root: Path, checkout: Checkout) -> Record:
    """The record of a row: what its seeds have in common, and its line of the study's table."""
    study = row["study"]
    table, figures = table_path(study, root), [figure_path(study, kind, root) for kind in FIGURES]
    lines = read_table(study, root) if table.is_file() else []
    line = next((line for line in lines if line["row"] == row["experiment"]), {})
    numbers = {name: line[column] for column, name in PARENT_METRICS.items() if column in line and not math.isnan(line[column])}
    common = dict(set.intersection(*(set(child.params.items()) for child in children)))
    plan_tags = {key: value for key, value in children[0].tags.items() if key in ("plan.sha256", "tiles.sha256")}
    files = [path for path in (table, table.with_suffix(".md"), *figures) if path.is_file()]
    seeds = sorted(child.digest for child in children)
    return Record(
        key=row["experiment"],
        name=row["experiment"],
        digest=digest({"layout": LAYOUT, "row": dict(row), "children": seeds, "files": [sha256_file(path) for path in files]}),
        start=min(child.start for child in children),
        end=max(child.end for child in children),
        tags={**_tags(row, checkout), **plan_tags, **({"note": line["note"]} if line.get("note") else {})},
        params=common,
        metrics={**_means(children), **numbers, "miou.n": float(len(children))},
        files=[(path, "study") for path in files],
    )


def _means(children: Sequence[Record]) -> dict[str, float]:
    """Scores that all seeds have, as means: so that parents can be compared with each other by any score."""
    shared = set.intersection(*(set(child.metrics) for child in children))
    names = sorted(name for name in shared if name in SCALARS or name.startswith("iou."))
    return {name: sum(child.metrics[name] for child in children) / len(children) for name in names}


def _optional(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.is_file() else {}


def _tags(row: Row, checkout: Checkout) -> dict[str, str]:
    tags = {key: str(row[key]) for key in ("study", "method", "task", "why")}
    git = {"git.commit": checkout.commit, "git.dirty": str(checkout.dirty).lower()}
    like = {"like": str(row["parent"])} if row["parent"] else {}
    return {**tags, **like, **git, "experiment": row["experiment"], "georelay.version": georelay.__version__}


def _plan_tags(plan: Mapping[str, Any], path: Path) -> dict[str, str]:
    return {"plan.sha256": sha256_file(path), "tiles.sha256": plan["tiles"]["sha256"]}


def _terms(plan: Mapping[str, Any], root: Path) -> dict[str, str]:
    """The licence of the data, and whether it had to be accepted; the tiles' digest stands for both."""
    card = _optional((root / plan["tiles"]["path"]).with_suffix("").with_suffix(".json"))
    accepted = {"licence.accepted": str(card["brought"]["licence_accepted"]).lower()} if "brought" in card else {}
    return {"licence": card["licence"], **accepted} if card else {}


def _settings(plan: Mapping[str, Any]) -> dict[str, Any]:
    names = ("method", "task", "inputs", "labels", "train_domain", "test_domain", "teachers")
    top = {name: plan[name] for name in names if name in plan}
    settings = dict(plan["settings"])
    return {**top, "options": settings.pop("method", {}), **settings}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level with dotted names; lists and null stay readable JSON."""
    result: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = _word(value)
    return result


def _word(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _score_metrics(scores: Mapping[str, Any]) -> dict[str, float]:
    chosen = {name: scores[name] for name in SCALARS} | {f"iou.{name}": value for name, value in scores["iou"].items()}
    return {name: value for name, value in chosen.items() if value is not None}


def _finals(facts: Mapping[str, Any], curves: Sequence[tuple[str, float, int]]) -> dict[str, float]:
    """The run's closing numbers, but for those that a curve ends with already."""
    drawn = {name for name, _, _ in curves}
    return {name: value for name, value in _numbers(facts).items() if name not in drawn}


def _numbers(facts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    kept = {name: value for name, value in facts.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}
    return {f"{prefix}{name}": float(value) for name, value in kept.items()}


def _curves(text: str) -> list[tuple[str, float, int]]:
    """Every column of a history against its step: at most CURVE_POINTS steps, the last one, and all validations."""
    rows = list(csv.DictReader(io.StringIO(text)))
    stride = -(-len(rows) // CURVE_POINTS) or 1
    points = []
    for behind, row in enumerate(reversed(rows)):
        names = [name for name in row if name != "step" and row[name] and (behind % stride == 0 or name == "val_miou")]
        points += [(name, float(row[name]), int(float(row["step"]))) for name in names]
    return [point for point in reversed(points) if math.isfinite(point[1])]


def _some_maps(listing: Path) -> list[Path]:
    if not listing.is_file():
        return []
    scenes = read_json(listing)["scenes"]
    paths = [listing.parent / scenes[name]["file"] for name in sorted(scenes)[:MAPS_KEPT]]
    return [path for path in paths if path.is_file()]
