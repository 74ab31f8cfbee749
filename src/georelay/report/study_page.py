"""The section of one study: what it says in words, its tables, figures and maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from georelay.report import closed
from georelay.report.cautions import cautions
from georelay.report.findings import Line, best, corrected, has_base, judge, study_sentences
from georelay.report.gallery import FIGURES, figure_path
from georelay.report.links import link_table
from georelay.report.maps_page import viewers
from georelay.report.page import figure, folded, interval_picture, items, section, table, titled, words
from georelay.report.quality import INTRODUCTION, TITLE, quality_meanings, quality_table, read_definitions, read_quality
from georelay.report.tables import (
    CLASS_GAPS,
    Row,
    Runs,
    class_tables,
    core_rows,
    effect_size,
    gap_tables,
    interval,
    p_value,
    points,
    read_gaps,
    read_runs,
    spread,
)
from georelay.sources.receipt import NAME as RECEIPT

PARENT_COLUMNS = ["row", "n", "mIoU ± sd", "Δ", "95 % interval", "verdict", "p"]
SURETY_COLUMNS = ["p (Holm)", "effect"]
BASE_COLUMNS = ["Δ to baseline", "its 95 % interval", "its p (Holm)"]
PANEL = "panel"
PICKED = "highest mean, picked after looking"


@dataclass(frozen=True)
class Chapter:
    """What the section of a study is made of; `plans` and `links` hold other studies' rows too."""

    study: str
    rows: Sequence[Row]
    lines: Sequence[Line]
    seeds: Sequence[int]
    root: Path
    bounds: closed.Bounds | None
    plans: Mapping[str, tuple[str, Mapping[str, Any]]]
    links: Mapping[str, str]
    scenes: int

    @cached_property
    def runs(self) -> dict[str, Runs]:
        """The scores of each row in the table, by seed."""
        return {line["row"]: read_runs(line["row"], self.seeds, self.root) for line in self.lines}

    @cached_property
    def rivals(self) -> list[Line]:
        """The lines that are held against each other: all but the upper bound, which sees what the others do not."""
        upper = self.bounds[1] if self.bounds else None
        return [line for line in self.lines if line["row"] != upper]

    @cached_property
    def leading(self) -> list[Line]:
        """The lines that a summary shows: the core rows, or all where none is marked."""
        core = core_rows(self.rows)
        return [line for line in self.rivals if line["row"] in core]


def study_section(chapter: Chapter) -> str:
    """Everything that is known of a study."""
    name, title = f"study-{chapter.study}", f"Study {chapter.study}"
    if not chapter.lines:
        return section(name, title, f"<p>No table yet: run <code>georelay compare {escape(chapter.study)}</code>.</p>")
    notes = [f"<code>{escape(line['row'])}</code>: {escape(line['note'])}" for line in chapter.lines if line["note"]]
    return section(
        name,
        title,
        f"<p>{_about(chapter)}</p>",
        items([words(sentence) for sentence in [*study_sentences(chapter.rivals), *_bound_sentence(chapter)]]),
        titled("Rows", _rows_table(chapter), items([*map(escape, _cautions(chapter)), *notes])),
        _closed(chapter),
        _quality(chapter),
        _classes(chapter),
        *_figures(chapter),
        _maps(chapter),
        link_table(chapter.rows, chapter.seeds, chapter.links),
    )


def _bound_sentence(chapter: Chapter) -> Iterator[str]:
    for line in chapter.lines:
        if line not in chapter.rivals and line["n"]:
            score = spread(line["mean"], line["sd"])
            yield f"`{line['row']}` bounds the study from above, with {score} points: it sees what the other rows do not."


