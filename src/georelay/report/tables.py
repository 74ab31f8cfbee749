"""A study as a table: each row's mIoU over seeds and its paired difference to the row it is `like`.

results/tables/<study>.csv holds fractions for programs (an empty cell is a number that does not exist); the .md beside
it holds points (x 100) for people, with children under their parent, IoU per class and its differences, and the definitions.
Both hold the share of the gap that a row closes where the study has bounds.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from georelay.evaluate.confusion import DEFINITIONS, class_f1, class_iou, cohen_kappa, mean_iou, mean_present, overall_accuracy
from georelay.evaluate.scores import Scores, read_scores
from georelay.evaluate.statistics import NO_DIFFERENCE, Difference, Share, Summary, gap_shares, paired_differences, summarise
from georelay.files import write_text
from georelay.report import closed, quality

COLUMNS = ("row", "parent", "why", "n", "mean", "sd", "difference", "low", "high", "p", "note")
GAP = ("difference", "low", "high")  # the same of each class follow in columns of their own: `difference <class>`, ...
CLASS_GAPS = (
    "IoU of each class minus the parent's, in points, paired by seed; bold where its 95 % interval, drawn in the same samples as "
    "that of mIoU, leaves zero out: of as many cells as these, about one in twenty does so by chance."
)
Row = Mapping[str, Any]
Runs = Mapping[int, Scores]
Gaps = Mapping[str, tuple[float, float, float]]  # by class: difference, low, high


@dataclass(frozen=True)
class Line:
    """One row of a study's table; depth counts the ancestors that stand above it in the same table."""

    row: str
    parent: str | None
    why: str
    depth: int
    seeds: tuple[int, ...]
    summary: Summary
    difference: Difference
    classes: Mapping[str, Difference]
    notes: tuple[str, ...]
    shares: Mapping[str, closed.Ends]


def compare_study(
    study: str,
    rows: Sequence[Row],
    seeds: Sequence[int],
    root: Path,
    *,
    resamples: int,
    seed: int,
    bounds: closed.Bounds | None = None,
) -> None:
    """Write results/tables/<study>.csv and .md from the scores of the study's runs."""
    runs = {row["experiment"]: read_runs(row["experiment"], seeds, root) for row in rows}
    lines = list(_lines(rows, runs, seeds, resamples, seed))
    if bounds and not _missing(bounds, runs):
        lines = [_judged(line, bounds, runs, resamples, seed) for line in lines]
    path = table_path(study, root)
    write_text(path, _csv(lines))
    page = _markdown(study, lines, runs, seeds, resamples, bounds)
    write_text(path.with_suffix(".md"), page + _quality(study, list(runs), seeds, root))


def _quality(study: str, names: Sequence[str], seeds: Sequence[int], root: Path) -> str:
    """Write results/tables/<study>-quality.csv; the same as a section of the page."""
    rows = {name: quality.read_quality(name, seeds, root) for name in names}
    write_text(quality.quality_path(study, root), quality.quality_csv(rows))
    meanings = quality.quality_definitions(quality.read_definitions(names, seeds, root))
    return "\n\n".join([f"\n## {quality.TITLE}", quality.INTRODUCTION, _grid(*quality.quality_table(rows)), meanings]) + "\n"


def table_path(study: str, root: Path) -> Path:
    """Where a study's table lies; the readable form has the suffix .md."""
    return root / "results/tables" / f"{study}.csv"


def read_runs(experiment: str, seeds: Sequence[int], root: Path) -> dict[int, Scores]:
    """The scores of a row's evaluated runs by seed; seeds without scores are left out."""
    found = {seed: read_scores(experiment, seed, root) for seed in seeds}
    return {seed: scores for seed, scores in found.items() if scores is not None}


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


def _lines(rows: Sequence[Row], runs: Mapping[str, Runs], seeds: Sequence[int], resamples: int, seed: int) -> Iterator[Line]:
    for depth, row in families(rows):
        own, parent = runs[row["experiment"]], row["parent"]
        summary = summarise([float(mean_iou(scores.pooled)) for scores in own.values()])
        reason = _incomparable(own, parent, runs)
        difference, classes = NO_DIFFERENCE, {}
        if own and parent is not None and not reason:
            difference, *each = paired_differences(_cells(own), _cells(runs[parent]), resamples, seed)
            classes = dict(zip(next(iter(own.values())).scored, each, strict=True))
        notes = tuple(_notes(own, seeds, parent, reason, difference))
        yield Line(row["experiment"], parent, row["why"], depth, tuple(own), summary, difference, classes, notes, {})


