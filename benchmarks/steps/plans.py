"""A plan for a row of params.yaml with other teachers and sizes, without tiles and weights: random ones take as long as any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from georelay.batches.geometry import identity
from georelay.batches.streams import Batch
from georelay.rows import merged, resolve, resolve_teacher, teacher_row
from georelay.settings import Params
from georelay.teachers.intake import make_intake
from georelay.teachers.network import TeacherNetwork, build_network

CLASSES = 4
OPTICAL = {
    "bands": ["blue", "green", "red", "nir"],
    "unit": "reflectance",
    "scale": 1e-4,
    "nodata": 0,
    "mean": [1000.0] * 4,
    "std": [500.0] * 4,
}


def plan_for(
    params: Params, name: str, teachers: Sequence[str], change: Mapping[str, Any], method: str | None = None
) -> dict[str, Any]:
    """The plan of a row with other teachers and some of its settings changed, its method too if one is named."""
    entry = params.experiments[name]
    facts = {"teachers": list(teachers), "set": merged(entry.set, change), "method": method or entry.method}
    changed = entry.model_copy(update=facts)
    row = resolve(params.model_copy(update={"experiments": params.experiments | {name: changed}}), name)
    groups = {key: getattr(row, key).model_dump() for key in ("model", "train", "augment", "predict")}
    return {
        "experiment": row.name,
        "settings": groups | {"method": row.options},
        "classes": ["class"] * CLASSES,
        "ignore": 255,
        "inputs": ["optical"],
        "pair": [],
        "train_domain": "main",
        "modalities": {"optical": OPTICAL},
        "teacher_view": "cached",
        "teachers": {},
    }


def add_teacher(params: Params, plan: dict[str, Any], name: str) -> TeacherNetwork:
    """A teacher, and its card into the plan."""
    lesson = teacher_row(params, name)
    settings = resolve_teacher(params, name).model_dump()
    taught = None
    if lesson is not None:
        levels = len(lesson.options["targets"]) * (len(lesson.options["edges"]) + 1)
        taught = {"model": lesson.model.model_dump(), "bands": 4, "classes": levels}
        settings |= {"bands": OPTICAL["bands"], "statistics": "task"}
    network = build_network(settings, taught, None)
    facts = zip(settings["taps"], network.channels, network.strides, strict=True)
    taps = [{"tap": tap, "channels": channels, "stride": stride} for tap, channels, stride in facts]
    plan["teachers"][name] = {"taps": taps, "settings": settings}
    return TeacherNetwork(network, make_intake(settings, name, OPTICAL), settings)


def random_batch(batch: int, side: int, order: torch.memory_format) -> Batch:
    """Tiles of noise with labels of noise."""
    image = torch.randn(batch, 4, side, side).to(memory_format=order)
    label = torch.randint(0, CLASSES, (batch, side, side))
    return Batch(image, label, label < CLASSES, torch.arange(batch), identity(batch, side))


def answer(teacher: TeacherNetwork, image: Tensor) -> list[Tensor]:
    """What a teacher says of images as the student sees them."""
    raw = 1000 + 500 * image
    maps: list[Tensor] = teacher(raw, torch.ones_like(raw[:, :1], dtype=torch.bool))
    return maps