def _about(chapter: Chapter) -> str:
    """What is segmented, from what, and how it is tested, as plans and scores have it."""
    tested = {len(scores.scenes) for found in chapter.runs.values() for scores in found.values()}
    plans = [chapter.plans[line["row"]][1] for line in chapter.lines if line["row"] in chapter.plans]
    told = [
        ("Task", [plan["task"] for plan in plans]),
        ("classes", [", ".join(plan["classes"]) for plan in plans]),
        ("seen by students", [" + ".join(plan["inputs"]) for plan in plans]),
        ("methods", [plan["method"] for plan in plans]),
        ("test scenes", [str(count) for count in sorted(tested)]),
        ("seeds", [", ".join(map(str, chapter.seeds))]),
    ]
    kept = [f"{name}: {escape(' or '.join(dict.fromkeys(values)))}" for name, values in told if values]
    return f"{'; '.join(kept)}. mIoU in points (x 100)."


def _rows_table(chapter: Chapter) -> str:
    """All rows under their parents; columns that say nothing of any row are left out."""
    lines, depth, top = chapter.lines, _depths(chapter.lines), best(chapter.rivals)
    groups = [(PARENT_COLUMNS[1:], [_numbers(line, reach_of(lines)) for line in lines])]
    if any(corrected(line) for line in lines):
        groups.append((SURETY_COLUMNS, [_surety(line) for line in lines]))
    if any(has_base(line) for line in lines):
        groups.append((BASE_COLUMNS, [_base_numbers(line) for line in lines]))
    names = [[_name(line, depth[line["row"]], line is top)] for line in lines]
    head = ["row", *(name for columns, _ in groups for name in columns)]
    body = [[cell for cells in parts for cell in cells] for parts in zip(names, *(cells for _, cells in groups), strict=True)]
    caption = f"Rows of study {chapter.study}; Δ is the paired difference to the row it is indented under, in points"
    return table(caption, head, body, ("verdict",))


def _depths(lines: Sequence[Line]) -> dict[str, int]:
    depth: dict[str, int] = {}
    for line in lines:  # parents stand above their children
        depth[line["row"]] = depth.get(line["parent"], -1) + 1
    return depth


def _name(line: Line, depth: int, top: bool) -> str:
    arrow = '<span class="arrow" aria-hidden="true">↳ </span>' if depth else ""
    picked = f' <span class="best">({PICKED})</span>' if top else ""
    return f'<span class="indent" style="--depth:{depth}">{arrow}{escape(line["row"])}{picked}{asked(line)}</span>'


def asked(line: Line, note: str = "") -> str:
    """Why a row was run, and what else is to be said of it."""
    return f'<span class="why">{escape("; ".join(text for text in (line["why"], note) if text))}</span>'


def reach_of(lines: Sequence[Line]) -> float:
    """The largest distance of an interval's end from zero: the scale of all interval pictures of a table."""
    return max((abs(line[end]) for line in lines for end in ("low", "high") if not math.isnan(line[end])), default=0.0)


def interval_cells(line: Line, reach: float) -> list[str]:
    """A difference, its interval with a picture of it, and what it is called."""
    gap, low, high = line["difference"], line["low"], line["high"]
    if math.isnan(gap):
        return ["–", "–", "–"]
    verdict = judge(line)
    drawn = f"{interval(low, high)}{interval_picture(gap, low, high, reach, verdict)}"
    return [points(gap, True), drawn, f'<span class="verdict {verdict}">{verdict}</span>']


def _numbers(line: Line, reach: float) -> list[str]:
    return [str(line["n"]), spread(line["mean"], line["sd"]), *interval_cells(line, reach), p_value(line["p"])]


def _surety(line: Line) -> list[str]:
    return [p_value(line["p_holm"]), effect_size(line["effect"])]


def _base_numbers(line: Line) -> list[str]:
    if not has_base(line):
        return ["–"] * len(BASE_COLUMNS)
    gap, low, high = line["base_difference"], line["base_low"], line["base_high"]
    return [points(gap, True), interval(low, high), p_value(line["base_p_holm"])]


