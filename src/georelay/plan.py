"""The resolver: one row of the experiments table becomes one JSON file that a run depends on, and nothing else.

Light: no torch, numpy or zarr. It reads params.yaml, the cards that `fetch` and `tile` leave beside their stores,
and the syntax trees of the Python files that a stage imports.
"""

from __future__ import annotations

import os
import platform
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from georelay.codebase import NAME, code_digest, module_digests
from georelay.download.wanted import brought_by_hand
from georelay.errors import UserError
from georelay.files import digest, read_json, sha256_file, write_json
from georelay.methods.options import METHODS
from georelay.reading import lookup
from georelay.report.gallery import FIGURES
from georelay.rows import features_name, resolve_teacher, rows, teacher_row
from georelay.settings import TASK_KEYS, Params, Row

# Libraries whose release can change the bits of a result.
LIBRARIES = {
    "fetch": ("numpy", "scipy", "rasterio"),
    "tile": ("numpy", "rasterio", "zarr"),
    "teach": ("torch", "timm", "numpy"),
    "features": ("torch", "timm", "numpy"),
    "train": ("torch", "timm", "numpy"),
    "predict": ("torch", "timm", "numpy", "rasterio"),
}
ROOTS = {
    "fetch": ("georelay.sources.catalog",),
    "tile": ("georelay.tiles.write",),
    "teach": ("georelay.train.teach",),
    "features": ("georelay.teachers.features",),
    "train": ("georelay.train.run",),
    "predict": ("georelay.evaluate.predict",),
    "evaluate": ("georelay.evaluate.scores",),
    "compare": (
        *("georelay.report.compare", "georelay.report.metrics", "georelay.report.figures"),
        *(figure.module for figure in FIGURES.values()),
    ),
    "publish": ("georelay.report.publish",),
    "report": ("georelay.report.html",),
    "track": ("georelay.track.mlflow",),
}

RUN_STAGES = ("train", "predict")
SHORT = 12  # letters of a digest that only tells one from another


@lru_cache
def versions(stage: str) -> dict[str, str]:
    """Releases of the libraries a stage's result depends on, and of Python."""
    return {name: version(name) for name in LIBRARIES.get(stage, ())} | {"python": platform.python_version()}


def stage_code(stage: str, method: str | None = None) -> str:
    """Digest of the syntax trees behind a stage; a method's own module counts for its runs alone."""
    return code_digest(_roots(stage, method))


def _roots(stage: str, method: str | None) -> tuple[str, ...]:
    return ROOTS[stage] + ((METHODS[method].module,) if method and stage in ("teach", "train", "predict") else ())


def _code(method: str) -> dict[str, Any]:
    """Digests of the code of a row's runs and maps; and its modules, which name nothing but tell what has changed."""
    trees = {name: tree for stage in RUN_STAGES for name, tree in module_digests(_roots(stage, method)).items()}
    modules = {name.removeprefix(f"{NAME}."): tree[:SHORT] for name, tree in trees.items()}
    return {**{stage: stage_code(stage, method) for stage in RUN_STAGES}, "modules": modules}


