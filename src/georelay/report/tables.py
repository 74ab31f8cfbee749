"""The rows of a study, its table as a file, and how numbers are written for people.

results/tables/<study>.csv holds fractions for programs (an empty cell is a number that does not exist): a line a row, with
its paired differences to the row it is `like` and to the study's baseline, then the first of these for each class. The share
of the gap that a row closes follows where the study has bounds.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from georelay.evaluate.confusion import DEFINITIONS, class_f1, class_iou, cohen_kappa, mean_present, overall_accuracy
from georelay.evaluate.scores import Scores, read_scores
from georelay.evaluate.statistics import NOISE

COLUMNS = (
    *("row", "parent", "why", "n", "mean", "sd"),
    *("difference", "low", "high", "p", "p_holm", "effect", "pairs"),
    *("base", "base_difference", "base_low", "base_high", "base_p", "base_p_holm"),
    "note",
)
WORDS = {"row", "parent", "why", "base", "note"}
GAP = ("difference", "low", "high")  # the same of each class follow in columns of their own: `difference <class>`, ...
CLASS_GAPS = (
    "IoU of each class minus the parent's, in points, paired by seed; bold where its 95 % interval, drawn in the same samples as "
    "that of mIoU, leaves zero out: of as many cells as these, about one in twenty does so by chance."
)
Row = Mapping[str, Any]
Runs = Mapping[int, Scores]
Gaps = Mapping[str, tuple[float, float, float]]  # by class: difference, low, high


def table_path(study: str, root: Path) -> Path:
    """Where a study's table lies; the readable form has the suffix .md."""
    return root / "results/tables" / f"{study}.csv"


def read_runs(experiment: str, seeds: Sequence[int], root: Path) -> dict[int, Scores]:
    """The scores of a row's evaluated runs by seed; seeds without scores, or without a counted pixel, are left out."""
    found = {seed: read_scores(experiment, seed, root) for seed in seeds}
    return {seed: scores for seed, scores in found.items() if scores is not None and scores.pooled.any()}


def core_rows(rows: Sequence[Row]) -> set[str]:
    """The rows of the short comparison; all of them where none is marked."""
    return {row["experiment"] for row in rows if row["core"]} or {row["experiment"] for row in rows}


def families(rows: Sequence[Row]) -> Iterator[tuple[int, Row]]:
    """Rows with their depth: every parent before its children, otherwise in the order given."""
    names = {row["experiment"] for row in rows}

    def descend(parent: str | None, depth: int) -> Iterator[tuple[int, Row]]:
        for row in rows:
            above = row["parent"] if row["parent"] in names else None
            if above == parent:
                yield depth, row
                yield from descend(row["experiment"], depth + 1)

    yield from descend(None, 0)


def read_table(study: str, root: Path) -> list[dict[str, Any]]:
    """The rows of a study's CSV with numbers as numbers: NaN where a cell is empty, or its column of a later release."""
    reader = csv.DictReader(io.StringIO(table_path(study, root).read_text()))
    names = dict.fromkeys([*COLUMNS, *(reader.fieldnames or ())])
    return [{name: _parsed(name, line.get(name, "")) for name in names} for line in reader]


def _parsed(column: str, cell: str) -> str | int | float:
    if column in WORDS:
        return cell
    return int(cell) if column == "n" else float(cell or "nan")


def points(value: float, sign: bool = False) -> str:
    """A fraction as points: 0.5123 is 51.2; a dash where there is no number."""
    return "–" if math.isnan(value) else f"{100 * value:{'+' if sign else ''}.1f}".replace("-", "−")


def spread(mean: float, sd: float) -> str:
    """Mean and standard deviation in points; the mean alone where one value has no spread."""
    return points(mean) if math.isnan(sd) else f"{points(mean)} ± {points(sd)}"


def interval(low: float, high: float) -> str:
    """An interval in points, empty where there is none."""
    return "" if math.isnan(low) else f"[{points(low, True)}, {points(high, True)}]"


def p_value(p: float) -> str:
    """A p-value with the digits that mean something."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def effect_size(effect: float) -> str:
    """A difference in standard deviations."""
    return "–" if math.isnan(effect) else f"{effect:+.1f}".replace("-", "−")


def indent(name: str, depth: int) -> str:
    """A row's name under its parent's."""
    return f"{'↳' * depth} {name}" if depth else name


def class_tables(names: Sequence[str], runs: Mapping[str, Runs]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Header and cells of the per-class tables: one for every list of scored classes among the rows."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        for scores in list(runs[name].values())[:1]:
            groups.setdefault(scores.scored, []).append(name)
    for classes, members in groups.items():
        yield ["row", *classes, "macro F1", "OA", "kappa"], [[name, *_class_cells(runs[name])] for name in members]


def read_gaps(line: Mapping[str, Any], classes: Sequence[str]) -> Gaps:
    """What a line of the CSV says of classes; nothing where it has no difference."""
    there = [name for name in classes if not math.isnan(line["difference"]) and f"difference {name}" in line]
    return {name: (line[f"difference {name}"], line[f"low {name}"], line[f"high {name}"]) for name in there}


def gap_tables(gaps: Mapping[str, Gaps], strong: Callable[[str], str]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Header and cells of the differences per class, made `strong` where the interval leaves zero out."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row, classes in gaps.items():
        if classes:
            groups.setdefault(tuple(classes), []).append(row)
    for names, rows in groups.items():
        yield ["row", *names], [[row, *(_gap_cell(*gaps[row][name], strong) for name in names)] for row in rows]


def _gap_cell(mean: float, low: float, high: float, strong: Callable[[str], str]) -> str:
    text = points(mean, True)
    return strong(text) if low > 0 or high < 0 else text


def _class_cells(runs: Runs) -> list[str]:
    pooled = np.stack([scores.pooled for scores in runs.values()])
    whole = mean_present(class_f1(pooled)), overall_accuracy(pooled), cohen_kappa(pooled)
    columns = np.column_stack([class_iou(pooled), *whole])
    return [points(float(value)) for value in mean_present(columns.T)]


def definitions(resamples: int) -> str:
    """What each number means, as a list."""
    texts = DEFINITIONS | {
        "n": "number of seeds with a finished, evaluated run",
        "Δ": "this row minus its parent, paired by seed, mean over the seeds that both have",
        "95 % interval": f"bootstrap of the Δ over test scenes and seeds together ({resamples} samples), what each draw moves "
        "stretched to the width of a t interval, since a plain bootstrap of 3 seeds covers far less than 95 %",
        "p (Holm)": "the larger p of two t-tests of the Δ paired by seed, both two-sided: over seeds, and with the error of the "
        "test scenes added; corrected after Holm for the number of comparisons to a parent in the study, those to the baseline "
        "among themselves: where no row has any effect, about one study in twenty finds one below 0.05; `p` in the CSV is not "
        "corrected",
        "effect": "the Δ in standard deviations of the paired differences over seeds (d_z), with Hedges' correction for few of "
        "them, from three pairs on; it is coarse: at 5 seeds its own standard error is 0.5 or more",
        "against the baseline": "this row minus the first row of the study that has no parent in it; paired, drawn and tested as "
        "the Δ is",
        "rank agreement": "Kendall's tau-b between the orders by mIoU that two seeds give to the rows, as a mean over all pairs "
        f"of seeds: 1 is the same order at every seed, 0 what chance gives, below {NOISE} a warning; rows far above or below all "
        "others raise it",
    }
    return "\n".join(f"- **{name}**: {text}." for name, text in texts.items())