def _cautions(chapter: Chapter) -> list[str]:
    """What to know before believing the table."""
    ends = {"a parent": [(line["low"], line["high"]) for line in chapter.lines]}
    based = [line for line in chapter.lines if has_base(line)]
    if any(line["base"] != line["parent"] for line in based):
        ends[based[0]["base"]] = [(line["base_low"], line["base_high"]) for line in based]
    return cautions(chapter.runs, ends) if any(chapter.runs.values()) else []


def _closed(chapter: Chapter) -> str:
    """The shares of the gap as the table of the study has them, or why there are none."""
    if chapter.bounds is None:
        return ""
    if missing := closed.missing_bounds(chapter.bounds, [line["row"] for line in chapter.lines if line["n"]]):
        return f"<p>{escape(missing)}</p>"
    head, body = closed.share_table(closed.read_shares(chapter.lines), "<strong>{}</strong>".format)
    shown = table("In percent of the gap", head, _first_escaped(body)) if body else ""
    return titled(closed.TITLE, f"<p>{escape(closed.definition(chapter.bounds))}</p>", shown)


def _quality(chapter: Chapter) -> str:
    """Boundaries, calibration and cost, as the table of the study has them."""
    names = list(chapter.runs)
    rows = {name: read_quality(name, chapter.seeds, chapter.root) for name in names}
    if not any(numbers for values in rows.values() for numbers in values.values()):
        return ""
    head, body = quality_table(rows)
    meanings = quality_meanings(read_definitions(names, chapter.seeds, chapter.root))
    told = folded("What these numbers mean", items([f"{escape(name)}: {escape(text)}." for name, text in meanings.items()]))
    return titled(TITLE, table(INTRODUCTION, head, _first_escaped(body)), told)


def _classes(chapter: Chapter) -> str:
    each = class_tables([line["row"] for line in chapter.lines], chapter.runs)
    means = [table("Mean over seeds, in points", head, _escaped(body)) for head, body in each]
    gaps = [table("Difference to the parent row, in points", *parts) for parts in _class_gaps(chapter)]
    return titled(
        "Classes",
        folded("IoU per class, macro F1, overall accuracy, kappa", *means),
        folded("IoU per class: difference to the parent row", f"<p>{CLASS_GAPS}</p>" if gaps else "", *gaps),
    )


def _class_gaps(chapter: Chapter) -> Iterator[tuple[list[str], list[list[str]]]]:
    scored = {name: found[min(found)].scored for name, found in chapter.runs.items() if found}
    gaps = {line["row"]: read_gaps(line, scored.get(line["row"], ())) for line in chapter.lines}
    for head, body in gap_tables(gaps, "<strong>{}</strong>".format):
        yield head, _first_escaped(body)


def _escaped(body: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[escape(cell) for cell in cells] for cells in body]


def _first_escaped(body: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[escape(row), *cells] for row, *cells in body]


def _figures(chapter: Chapter) -> Iterator[str]:
    """All that are drawn of a study; the panel of maps is left to the viewers."""
    for kind, drawn in FIGURES.items():
        if kind != PANEL:
            yield titled(drawn.title, _figure(chapter, kind))


def _maps(chapter: Chapter) -> str:
    """The viewers, of rows whose plan and rasters are still here."""
    rows = [row for row in chapter.rows if row["experiment"] in chapter.plans and _has_rasters(chapter, row["experiment"])]
    shown = viewers(chapter.study, rows, chapter.seeds, chapter.root, chapter.scenes)
    return titled("Maps", shown, folded("All maps side by side", _figure(chapter, PANEL)))


def _has_rasters(chapter: Chapter, row: str) -> bool:
    source = chapter.plans[row][1]["source"]
    return Path(chapter.root, source["folder"], RECEIPT).is_file()


def _figure(chapter: Chapter, kind: str) -> str:
    drawn = FIGURES[kind]
    path = figure_path(chapter.study, kind, chapter.root)
    return figure(path, drawn.alt.format(study=chapter.study), drawn.caption)
