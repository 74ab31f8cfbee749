"""results/report.html: one file that opens offline, summary first, then a section per study, provenance and limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from georelay.files import write_text
from georelay.report import closed
from georelay.report.gallery import FIGURES, figure_path
from georelay.report.page import figure, interval_picture, items, navigation, page, section, table, verdict
from georelay.report.provenance import installed_versions, machine, read_checkout, read_plans, run_times, tile_digests, today
from georelay.report.tables import (
    CLASS_GAPS,
    Row,
    Runs,
    class_tables,
    gap_tables,
    interval,
    p_value,
    points,
    read_gaps,
    read_runs,
    read_table,
    spread,
    table_path,
)
from georelay.sources.receipt import NAME as RECEIPT
from georelay.sources.receipt import Receipt

TITLE = "georelay: what each part is worth"
Studies = Mapping[str, Sequence[Row]]


def write_report(studies: Studies, seeds: Sequence[int], root: Path, bounds: Mapping[str, closed.Bounds] = {}) -> None:
    """Write results/report.html from tables, figures, scores and plans."""
    tables = {study: read_table(study, root) if table_path(study, root).is_file() else [] for study in studies}
    plans = read_plans([row["experiment"] for rows in studies.values() for row in rows], root)
    sections = [
        _summary(studies, tables, seeds),
        *(_study(study, bounds.get(study), tables[study], seeds, root) for study in studies),
        _provenance(studies, plans, seeds, root),
        _limits(plans, seeds, root),
    ]
    entries = [("summary", "Summary"), *((f"study-{study}", study) for study in studies)]
    links = navigation([*entries, ("provenance", "Provenance"), ("limits", "Limits")])
    head = f'<a class="skip" href="#summary">Skip to the summary</a><header><h1>{TITLE}</h1>{_byline(root)}</header>'
    write_text(root / "results/report.html", page(TITLE, f"{head}{links}<main>{''.join(sections)}</main><footer></footer>"))


def _byline(root: Path) -> str:
    checkout = read_checkout(root)
    state = ", with uncommitted changes" if checkout.dirty else ""
    return f'<p class="soft">Written {today()} from commit <code>{escape(checkout.commit[:12])}</code>{state}.</p>'


def _summary(studies: Studies, tables: Mapping[str, list[dict[str, Any]]], seeds: Sequence[int]) -> str:
    compared = [(study, line) for study in studies for line in _leading(studies[study], tables[study])]
    reach = _reach([line for _, line in compared])
    body = [[escape(study), *_verdict_cells(line, reach)] for study, line in compared]
    head = ["study", "row", "verdict", "Δ mIoU", "95 % interval", "", "seeds"]
    said = (
        f"{len(studies)} studies, seeds {', '.join(map(str, seeds))}. {_tally([line for _, line in compared])} "
        "A row is better or worse when the 95 % interval of its paired difference leaves zero out."
    )
    shown = table("Differences to the parent row, in points of mIoU", head, body, ("row",)) if body else ""
    return section(
        "summary", "Summary", f"<p>{said}</p>", table("The studies", *_overview(tables), ("first row", "highest mean")), shown
    )


def _overview(tables: Mapping[str, list[dict[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """Header and body of one line per study: its first row, and the row with the highest mean."""
    body = []
    for study, lines in tables.items():
        scored = [line for line in lines if not math.isnan(line["mean"])]
        cells = ["–"] * 4
        if scored:
            best = max(scored, key=lambda line: line["mean"])
            cells = [text for line in (scored[0], best) for text in (escape(line["row"]), spread(line["mean"], line["sd"]))]
        body.append([f'<a href="#study-{escape(study)}">{escape(study)}</a>', f"{len(lines)}", *cells])
    return ["study", "rows", "first row", "mIoU", "highest mean", "mIoU of it"], body


def _leading(rows: Sequence[Row], lines: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The comparisons of a study that the summary shows: its core rows, or all where none is marked."""
    core = {row["experiment"] for row in rows if row["core"]} or {row["experiment"] for row in rows}
    yield from (line for line in lines if line["row"] in core and not math.isnan(line["difference"]))


def _tally(lines: Sequence[Mapping[str, Any]]) -> str:
    better = sum(line["low"] > 0 for line in lines)
    worse = sum(line["high"] < 0 for line in lines)
    if not lines:
        return "There is no comparison with a parent yet."
    undecided = len(lines) - better - worse
    return f"Rows against their parent: {better} better, {worse} worse, {undecided} undecided."


def _reach(lines: Sequence[Mapping[str, Any]]) -> float:
    """The largest distance of an interval's end from zero: the scale of all interval pictures of a table."""
    return max((abs(line[end]) for line in lines for end in ("low", "high") if not math.isnan(line[end])), default=0.0)


def _verdict_cells(line: Mapping[str, Any], reach: float) -> list[str]:
    gap, low, high = line["difference"], line["low"], line["high"]
    numbers = [verdict(low, high), points(gap, True), interval(low, high), interval_picture(gap, low, high, reach)]
    asked = f'<span class="why">against {escape(line["parent"])}: {escape(line["why"])}</span>'
    return [f"{escape(line['row'])}{asked}", *numbers, str(line["n"])]


