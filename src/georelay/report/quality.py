"""What a study's table does not tell of its rows: how true their outlines and their certainty are, and what they cost.

results/tables/<study>-quality.csv holds mean and standard deviation over the evaluated seeds, in the units of the files that
they come from; an empty cell is a number that no run tells, because the machine does not, or the run is of an older release.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from georelay.evaluate.scores import scores_path
from georelay.evaluate.statistics import Summary, summarise
from georelay.files import read_json

TITLE = "Quality and cost"


INTRODUCTION = (
    "Mean ± standard deviation over the evaluated seeds, the mean alone where all are equal or there is one; boundary F1 and ECE "
    "in points (x 100); – is a number that no run tells."
)


@dataclass(frozen=True)
class Measure:
    """A number of a run: its column in the CSV, and for people its title, its form and what it means."""

    column: str
    title: str
    scale: float
    form: str
    meaning: str = ""  # that of a score stands in the scores file


TIME = "wall time of the whole training, validation included, by its steps, the machine being as busy as it was"
MEMORY = (
    "most memory in use during the training: on the GPU where it ran, else by its process, with what that still holds of a seed "
    "it trained before"
)
MEASURES = (
    Measure("boundary_f1", "boundary F1", 100, ".1f"),
    Measure("ece", "ECE", 100, ".1f"),
    Measure("parameters", "parameters (M)", 1e-6, ",.2f", "numbers that the exported student has learnt, in millions"),
    Measure("macs", "MACs (M)", 1e-6, ",.1f", "multiply-accumulates of convolutions and matrix products a tile, in millions"),
    Measure("seconds_per_step", "ms per step", 1e3, ".1f", TIME),
    Measure("peak_mb", "memory (MB)", 1, ",.0f", MEMORY),
    Measure("joules", "energy (J)", 1, ",.0f", "what the counters of processors, memory and GPU saw during the whole training"),
)
Values = Mapping[str, list[float]]  # by column: a number of each run that tells one


def quality_path(study: str, root: Path) -> Path:
    """Where the numbers lie."""
    return root / "results/tables" / f"{study}-quality.csv"


def read_quality(experiment: str, seeds: Sequence[int], root: Path) -> dict[str, list[float]]:
    """The numbers of a row's evaluated runs."""
    runs = [_facts(experiment, seed, root) for seed in seeds if scores_path(experiment, seed, root).is_file()]
    columns = [measure.column for measure in MEASURES]
    return {column: [float(run[column]) for run in runs if run.get(column) is not None] for column in columns}


def _facts(experiment: str, seed: int, root: Path) -> dict[str, Any]:
    scores, folder = read_json(scores_path(experiment, seed, root)), root / "results/runs" / experiment / f"seed{seed}"
    paths = [folder / name for name in ("metrics.json", "timing.json")]
    facts = {key: value for path in paths if path.is_file() for key, value in read_json(path).items()}
    return facts | {"boundary_f1": scores.get("boundary_f1"), "ece": scores.get("calibration", {}).get("ece")}


def read_definitions(experiments: Sequence[str], seeds: Sequence[int], root: Path) -> dict[str, str]:
    """What scores say they are, in the first file that does."""
    paths = (scores_path(name, seed, root) for name in experiments for seed in seeds)
    found = (read_json(path).get("definitions") for path in paths if path.is_file())
    return next((dict(texts) for texts in found if texts), {})


def quality_table(rows: Mapping[str, Values]) -> tuple[list[str], list[list[str]]]:
    """Header and cells for people: mean ± standard deviation."""
    body = [[name, *(_cell(measure, summarise(values[measure.column])) for measure in MEASURES)] for name, values in rows.items()]
    return ["row", *(measure.title for measure in MEASURES)], body


def _cell(measure: Measure, summary: Summary) -> str:
    if not summary.n:
        return "–"
    ends = [summary.mean, summary.sd] if summary.sd > 0 else [summary.mean]  # every run has as many parameters
    return " ± ".join(format(measure.scale * value, measure.form) for value in ends)


def quality_csv(rows: Mapping[str, Values]) -> str:
    """The same for programs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("n", "mean", "sd")
    writer.writerow(["row", *(f"{measure.column}_{end}" for measure in MEASURES for end in ends)])
    for name, values in rows.items():
        summaries = [summarise(values[measure.column]) for measure in MEASURES]
        writer.writerow([name, *(cell for one in summaries for cell in (one.n, _number(one.mean), _number(one.sd)))])
    return text.getvalue()


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.7g}"


def quality_meanings(scores: Mapping[str, str]) -> dict[str, str]:
    """What each number means, by its title."""
    texts = {measure.title: measure.meaning or scores.get(measure.column, "") for measure in MEASURES}
    return {title: text for title, text in texts.items() if text}
