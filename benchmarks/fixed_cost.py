"""What a run costs before its first step: imports and building a student, in CPU seconds, beside bare torch."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys

RUNS = 5
BARE = "import torch"
READY = """
import georelay.train.run
from georelay.models.student import build_student
from georelay.params import load_params
build_student(load_params().defaults.model.model_dump(), 4, 7)
"""


def cpu_seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    cpu_seconds(READY)  # once for byte code and disk cache
    pairs = [(cpu_seconds(BARE), cpu_seconds(READY)) for _ in range(RUNS)]
    bare, ready = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(json.dumps({"n": RUNS, "torch_cpu_s": bare, "ready_cpu_s": ready, "ratio": ready / bare}))


if __name__ == "__main__":
    main()
