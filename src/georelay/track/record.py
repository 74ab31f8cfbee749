"""What a run tells MLflow, as plain values: parameters, metrics, curves, tags and files. Knows nothing of MLflow.

A record carries the digest of the files it is made of, by which an import sees that it has nothing to do.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import georelay
from georelay.evaluate.scores import scores_path
from georelay.files import digest, read_json, sha256_file
from georelay.report.gallery import FIGURES, figure_path
from georelay.report.provenance import Checkout
from georelay.report.tables import Row, read_table, table_path
from georelay.sources.receipt import NAME as RECEIPT
from georelay.track.curves import Point, mean_curves, read_curves

LAYOUT = 3  # part of every digest: raise it when records are written differently, and all runs are imported anew
SCALARS = ("miou", "oa", "macro_f1", "boundary_f1")
# Columns of a study's table by what MLflow calls them; a table that lacks one goes without.
PARENT_METRICS = {"mean": "miou", "sd": "miou.sd"}
PARENT_METRICS |= {"difference": "difference", "low": "difference.low", "high": "difference.high"}
PARENT_METRICS |= {"p": "p", "p_holm": "p_holm", "effect": "effect"}
PARENT_METRICS |= {"base_difference": "base.difference", "base_low": "base.difference.low", "base_high": "base.difference.high"}
PARENT_METRICS |= {"base_p": "base.p", "base_p_holm": "base.p_holm"}
# Parameters that every run tells; of the others, those that differ between the runs of its study.
PARAMS = {"inputs", "labels", "method", "model.backbone", "model.decoder", "seed", "task", "teachers"}
PARAMS |= {"train.batch", "train.lr", "train.steps"}
SHARED_TAGS = ("plan.sha256", "tiles.sha256", "licence", "licence.accepted")  # a row's seeds have one plan


Shown = tuple[str, int]  # row and seed


@dataclass(frozen=True)
class Data:
    """What a run read: tiles to train on, or a source's rasters to be tested on."""

    name: str
    digest: str  # sha256 of the tile store, or of the receipt that names every raster's
    path: str
    context: str  # train or test


@dataclass(frozen=True)
class Record:
    """One MLflow run to be: `key` names it for good, `digest` says whether it has changed."""

    key: str
    name: str
    digest: str
    shown: Shown  # whose maps and plan stand for it
    start: float  # seconds since 1970
    end: float
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: Sequence[Point] = ()
    files: Sequence[tuple[Path, str]] = ()  # file, folder among the artefacts
    data: Sequence[Data] = ()


def seed_record(row: Row, seed: int, root: Path, checkout: Checkout) -> Record | None:
    """The record of one seed of a row; None when the run has not been evaluated."""
    name = row["experiment"]
    folder, scores = run_folder((name, seed), root), scores_path(name, seed, root)
    sources = [folder / file for file in ("plan.json", "metrics.json", "history.csv")] + [scores, scores.with_suffix(".csv")]
    if not all(path.is_file() for path in sources):
        return None
    maps = root / "results/maps" / name / f"seed{seed}" / "maps.json"
    plan, timing = read_json(folder / "plan.json"), _optional(folder / "timing.json")
    end, curves = (folder / "metrics.json").stat().st_mtime, read_curves((folder / "history.csv").read_text())
    parts = {path.name: sha256_file(path) for path in [*sources, maps] if path.is_file()}
    return Record(
        key=f"{name}/seed{seed}",
        name=f"{name} seed {seed}",
        digest=digest({"layout": LAYOUT, "row": dict(row), "files": parts}),
        shown=(name, seed),
        start=end - float(timing.get("seconds", 0.0)),
        end=end,
        tags={
            **_tags(row, checkout),
            "kind": "seed",
            "seed": str(seed),
            **_plan_tags(plan, folder / "plan.json"),
            **_terms(plan, root),
        },
        params={**flat(_settings(plan)), "seed": str(seed)},
        metrics={
            **_score_metrics(read_json(scores)),
            **_finals(read_json(folder / "metrics.json"), curves),
            **_numbers(timing, "run."),
        },
        curves=curves,
        files=list(zip(sources, ("", "scores", "curves", "scores", "confusion"), strict=True)),
        data=_data(plan),
    )


def narrowed(records: Sequence[Record]) -> list[Record]:
    """Runs of a study with the parameters that tell them apart: MLflow shows all there are, above each picture.

    One that other methods do not have at all tells no more than the method does. Every setting stands in plan.json.
    """
    values: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, value in record.params.items():
            values[name].add(value)
    kept = {name for name, found in values.items() if len(found) > 1 or name in PARAMS}
    return [_with_params(record, {name: value for name, value in record.params.items() if name in kept}) for record in records]


def distinguishing(records: Sequence[Record]) -> list[str]:
    """The parameters that all of some runs have and that differ between them: the first of those that part them alike."""
    parted: dict[tuple[int, ...], str] = {}
    for name in sorted(set.intersection(*(set(record.params) for record in records))):
        values = [record.params[name] for record in records]
        parted.setdefault(tuple(values.index(value) for value in values), name)
    return sorted(name for parts, name in parted.items() if len(set(parts)) > 1)


