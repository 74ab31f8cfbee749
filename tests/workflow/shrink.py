"""Makes a checkout's params.yaml small: some rows, few seeds, and with --tiny worlds that train in a second."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from georelay.params import load_params
from georelay.reading import load_yaml
from georelay.rows import features_name, resolve, teacher_row
from georelay.settings import Params, Row

TINY_TRAINING = {"steps": 6, "batch": 4, "warmup_steps": 2, "evaluate_every": 3, "checkpoint_every": 2}


def shrink(folder: Path, names: Sequence[str], seeds: list[int], tiny: bool) -> dict[str, Any]:
    """Rewrite params.yaml of a checkout so that these rows are active; returns its new values."""
    path = folder / "params.yaml"
    params, values = load_params(path), load_yaml(path)
    chosen = [resolve(params, name) for name in names]
    studies = list(dict.fromkeys(row.study for row in chosen))
    active = values["active"] | closed(params, chosen) | {"studies": studies, "experiments": list(names), "seeds": seeds}
    values["active"] = active
    values["reference"] |= {"studies": studies, "seeds": seeds}
    if tiny:
        make_tiny(values, active, {row.task for row in chosen})
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return dict(values)


def closed(params: Params, chosen: list[Row]) -> dict[str, Any]:
    """What the chosen rows stand on: their teachers' tasks and sources too."""
    teachers = sorted({teacher for row in chosen for teacher in row.teachers})
    lessons = [lesson for teacher in teachers if (lesson := teacher_row(params, teacher))]
    tasks = sorted({row.task for row in [*chosen, *lessons]})
    pairs = sorted({(row.task, teacher) for row in chosen if row.teacher_view == "cached" for teacher in row.teachers})
    features = {features_name(task, teacher): {"task": task, "teacher": teacher} for task, teacher in pairs}
    sources = sorted({params.tasks[task].source for task in tasks})
    return {"sources": sources, "tasks": tasks, "teachers": teachers, "features": features}


def make_tiny(values: dict[str, Any], active: dict[str, Any], scored: set[str]) -> None:
    """A few small scenes, a few steps; a task that only teaches needs one scene a kind of land."""
    active |= {"set": {}, "times": 1.0}
    values["defaults"]["train"] |= TINY_TRAINING
    values["defaults"]["predict"] |= {"window": 64, "overlap": 16, "batch": 8}
    for teacher in values["teachers"].values():
        if training := (teacher.get("taught") or {}).get("set", {}).get("train"):
            training |= {key: value for key, value in TINY_TRAINING.items() if key in training}
    for task in active["tasks"]:
        scenes = {"train": 2, "val": 1, "test": 2} if task in scored else {"train": 1, "val": 0, "test": 1}
        values["sources"][values["tasks"][task]["source"]] |= {"scenes": scenes, "size": 128}
        if task in scored:
            values["tasks"][task]["labels"] = 6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", nargs="+", default=["clouds-student"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    shrink(arguments.folder, arguments.rows, arguments.seeds, arguments.tiny)
