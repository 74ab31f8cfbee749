"""A study's table as a page for people: points (x 100), children under their parent, IoU per class, and the definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from georelay.report import closed
from georelay.report.cautions import cautions
from georelay.report.lines import Line
from georelay.report.tables import (
    CLASS_GAPS,
    Runs,
    class_tables,
    definitions,
    effect_size,
    gap_tables,
    indent,
    interval,
    p_value,
    points,
    spread,
)

BASELINE = "The study's baseline is its first row without a parent in it; differences to it are paired, drawn and tested as Δ is."


def study_page(
    study: str,
    lines: Sequence[Line],
    runs: Mapping[str, Runs],
    seeds: Sequence[int],
    resamples: int,
    bounds: closed.Bounds | None,
) -> str:
    """The page as Markdown."""
    parts = [
        f"# Study {study}",
        f"mIoU in points (x 100), mean ± standard deviation over seeds {', '.join(map(str, seeds))}; Δ is the paired difference "
        "to the row above that it is indented under, with its 95 % interval, its p-value and its effect size.",
        _grid(["row", "n", "mIoU", "Δ", "95 % interval", "p (Holm)", "effect", "why"], [_main_cells(line) for line in lines]),
        " ".join(cautions(runs, _intervals(lines))),
        _note_list(lines),
        *_against_baseline(lines),
        *(_closed(lines, runs, bounds) if bounds else []),
        "## IoU per class",
        "Mean over seeds, in points. – is a class that is in no counted pixel of the test scenes, or a row without runs.",
        *(_grid(head, body) for head, body in class_tables([line.row for line in lines], runs)),
        *_class_gaps(lines),
        "## Definitions",
        definitions(resamples),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _main_cells(line: Line) -> list[str]:
    gap = line.parent.whole
    numbers = [spread(line.summary.mean, line.summary.sd), points(gap.mean, True), interval(gap.low, gap.high)]
    judged = [p_value(line.parent.p_holm), effect_size(gap.effect)]
    return [indent(line.row, line.depth), str(line.summary.n), *numbers, *judged, line.why]


def _intervals(lines: Sequence[Line]) -> dict[str, list[tuple[float, float]]]:
    """By what the differences are to: a parent, and the baseline where that is said apart."""
    ends = {"a parent": [(line.parent.whole.low, line.parent.whole.high) for line in lines]}
    for line in _beside_parents(lines):
        ends.setdefault(str(line.base.row), []).append((line.base.whole.low, line.base.whole.high))
    return ends


def _note_list(lines: Sequence[Line]) -> str:
    return "\n".join(f"- {line.row}: {note}" for line in lines for note in line.notes)


def _against_baseline(lines: Sequence[Line]) -> list[str]:
    compared = _beside_parents(lines)
    if not compared:
        return []
    gaps = [(line, line.base.whole) for line in compared]
    cells = [[line.row, points(gap.mean, True), interval(gap.low, gap.high), p_value(line.base.p_holm)] for line, gap in gaps]
    return [f"## Against {compared[0].base.row}", BASELINE, _grid(["row", "Δ", "95 % interval", "p (Holm)"], cells)]


def _beside_parents(lines: Sequence[Line]) -> list[Line]:
    """The rows with a difference to the baseline; none where it is the parent of all of them, and all is said already."""
    compared = [line for line in lines if line.base.whole.seeds]
    return compared if any(line.base.row != line.parent.row for line in compared) else []


def _closed(lines: Sequence[Line], runs: Mapping[str, Runs], bounds: closed.Bounds) -> list[str]:
    if missing := closed.missing_bounds(bounds, [name for name, own in runs.items() if own]):
        return [missing]
    shares = {line.row: line.shares for line in lines if line.shares}
    table = [_grid(*closed.share_table(shares, "**{}**".format))] if shares else []
    return [f"## {closed.TITLE}", closed.definition(bounds), *table]


def _class_gaps(lines: Sequence[Line]) -> list[str]:
    gaps = {line.row: {name: (gap.mean, gap.low, gap.high) for name, gap in line.parent.classes.items()} for line in lines}
    tables = [_grid(head, body) for head, body in gap_tables(gaps, "**{}**".format)]
    return ["## IoU per class: difference to the parent row", CLASS_GAPS, *tables] if tables else []


def _grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, [":--" if name in ("row", "why") else "--:" for name in head], *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
