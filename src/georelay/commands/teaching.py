"""Teachers and their features."""

from __future__ import annotations

import argparse
from pathlib import Path

from georelay.commands.places import ROOT, Commands, existing
from georelay.files import read_json, require_digest, write_json
from georelay.params import load_params
from georelay.plan import card_path, make_plan, teacher_path
from georelay.reading import PARAMS, lookup
from georelay.rows import resolve_teacher, teacher_row
from georelay.stage import run_stage
from georelay.stages import features_stage, teach_stage


def teach(arguments: argparse.Namespace) -> None:
    """Make a teacher ready: teach it here, or fetch and check the weights of others."""
    params, name = load_params(), arguments.teacher
    lookup(params.teachers, name, f"{PARAMS}: teachers", "teacher")
    settings, row = resolve_teacher(params, name).model_dump(), teacher_row(params, name)
    facts = make_plan(params, row, ROOT) if row else None
    stage = teach_stage(params, name, facts)
    weights, card = stage.outputs

    def compute() -> None:
        if facts:
            require_digest(Path(facts["tiles"]["path"]), facts["tiles"]["sha256"], f"georelay tile {facts['task']}")
        from georelay.train.teach import teach as make_ready

        write_json(card, make_ready(name, settings, facts, ROOT, weights, str(stage.fingerprint)))

    run_stage(stage.doing(compute))


def features(arguments: argparse.Namespace) -> None:
    """Compute a teacher's features of every tile of a task."""
    params, task, name = load_params(), arguments.task, arguments.teacher
    lookup(params.tasks, task, f"{PARAMS}: tasks", "task")
    lookup(params.teachers, name, f"{PARAMS}: teachers", "teacher")
    tiles = read_json(existing(card_path(task), f"georelay tile {task}"))
    teacher = read_json(existing(teacher_path(name), f"georelay teach {name}"))
    stage = features_stage(task, name, tiles, teacher)
    store, card = stage.outputs

    def compute() -> None:
        from georelay.teachers.features import compute_features

        write_json(card, compute_features(teacher, tiles, ROOT, store, str(stage.fingerprint)))

    run_stage(stage.doing(compute))


COMMANDS: Commands = {teach: ("teacher",), features: ("task", "teacher")}