def _with_params(record: Record, params: Mapping[str, str]) -> Record:
    return replace(record, params=params, digest=digest([record.digest, sorted(params)]))


def run_folder(shown: Shown, root: Path) -> Path:
    """Where the files of a run lie."""
    return root / "results/runs" / shown[0] / f"seed{shown[1]}"


def run_plan(shown: Shown, root: Path) -> dict[str, Any]:
    """The plan that a run was made with."""
    return dict(read_json(run_folder(shown, root) / "plan.json"))


def row_record(row: Row, children: Sequence[Record], root: Path, checkout: Checkout) -> Record:
    """The record of a row: what its seeds have in common, and its line of the study's table."""
    study = row["study"]
    table = table_path(study, root)
    lines = read_table(study, root) if table.is_file() else []
    line = next((line for line in lines if line["row"] == row["experiment"]), {})
    numbers = {name: line[column] for column, name in PARENT_METRICS.items() if column in line and not math.isnan(line[column])}
    common = dict(set.intersection(*(set(child.params.items()) for child in children)))
    shared = {key: value for key, value in children[0].tags.items() if key in SHARED_TAGS}
    files = [path for path in (table, table.with_suffix(".md"), *study_figures(study, root)) if path.is_file()]
    seeds = sorted(child.digest for child in children)
    return Record(
        key=row["experiment"],
        name=row["experiment"],
        digest=digest({"layout": LAYOUT, "row": dict(row), "children": seeds, "files": [sha256_file(path) for path in files]}),
        shown=children[0].shown,
        start=min(child.start for child in children),
        end=max(child.end for child in children),
        tags={**_tags(row, checkout), **shared, "kind": "row", **({"note": line["note"]} if line.get("note") else {})},
        params=common,
        metrics={**_means(children), **numbers, "miou.n": float(len(children))},
        curves=mean_curves([child.curves for child in children]),
        files=[(path, "study") for path in files],
        data=children[0].data,
    )


def study_figures(study: str, root: Path) -> list[Path]:
    """The study's figures that there are."""
    return [path for kind in FIGURES if (path := figure_path(study, kind, root)).is_file()]


def _means(children: Sequence[Record]) -> dict[str, float]:
    """Numbers that all seeds have, as means: so that rows can be compared with each other by any of them."""
    shared = sorted(set.intersection(*(set(child.metrics) for child in children)))
    return {name: sum(child.metrics[name] for child in children) / len(children) for name in shared}


def _data(plan: Mapping[str, Any]) -> tuple[Data, ...]:
    tiles, source = plan["tiles"], plan["source"]
    rasters = Data(source["name"], source["receipt"], f"{source['folder']}/{RECEIPT}", "test")
    return Data(plan["task"], tiles["sha256"], tiles["path"], "train"), rasters


def _optional(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.is_file() else {}


def _tags(row: Row, checkout: Checkout) -> dict[str, str]:
    tags = {key: str(row[key]) for key in ("study", "method", "task", "why")}
    imported = {"imported.commit": checkout.commit, "imported.dirty": str(checkout.dirty).lower()}
    like = {"like": str(row["parent"])} if row["parent"] else {}
    return {**tags, **like, **imported, "experiment": row["experiment"], "georelay.version": georelay.__version__}


def _plan_tags(plan: Mapping[str, Any], path: Path) -> dict[str, str]:
    return {"plan.sha256": sha256_file(path), "tiles.sha256": plan["tiles"]["sha256"]}


def _terms(plan: Mapping[str, Any], root: Path) -> dict[str, str]:
    """The licence of the data, and whether it had to be accepted; the tiles' digest stands for both."""
    card = _optional((root / plan["tiles"]["path"]).with_suffix("").with_suffix(".json"))
    accepted = {"licence.accepted": str(card["brought"]["licence_accepted"]).lower()} if "brought" in card else {}
    return {"licence": card["licence"], **accepted} if card else {}


def _settings(plan: Mapping[str, Any]) -> dict[str, Any]:
    names = ("method", "task", "inputs", "labels", "train_domain", "test_domain")
    top = {name: plan[name] for name in names if name in plan} | {"teachers": sorted(plan["teachers"])}
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
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _score_metrics(scores: Mapping[str, Any]) -> dict[str, float]:
    chosen = {name: scores.get(name) for name in SCALARS} | {f"iou.{name}": value for name, value in scores["iou"].items()}
    chosen["ece"] = scores.get("calibration", {}).get("ece")
    return {name: value for name, value in chosen.items() if value is not None}


def _finals(facts: Mapping[str, Any], curves: Sequence[Point]) -> dict[str, float]:
    """The run's closing numbers, but for those that a curve ends with already."""
    drawn = {name for name, _, _ in curves}
    return {name: value for name, value in _numbers(facts).items() if name not in drawn}


def _numbers(facts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    kept = {name: value for name, value in facts.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}
    return {f"{prefix}{name}": float(value) for name, value in kept.items()}