def _missing(bounds: closed.Bounds, runs: Mapping[str, Runs]) -> str:
    return closed.missing_bounds(bounds, [name for name, own in runs.items() if own])


def _judged(line: Line, bounds: closed.Bounds, runs: Mapping[str, Runs], resamples: int, seed: int) -> Line:
    """A line with its shares of the gap and what is to be said of them; bounds and rows without runs stay as they are."""
    own = runs[line.row]
    if line.row in bounds or not own:
        return line
    reason = _incomparable(own, bounds[0], runs) or _incomparable(own, bounds[1], runs)
    if not reason and not set(own).intersection(*(runs[name] for name in bounds)):
        reason = f"no seed in common with both {' and '.join(bounds)}"
    shares = () if reason else gap_shares(_cells(own), _cells(runs[bounds[0]]), _cells(runs[bounds[1]]), resamples, seed)
    said = f"no share of the gap: {reason}" if reason else _share_note(shares[0], len(own))
    scored = ("", *next(iter(own.values())).scored)
    ends = {name: closed.ends_of(share) for name, share in zip(scored, shares, strict=False)}
    return replace(line, shares=ends, notes=(*line.notes, *([said] if said else [])))


def _share_note(share: Share, runs: int) -> str:
    if len(share.seeds) == 1:
        return f"share of the gap over seed {share.seeds[0]}: its interval covers test scenes only"
    return f"share of the gap over seeds {', '.join(map(str, share.seeds))}" if len(share.seeds) < runs else ""


def _cells(runs: Runs) -> dict[int, np.ndarray]:
    return {seed: scores.confusions for seed, scores in runs.items()}


def _incomparable(own: Runs, parent: str | None, runs: Mapping[str, Runs]) -> str:
    """Why a row cannot be paired with its parent; empty when it can."""
    if parent is None or not own:
        return ""
    if parent not in runs:
        return f"parent {parent} stands in another study"
    if not set(own) & set(runs[parent]):
        return f"no seed in common with {parent}"
    keys = {(scores.classes, scores.unscored, scores.scenes) for scores in [*own.values(), *runs[parent].values()]}
    return f"tested on other scenes or classes than {parent}" if len(keys) > 1 else ""


def _notes(own: Runs, seeds: Sequence[int], parent: str | None, reason: str, difference: Difference) -> Iterator[str]:
    missing = [str(seed) for seed in seeds if seed not in own]
    if not own:
        yield "no runs"
        return
    if missing:
        yield f"{'seed' if len(missing) == 1 else 'seeds'} {', '.join(missing)} missing"
    if reason:
        yield reason
    elif parent is not None and len(difference.seeds) == 1:
        yield "one pair: the interval covers test scenes only, and there is no p"
    elif parent is not None and len(difference.seeds) < len(own):
        yield f"difference over seeds {', '.join(map(str, difference.seeds))}"


