"""Learning curves as points: what MLflow draws of a run's history, and the mean of several runs'."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Sequence

CURVE_POINTS = 50  # of each curve; every step stands in the artefact history.csv
Point = tuple[str, float, int]  # metric, value, step


def read_curves(text: str) -> list[Point]:
    """Every column of a history against its step: at most CURVE_POINTS steps, the last one, and all validations."""
    rows = list(csv.DictReader(io.StringIO(text)))
    stride = -(-len(rows) // CURVE_POINTS) or 1
    points = []
    for behind, row in enumerate(reversed(rows)):
        names = [name for name in row if name != "step" and row[name] and (behind % stride == 0 or name == "val_miou")]
        points += [(name, float(row[name]), int(float(row["step"]))) for name in names]
    return [point for point in reversed(points) if math.isfinite(point[1])]


def mean_curves(runs: Sequence[Sequence[Point]]) -> list[Point]:
    """The mean over runs of every point that all of them have."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for points in runs:
        for name, value, step in points:
            found[name, step].append(value)
    return [(name, sum(values) / len(values), step) for (name, step), values in found.items() if len(values) == len(runs)]