def _study(study: str, bounds: closed.Bounds | None, lines: list[dict[str, Any]], seeds: Sequence[int], root: Path) -> str:
    if not lines:
        return section(
            f"study-{study}", f"Study {study}", f"<p>No table yet: run <code>georelay compare {escape(study)}</code>.</p>"
        )
    names = [line["row"] for line in lines]
    runs = {name: read_runs(name, seeds, root) for name in names}
    tested = {len(scores.scenes) for found in runs.values() for scores in found.values()}
    scenes = " or ".join(map(str, sorted(tested))) or "no"
    count = "1 row" if len(names) == 1 else f"{len(names)} rows"
    about = f"<p>{count}, {scenes} test scenes, up to {len(seeds)} seeds a row; mIoU in points (x 100).</p>"
    per_class = "".join(table("Mean over seeds, in points", head, _escaped(body)) for head, body in class_tables(names, runs))
    changes = "".join(table("Difference to the parent row, in points", *parts) for parts in _class_gaps(lines, runs))
    return section(
        f"study-{study}",
        f"Study {study}",
        about,
        _study_table(study, lines),
        items([f"{escape(line['row'])}: {escape(line['note'])}" for line in lines if line["note"]]),
        _closed(lines, bounds) if bounds else "",
        f"<details><summary>IoU per class, macro F1, overall accuracy, kappa</summary>{per_class}</details>",
        f"<details><summary>IoU per class: difference to the parent row</summary><p>{CLASS_GAPS}</p>{changes}</details>"
        if changes
        else "",
        *_figures(study, root),
    )


def _closed(lines: Sequence[Mapping[str, Any]], bounds: closed.Bounds) -> str:
    """The shares of the gap as the table of the study has them, or why there are none."""
    if missing := closed.missing_bounds(bounds, [line["row"] for line in lines if line["n"]]):
        return f"<p>{escape(missing)}</p>"
    head, body = closed.share_table(closed.read_shares(lines), "<strong>{}</strong>".format)
    shown = table("In percent of the gap", head, [[escape(row), *cells] for row, *cells in body]) if body else ""
    return f"<h3>{closed.TITLE}</h3><p>{escape(closed.definition(bounds))}</p>{shown}"


def _class_gaps(lines: Sequence[Mapping[str, Any]], runs: Mapping[str, Runs]) -> Iterator[tuple[list[str], list[list[str]]]]:
    scored = {name: found[min(found)].scored for name, found in runs.items() if found}
    gaps = {line["row"]: read_gaps(line, scored.get(line["row"], ())) for line in lines}
    for head, body in gap_tables(gaps, "<strong>{}</strong>".format):
        yield head, [[escape(row), *cells] for row, *cells in body]


def _escaped(body: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[escape(cell) for cell in cells] for cells in body]


def _study_table(study: str, lines: Sequence[Mapping[str, Any]]) -> str:
    reach, depth = _reach(lines), _depths(lines)
    head = ["row", "n", "mIoU ± sd", "Δ", "95 % interval", "", "p", "why"]
    body = [_study_cells(line, depth[line["row"]], reach) for line in lines]
    return table(f"Rows of study {study}; Δ is the paired difference to the row it is indented under", head, body, ("why",))


def _depths(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    depth: dict[str, int] = {}
    for line in lines:  # parents stand above their children
        depth[line["row"]] = depth.get(line["parent"], -1) + 1
    return depth


def _study_cells(line: Mapping[str, Any], depth: int, reach: float) -> list[str]:
    gap, low, high = line["difference"], line["low"], line["high"]
    name = f'<span style="padding-left:{1.1 * depth:.1f}em">{"↳ " if depth else ""}{escape(line["row"])}</span>'
    numbers = [str(line["n"]), spread(line["mean"], line["sd"]), points(gap, True), interval(low, high)]
    return [name, *numbers, interval_picture(gap, low, high, reach), p_value(line["p"]), escape(line["why"])]


def _figures(study: str, root: Path) -> Iterator[str]:
    for kind, shown in FIGURES.items():
        yield f"<h3>{shown.title}</h3>"
        yield figure(figure_path(study, kind, root), shown.alt.format(study=study), shown.caption, wide=True)


def _provenance(studies: Studies, plans: Mapping[str, Any], seeds: Sequence[int], root: Path) -> str:
    names = [row["experiment"] for rows in studies.values() for row in rows]
    count, seconds, devices = run_times(names, seeds, root)
    checkout = read_checkout(root)
    facts = {
        "commit": checkout.commit,
        "commit date": checkout.date,
        "uncommitted changes": "yes" if checkout.dirty else "no",
        **machine(),
    }
    places = escape(", ".join(sorted(devices))) or "unknown devices"
    ran = f"<p>{count} runs told their time: {seconds / 60:.1f} minutes of training on {places}.</p>"
    return section(
        "provenance",
        "Provenance",
        "<p>The machine and versions are those that wrote this page; the versions that made a run stand in its plan.</p>",
        _facts("Source and machine", facts),
        ran,
        _facts("Versions", installed_versions()),
        _facts("Tiles (sha256)", tile_digests(plans)),
        f"<details><summary>Plans (sha256)</summary>{_facts('Plans', {name: sha for name, (sha, _) in plans.items()})}</details>",
    )


def _facts(caption: str, facts: Mapping[str, str]) -> str:
    body = [[escape(name), f"<code>{escape(value)}</code>"] for name, value in facts.items()]
    return table(caption, ["what", "value"], body, ("value",))


def _limits(plans: Mapping[str, Any], seeds: Sequence[int], root: Path) -> str:
    lines = [
        f"{len(seeds)} seeds are few: an interval that touches zero is no proof that two rows are equal.",
        "p-values are not corrected for the number of comparisons.",
        "The row with the highest mean is picked after looking at the test scenes, so its score flatters it.",
        "An interval speaks of other seeds and other scenes like these, not of other sensors, places or training budgets.",
    ]
    folders = {plan["source"]["folder"] for _, plan in plans.values()}
    kinds = {Receipt.read(root / folder).kind for folder in folders if (root / folder / RECEIPT).is_file()}
    if "synthetic" in kinds:
        lines.append(
            "Scenes of synthetic sources are drawn by a generator: they compare methods, and say little of any real place."
        )
    return section("limits", "Limits", items([escape(line) for line in lines]))