def _csv(lines: Sequence[Line]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = list(dict.fromkeys(name for line in lines for name in line.classes))
    judged = any(line.shares for line in lines)
    scored = closed.classes_of({line.row: line.shares for line in lines})
    own_columns = closed.header(scored) if judged else []
    writer.writerow([*COLUMNS, *(f"{column} {name}" for name in classes for column in GAP), *own_columns])
    for line in lines:
        gap, each = line.difference, [line.classes.get(name, NO_DIFFERENCE) for name in classes]
        numbers = [_fraction(value) for value in (line.summary.mean, line.summary.sd, *_ends(gap))]
        p = "" if math.isnan(gap.p) else f"{gap.p:.4g}"
        last = [p, "; ".join(line.notes), *(_fraction(value) for other in each for value in _ends(other))]
        last += [_fraction(value) for value in closed.cells_of(line.shares, scored)] if judged else []
        writer.writerow([line.row, line.parent or "", line.why, line.summary.n, *numbers, *last])
    return text.getvalue()


def _ends(gap: Difference) -> tuple[float, float, float]:
    return gap.mean, gap.low, gap.high


def _fraction(value: float) -> str:
    return "" if math.isnan(value) else f"{round(value, 6) + 0.0:.6f}"  # + 0.0: no "-0.000000"


def read_table(study: str, root: Path) -> list[dict[str, Any]]:
    """The rows of a study's CSV with numbers as numbers: NaN where a cell is empty."""
    reader = csv.DictReader(io.StringIO(table_path(study, root).read_text()))
    words = {"row", "parent", "why", "note"}
    parse = {name: str if name in words else (lambda cell: float(cell or "nan")) for name in reader.fieldnames or ()}
    return [{**{name: parse[name](row[name]) for name in parse}, "n": int(row["n"])} for row in reader]


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


def indent(name: str, depth: int) -> str:
    """A row's name under its parent's."""
    return f"{'↳' * depth} {name}" if depth else name


def _markdown(
    study: str,
    lines: Sequence[Line],
    runs: Mapping[str, Runs],
    seeds: Sequence[int],
    resamples: int,
    bounds: closed.Bounds | None,
) -> str:
    parts = [
        f"# Study {study}",
        f"mIoU in points (x 100), mean ± standard deviation over seeds {', '.join(map(str, seeds))}; "
        "Δ is the paired difference to the row above that it is indented under, with its 95 % interval.",
        _grid(["row", "n", "mIoU", "Δ", "95 % interval", "p", "why"], [_main_cells(line) for line in lines]),
        _note_list(lines),
        *(_closed(lines, runs, bounds) if bounds else []),
        "## IoU per class",
        "Mean over seeds, in points. – is a class that is in no counted pixel of the test scenes, or a row without runs.",
        *(_grid(head, body) for head, body in class_tables([line.row for line in lines], runs)),
        *_class_gaps(lines),
        "## Definitions",
        definitions(resamples),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _closed(lines: Sequence[Line], runs: Mapping[str, Runs], bounds: closed.Bounds) -> list[str]:
    if missing := _missing(bounds, runs):
        return [missing]
    shares = {line.row: line.shares for line in lines if line.shares}
    table = [_grid(*closed.share_table(shares, "**{}**".format))] if shares else []
    return [f"## {closed.TITLE}", closed.definition(bounds), *table]


def _main_cells(line: Line) -> list[str]:
    gap = line.difference
    name = indent(line.row, line.depth)
    numbers = [spread(line.summary.mean, line.summary.sd), points(gap.mean, True), interval(gap.low, gap.high), p_value(gap.p)]
    return [name, str(line.summary.n), *numbers, line.why]


def _note_list(lines: Sequence[Line]) -> str:
    return "\n".join(f"- {line.row}: {note}" for line in lines for note in line.notes)


def class_tables(names: Sequence[str], runs: Mapping[str, Runs]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Header and cells of the per-class tables: one for every list of scored classes among the rows."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        for scores in list(runs[name].values())[:1]:
            groups.setdefault(scores.scored, []).append(name)
    for classes, members in groups.items():
        yield ["row", *classes, "macro F1", "OA", "kappa"], [[name, *_class_cells(runs[name])] for name in members]


def _class_gaps(lines: Sequence[Line]) -> list[str]:
    gaps = {line.row: {name: _ends(gap) for name, gap in line.classes.items()} for line in lines}
    tables = [_grid(head, body) for head, body in gap_tables(gaps, "**{}**".format)]
    return ["## IoU per class: difference to the parent row", CLASS_GAPS, *tables] if tables else []


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
        "95 % interval": f"bootstrap of the Δ over test scenes and seeds together ({resamples} samples), the seeds' part "
        "stretched to the width of a t interval, since a plain bootstrap of 3 seeds covers far less than 95 %",
        "p": "two-sided paired t-test over seeds, test scenes taken as given, not corrected for the number of rows",
    }
    return "\n".join(f"- **{name}**: {text}." for name, text in texts.items())


def _grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, [":--" if name in ("row", "why") else "--:" for name in head], *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
