"""results/report.html: one file that opens offline, findings first, then a section per study, provenance and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from georelay.files import write_text
from georelay.report import closed
from georelay.report.findings import HELPS, HURTS, UNDECIDED, Line, best, compared, has_base, judge, rule, sentence, tally
from georelay.report.glossary import TERMS
from georelay.report.links import read_links
from georelay.report.page import definitions, folded, items, navigation, page, section, table, titled, words
from georelay.report.provenance import read_plans
from georelay.report.provenance_page import byline, generated, limits_section, provenance_section
from georelay.report.study_page import PICKED, Chapter, asked, interval_cells, reach_of, study_section
from georelay.report.tables import Row, interval, points, read_table, spread, table_path

TITLE = "georelay: what each part is worth"
VERDICTS = {
    HELPS: ("What helps", "Nothing, by this rule."),
    HURTS: ("What hurts", "Nothing, by this rule."),
    UNDECIDED: ("Undecided", "Nothing."),
}
UNITS = (
    "Differences are in points of mIoU (100 times the fraction), means over n seeds, with their 95 % interval in brackets, all "
    'from the tables of this run. What they do not tell stands under <a href="#limits">limits</a>.'
)
Studies = Mapping[str, Sequence[Row]]


def report_path(root: Path, study: str | None = None) -> Path:
    """Where the page lies: that of all active studies, or of one."""
    return root / "results" / (f"report-{study}.html" if study else "report.html")


def write_report(
    studies: Studies, seeds: Sequence[int], root: Path, target: Path, bounds: Mapping[str, closed.Bounds] = {}, *, scenes: int
) -> None:
    """Write the page from tables, figures, maps, scores and plans; `scenes` is how many are shown of each study."""
    plans = read_plans([row["experiment"] for rows in studies.values() for row in rows], root)
    links = read_links(root)
    tables = {study: read_table(study, root) if table_path(study, root).is_file() else [] for study in studies}
    chapters = [
        Chapter(study, rows, tables[study], seeds, root, bounds.get(study), plans, links, scenes)
        for study, rows in studies.items()
    ]
    sections = [
        _summary(chapters, seeds, generated(plans, root)),
        *(study_section(chapter) for chapter in chapters),
        section("glossary", "Glossary", definitions(TERMS)),
        provenance_section(chapters, plans, seeds, root),
        limits_section(chapters, plans, seeds, root),
    ]
    head = f'<a class="skip" href="#summary">Skip to the summary</a><header><h1>{TITLE}</h1>{byline(root)}</header>'
    body = f"{head}{_navigation(studies)}<main>{''.join(sections)}</main>"
    write_text(target, page(TITLE, body))


def _navigation(studies: Studies) -> str:
    entries = [("summary", "Summary"), *((f"study-{study}", study) for study in studies)]
    return navigation([*entries, ("glossary", "Glossary"), ("provenance", "Provenance"), ("limits", "Limits")])


def _summary(chapters: Sequence[Chapter], seeds: Sequence[int], drawn: Sequence[bool]) -> str:
    told = [(chapter.study, line) for chapter in chapters for line in compared(chapter.leading)]
    lines = [line for _, line in told]
    count = "1 study" if len(chapters) == 1 else f"{len(chapters)} studies"
    asks = f'<p>{tally(lines)} {rule(lines)} Words are explained in the <a href="#glossary">glossary</a>.</p>'
    return section(
        "summary",
        "Summary",
        f"<p>{count}, seeds {', '.join(map(str, seeds))}{_ground(drawn)}. {UNITS}</p>",
        asks,
        *(_findings(kind, told) for kind in VERDICTS if told),
        titled("Study by study", table("Baseline and highest mean of each study", *_overview(chapters))),
        folded("All comparisons in one table", _comparisons(told)) if told else "",
    )


def _ground(drawn: Sequence[bool]) -> str:
    """What must be known of the scenes before any number of them."""
    return f", {'' if all(drawn) else 'in part '}on scenes that a generator drew" if any(drawn) else ""


def _findings(verdict: str, told: Sequence[tuple[str, Line]]) -> str:
    """The sentences of one verdict, each with the question that its row asks."""
    title, nothing = VERDICTS[verdict]
    found = [f"{words(sentence(study, line))}{asked(line, line['note'])}" for study, line in told if judge(line) == verdict]
    return titled(title, items(found, "findings") or f"<p>{nothing}</p>")


def _overview(chapters: Sequence[Chapter]) -> tuple[list[str], list[list[str]], tuple[str, ...]]:
    """Header, body and columns of text of one line per study: its first row, and the row with the highest mean."""
    head = ["study", "rows", "first row", "mIoU ± sd", PICKED, "its mIoU ± sd", "its Δ to the baseline"]
    body = [
        [f'<a href="#study-{escape(chapter.study)}">{escape(chapter.study)}</a>', f"{len(chapter.lines)}", *_ends(chapter.rivals)]
        for chapter in chapters
    ]
    return head, body, ("first row", PICKED)


def _ends(lines: Sequence[Line]) -> list[str]:
    top = best(lines)
    if top is None:
        return ["–"] * 5
    cells = [text for line in (lines[0], top) for text in (escape(line["row"]), spread(line["mean"], line["sd"]))]
    based = f"{points(top['base_difference'], True)} {interval(top['base_low'], top['base_high'])}" if has_base(top) else "–"
    return [*cells, based]


def _comparisons(told: Sequence[tuple[str, Line]]) -> str:
    reach = reach_of([line for _, line in told])
    head = ["row", "study", "Δ", "95 % interval", "verdict", "n"]
    body = [
        [f"{escape(line['row'])}{asked(line)}", escape(study), *interval_cells(line, reach), str(line["n"])]
        for study, line in told
    ]
    return table("Differences to the parent row, in points of mIoU", head, body, ("study", "verdict"))
