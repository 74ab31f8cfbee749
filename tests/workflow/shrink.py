"""Makes a checkout's params.yaml small: one study, few seeds, and with --tiny worlds that train in a second."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from georelay.params import load_params
from georelay.reading import load_yaml
from georelay.rows import rows

TINY_TRAINING = {"steps": 6, "batch": 4, "warmup_steps": 2, "evaluate_every": 3, "checkpoint_every": 2}


def shrink(folder: Path, study: str, seeds: list[int], tiny: bool) -> dict[str, Any]:
    """Rewrite params.yaml of a checkout; returns its new values."""
    path = folder / "params.yaml"
    params, values = load_params(path), load_yaml(path)
    chosen = rows(params, study)
    tasks = sorted({row.task for row in chosen})
    sources = sorted({params.tasks[task].source for task in tasks})
    names = [row.name for row in chosen]
    values["active"] = {"sources": sources, "tasks": tasks, "studies": [study], "experiments": names, "seeds": seeds}
    if tiny:
        values["defaults"]["train"] |= TINY_TRAINING
        values["defaults"]["predict"] = {"window": 64, "overlap": 16, "batch": 8}
        for source in sources:
            values["sources"][source] |= {"scenes": {"train": 2, "val": 1, "test": 2}, "size": 128}
        for task in tasks:
            values["tasks"][task]["labels"] = 6
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return dict(values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--study", default="clouds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    shrink(arguments.folder, arguments.study, arguments.seeds, arguments.tiny)
