"""Every stage whose result is kept: what it leaves, and the fingerprint of all that this depends on.

A command puts its work in; who only wants to know what would happen leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from georelay.files import digest
from georelay.plan import (
    card_path,
    device,
    features_key,
    features_path,
    predict_key,
    raw_folder,
    run_fingerprint,
    source_key,
    task_key,
    teacher_key,
    teacher_path,
)
from georelay.rows import resolve_teacher
from georelay.settings import Params
from georelay.stage import Stage

Card = Mapping[str, Any]
RUNS, MAPS = Path("results/runs"), Path("results/maps")


def nothing() -> None:
    """The work of a stage that is only looked at."""


def fetch_stage(params: Params, source: str) -> Stage:
    """The rasters of a source."""
    # What lies in a folder of the user's is soon converted again; the cache would only hold it once more.
    key = digest(source_key(params, source)) if params.sources[source].kind == "synthetic" else None
    return Stage("fetch", source, nothing, [raw_folder(source)], key)


def tile_stage(params: Params, task: str, receipt: str) -> Stage:
    """The tiles of a task, from rasters whose receipt has this digest."""
    card = card_path(task)
    key = digest({**task_key(params, task), "receipt": receipt})
    return Stage("tile", task, nothing, [card.with_suffix(".zarr.zip"), card], key)


def teach_stage(params: Params, teacher: str, plan: dict[str, Any] | None) -> Stage:
    """A teacher; `plan` is that of its lesson, where it is taught here."""
    taught, card = resolve_teacher(params, teacher).model_dump()["taught"], teacher_path(teacher)
    key = digest({**teacher_key(params, teacher), "run": run_fingerprint(plan, taught["seed"]) if plan else None})
    return Stage("teach", teacher, nothing, [card.with_suffix(".safetensors"), card], key)


def features_stage(task: str, teacher: str, tiles: Card, card: Card) -> Stage:
    """A teacher's features of every tile of a task, by the cards of both."""
    place = features_path(task, teacher)
    inputs = {"tiles": tiles["sha256"], "modalities": tiles["modalities"], "teacher": card, "device": device()}
    key = digest({**features_key(), **inputs})
    return Stage("features", f"{task} {teacher}", nothing, [place.with_suffix(".zarr.zip"), place], key, place.stem)


def train_stage(plan: dict[str, Any], seed: int) -> Stage:
    """One run of a row."""
    row, names = plan["experiment"], ("history.csv", "metrics.json", "timing.json", "model.safetensors")
    outputs = [RUNS / row / f"seed{seed}" / name for name in names]
    return Stage("train", f"{row} {seed}", nothing, outputs, run_fingerprint(plan, seed), f"{row}/seed{seed}")


def predict_stage(plan: dict[str, Any], seed: int, weights: str) -> Stage:
    """The maps of one run, whose weights have this digest."""
    row = plan["experiment"]
    key = digest({**predict_key(plan), "weights": weights})
    return Stage("predict", f"{row} {seed}", nothing, [MAPS / row / f"seed{seed}"], key, f"{row}/seed{seed}")