def device() -> str:
    """The kind of processor a run will use under `device: auto`, told without importing torch."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    return "cuda" if Path("/dev/nvidia0").exists() and not hidden else "cpu"


def source_key(params: Params, name: str) -> dict[str, Any]:
    """What the rasters of a source depend on: the module of its kind too, and files that are not ours."""
    source = params.sources[name]
    code = code_digest((*ROOTS["fetch"], source.module))
    if source.kind == "synthetic":
        return {"source": source.model_dump(), "code": code, "versions": versions("fetch")}
    # What is downloaded is told by its list; stamps would differ before and after.
    files = {"files": _stamps(Path(source.path))} if brought_by_hand(source) else {}
    settings = source.model_dump(exclude={"licence_accepted"})
    return {"source": settings, "code": code, "versions": versions("fetch"), **files}


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Path, size and time of every file below a folder: enough to see a change without reading anything."""
    facts = ((path.relative_to(folder).as_posix(), path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in facts]


def _stamp(file: str | None) -> tuple[int, int] | None:
    """Size and time of a file that a student starts from: engines look at them, plans hold its digest."""
    if file is None or not Path(file).is_file():
        return None
    return Path(file).stat().st_size, Path(file).stat().st_mtime_ns


def task_key(params: Params, name: str) -> dict[str, Any]:
    """What the tiles of a task depend on, but for the rasters."""
    kept = {"source", "modalities", "tile", "stride", "edges", "align_look", "split", "compression"}
    settings = params.tasks[name].model_dump(include=kept)
    return {"task": name, "settings": settings, "code": stage_code("tile"), "versions": versions("tile")}


def teacher_key(params: Params, name: str) -> dict[str, Any]:
    """What a teacher depends on, but for tiles and weight files: its reason does not count. Its card names the licence."""
    settings, row = resolve_teacher(params, name).model_dump(exclude={"why"}), teacher_row(params, name)
    training = row_key(row, "teach") if row else {"code": stage_code("teach"), "versions": versions("teach")}
    return {"settings": settings, "training": training}


def features_key() -> dict[str, Any]:
    """What stored features depend on beside the tiles and the teacher's card."""
    return {"code": stage_code("features"), "versions": versions("features")}


def row_key(row: Row, stage: str) -> dict[str, Any]:
    """What a row's run (`train`) or maps (`predict`) depend on, but for the data: names and reasons do not count."""
    facts = row.model_dump(exclude={"name", "parent", "why", "core", "study", "predict"})
    settings = facts | ({"predict": row.predict.model_dump()} if stage == "predict" else {})
    return {"settings": settings, "code": stage_code(stage, row.method), "versions": versions(stage)}


def rule_digest(params: Params, stage: str, row: Row | None = None, name: str = "") -> str:
    """For Snakemake's `params:`: changes when a stage must run again for reasons that no input file shows."""
    if stage == "fetch":
        return digest(source_key(params, name))
    if stage == "tile":
        return digest(task_key(params, name))
    if stage == "teach":
        return digest(teacher_key(params, name))
    if stage == "features":
        return digest(features_key())
    if stage == "plan" and row is not None:
        return digest([row_key(row, "train"), row_key(row, "predict"), _stamp(row.model.weights)])
    return digest(row_key(row, stage) if row else stage_code(stage))


def raw_folder(source: str) -> Path:
    """Where a source's rasters lie."""
    return Path("data/raw") / source


def card_path(task: str) -> Path:
    """The small JSON beside a tile store that says what is in it."""
    return Path("results/tiles") / f"{task}.json"


def teacher_path(name: str) -> Path:
    """The card of a teacher; its weights lie beside it."""
    return Path("results/teachers") / f"{name}.json"


def features_path(task: str, teacher: str) -> Path:
    """The card of a teacher's features of a task; their store lies beside it."""
    return Path("results/features") / f"{features_name(task, teacher)}.json"


def plan_path(experiment: str) -> Path:
    """Where a row's plan lies."""
    return Path("results/plans") / f"{experiment}.json"


def make_plan(params: Params, row: Row, root: Path) -> dict[str, Any]:
    """Every number, class and digest that a row's runs depend on."""
    card, source = _read_card(root / card_path(row.task)), params.tasks[row.task].source
    tested = {"tested": card["tested"]} if "tested" in card else {}
    aligned = {"align_look": True} if "turned" in card else {}
    for key in ("train_domain", "test_domain"):
        if getattr(row, key) not in (None, *card["domains"]):
            where = f"params.yaml: experiments.{row.name}.{key}"
            raise UserError(f'task {row.task} has no domain "{getattr(row, key)}"', where, f"known: {', '.join(card['domains'])}")
    classes = [entry["name"] for entry in card["classes"]]
    _check_unscored(row, classes)
    settings = {key: getattr(row, key).model_dump() for key in ("model", "train", "augment", "predict")}
    return {
        "experiment": row.name,
        "method": row.method,
        "task": row.task,
        **{key: getattr(row, key) for key in (*TASK_KEYS, "teacher_view")},
        "labels": _budget(row, card),
        "classes": classes,
        "colours": [entry["colour"] for entry in card["classes"]],
        "ignore": card["ignore"],
        "modalities": {name: card["modalities"][name] for name in (*row.inputs, *row.pair)},
        "settings": settings | {"method": row.options},
        "tiles": {"path": f"results/tiles/{row.task}.zarr.zip", "sha256": card["sha256"]},
        "source": {"name": source, "folder": str(raw_folder(source)), "receipt": card["receipt"], **tested, **aligned},
        **_teaching(row, root),
        **_start(row, root),
        "code": _code(row.method),
        "versions": versions("train"),
    }


def _check_unscored(row: Row, classes: list[str]) -> None:
    where = f"params.yaml: tasks.{row.task}.unscored, or experiments.{row.name}.set.unscored"
    for name in row.unscored:
        lookup(dict.fromkeys(classes), name, where, "class")
    if row.unscored and not set(classes) - set(row.unscored):
        raise UserError("leaves no class that is scored", where, f"name fewer of {', '.join(classes)}")


def _budget(row: Row, card: dict[str, Any]) -> Any:
    """How many tiles have labels: a share is taken of each domain that is trained on, and is one tile at least."""
    if not isinstance(row.labels, str):
        return row.labels
    share = Decimal(row.labels.removesuffix("%")) / 100
    domains = card["domains"] if row.train_domain is None else [row.train_domain]
    counts = {domain: max(1, int(share * card["labelled"][domain]["count"])) for domain in domains}
    return counts if len(counts) > 1 else counts[domains[0]]


def _teaching(row: Row, root: Path) -> dict[str, Any]:
    """The cards of the row's teachers, and where their features of its task lie, if it reads them."""
    unread = ("name", "licence")
    cards = {name: _read_card(root / teacher_path(name)) for name in row.teachers}
    teachers = {name: {key: value for key, value in card.items() if key not in unread} for name, card in cards.items()}
    features = {}
    for name in row.teachers if row.teacher_view == "cached" else []:
        card = _read_card(root / features_path(row.task, name))
        if card["teacher"] != cards[name]["sha256"]:
            what = f"holds features of another version of teacher {name}"
            raise UserError(what, root / features_path(row.task, name), f"run `georelay features {row.task} {name}`")
        features[name] = {"path": str(features_path(row.task, name).with_suffix(".zarr.zip")), "sha256": card["sha256"]}
    return {"teachers": teachers, "features": features}


def _start(row: Row, root: Path) -> dict[str, Any]:
    """The file that the student starts from, by its content."""
    if row.model.weights is None:
        return {}
    path = root / row.model.weights
    if not path.is_file():
        raise UserError("the weights to start from are missing", path, f"experiments.{row.name} names them in model.weights")
    return {"start": {"path": row.model.weights, "sha256": sha256_file(path)}}


def require_start(plan: dict[str, Any]) -> None:
    """A file that the student starts from is the one that the plan was made for."""
    start = plan.get("start")
    if start and sha256_file(Path(start["path"])) != start["sha256"]:
        raise UserError("has changed since the plan was made", start["path"], f"run `georelay plan {plan['experiment']}`")


def _read_card(path: Path) -> dict[str, Any]:
    return dict(read_json(path))


def write_plans(params: Params, root: Path, names: list[str]) -> list[Path]:
    """Write the plan of each named row, or of every active one."""
    chosen = [row for row in rows(params, active=not names) if not names or row.name in names]
    for row in chosen:
        write_json(root / plan_path(row.name), make_plan(params, row, root))
    return [root / plan_path(row.name) for row in chosen]


def run_fingerprint(plan: dict[str, Any], seed: int) -> str:
    """Names a run's result by everything it depends on; a row's name and its prediction settings are not among it."""
    kept = {key: value for key, value in plan.items() if key not in ("experiment", "source", "code")}
    settings = {key: value for key, value in plan["settings"].items() if key != "predict"}
    place = device() if plan["settings"]["train"]["device"] == "auto" else plan["settings"]["train"]["device"]
    return digest({**kept, "settings": settings, "code": plan["code"]["train"], "seed": seed, "device": place})


def predict_key(plan: dict[str, Any]) -> dict[str, Any]:
    """What the maps of a run depend on beside its weights."""
    kept = {key: plan[key] for key in ("source", "inputs", "test_domain", "modalities", "classes", "colours", "ignore")}
    return {**kept, "predict": plan["settings"]["predict"], "code": plan["code"]["predict"], "versions": versions("predict")}
