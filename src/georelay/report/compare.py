"""A study compared: results/tables/<study>.csv for programs and the .md beside it for people."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from georelay.evaluate.statistics import Difference
from georelay.files import write_text
from georelay.report import closed, quality
from georelay.report.lines import Against, Line, study_lines, with_shares
from georelay.report.markdown import grid, study_page
from georelay.report.tables import COLUMNS, GAP, Row, read_runs, table_path


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
    lines = study_lines(rows, runs, seeds, root, resamples, seed)
    if bounds and not closed.missing_bounds(bounds, [name for name, own in runs.items() if own]):
        lines = with_shares(lines, bounds, runs, resamples, seed)
    path = table_path(study, root)
    write_text(path, _csv(lines))
    page = study_page(study, lines, runs, seeds, resamples, bounds)
    write_text(path.with_suffix(".md"), page + _quality(study, list(runs), seeds, root))


def _quality(study: str, names: Sequence[str], seeds: Sequence[int], root: Path) -> str:
    """Write results/tables/<study>-quality.csv; the same as a section of the page."""
    rows = {name: quality.read_quality(name, seeds, root) for name in names}
    write_text(quality.quality_path(study, root), quality.quality_csv(rows))
    meanings = quality.quality_meanings(quality.read_definitions(names, seeds, root))
    told = "\n".join(f"- **{title}**: {text}." for title, text in meanings.items())
    return "\n\n".join([f"\n## {quality.TITLE}", quality.INTRODUCTION, grid(*quality.quality_table(rows)), told]) + "\n"


def _csv(lines: Sequence[Line]) -> str:
    classes = list(dict.fromkeys(name for line in lines for name in line.parent.classes))
    scored = closed.classes_of({line.row: line.shares for line in lines})
    shared = closed.header(scored) if any(line.shares for line in lines) else []
    text = io.StringIO()
    columns = [*COLUMNS, *(f"{column} {name}" for name in classes for column in GAP), *shared]
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for line in lines:
        shares = dict(zip(shared, map(_fraction, closed.cells_of(line.shares, scored)), strict=False))
        writer.writerow({**_cells(line), **_class_cells(line), **shares})
    return text.getvalue()


def _cells(line: Line) -> dict[str, str | int | None]:
    """What a line says in COLUMNS."""
    return {
        **{"row": line.row, "parent": line.parent.row, "why": line.why, "n": line.summary.n},
        **{"mean": _fraction(line.summary.mean), "sd": _fraction(line.summary.sd)},
        **_comparison(line.parent),
        "effect": _digits(line.parent.whole.effect),
        "pairs": len(line.parent.whole.seeds) or "",
        "base": line.base.row,
        **{f"base_{column}": cell for column, cell in _comparison(line.base).items()},
        "note": "; ".join(line.notes),
    }


def _comparison(against: Against) -> dict[str, str]:
    return {**_ends(against.whole), "p": _digits(against.whole.p), "p_holm": _digits(against.p_holm)}


def _class_cells(line: Line) -> dict[str, str]:
    ends = {name: _ends(gap) for name, gap in line.parent.classes.items()}
    return {f"{column} {name}": cell for name, cells in ends.items() for column, cell in cells.items()}


def _ends(gap: Difference) -> dict[str, str]:
    return dict(zip(GAP, map(_fraction, (gap.mean, gap.low, gap.high)), strict=True))


def _fraction(value: float) -> str:
    return "" if math.isnan(value) else f"{round(value, 6) + 0.0:.6f}"  # + 0.0: no "-0.000000"


def _digits(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"
