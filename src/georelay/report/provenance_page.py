"""The page's last sections: where its numbers come from, and what they do not tell."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from georelay.report.findings import UNDECIDED, compared, corrected, judge
from georelay.report.links import ABOUT
from georelay.report.page import facts, folded, items, section, table
from georelay.report.provenance import installed_versions, machine, read_checkout, run_times, tile_digests, today
from georelay.report.study_page import Chapter
from georelay.sources.receipt import NAME as RECEIPT
from georelay.sources.receipt import Receipt

Plans = Mapping[str, tuple[str, Mapping[str, Any]]]


def byline(root: Path) -> str:
    """When the page was written, and from which commit."""
    checkout = read_checkout(root)
    state = ", with uncommitted changes" if checkout.dirty else ""
    return f'<p class="soft">Written {today()} from commit <code>{escape(checkout.commit[:12])}</code>{state}.</p>'


def provenance_section(chapters: Sequence[Chapter], plans: Plans, seeds: Sequence[int], root: Path) -> str:
    """Commit, machine, time, versions and digests."""
    checkout = read_checkout(root)
    state = {"commit": checkout.commit, "commit date": checkout.date, "uncommitted changes": "yes" if checkout.dirty else "no"}
    linked = any(chapter.links for chapter in chapters)
    return section(
        "provenance",
        "Provenance",
        "<p>Source, machine and versions here are those that wrote this page. What made a run stands in its plan: settings, "
        "digests of data and code, versions.</p>",
        facts("Source and machine of this page", {**state, **machine()}),
        _times(plans, seeds, root),
        f"<p>{ABOUT}</p>" if linked else "",
        _versions(plans),
        _sources(plans, root),
        facts("Tiles (sha256)", tile_digests(plans)),
        folded("Plans (sha256)", _plans(plans)),
    )


def _times(plans: Plans, seeds: Sequence[int], root: Path) -> str:
    count, seconds, devices = run_times(list(plans), seeds, root)
    places = escape(", ".join(sorted(devices))) or "unknown devices"
    return f"<p>{count} runs told their time: {seconds / 60:.1f} minutes of training on {places}{_when(plans, seeds, root)}.</p>"


def _when(plans: Plans, seeds: Sequence[int], root: Path) -> str:
    """The days of the runs by their files; a run that was restored bears the day of that."""
    paths = [root / "results/runs" / name / f"seed{seed}" / "timing.json" for name in plans for seed in seeds]
    days = sorted(time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime)) for path in paths if path.is_file())
    span = days[0] if days and days[0] == days[-1] else f"{days[0]} to {days[-1]}" if days else ""
    return f", finished or restored from the cache {span} by their files" if days else ""


def _versions(plans: Plans) -> str:
    """Each library here, beside what the plans say their runs were made with."""
    here = installed_versions()
    of_runs: dict[str, list[str]] = {}
    for _, plan in plans.values():
        for name, version in plan.get("versions", {}).items():
            of_runs.setdefault(name, []).append(str(version))
    names = dict.fromkeys([*of_runs, *here])
    body = [[escape(name), _codes(of_runs.get(name, ())), _codes([here[name]] if name in here else ())] for name in names]
    return table("Versions", ["library", "in the plans of the runs", "that wrote this page"], body)


def _codes(values: Sequence[str]) -> str:
    return " ".join(f"<code>{escape(value)}</code>" for value in dict.fromkeys(values)) or "–"


def _sources(plans: Plans, root: Path) -> str:
    """What the rasters are: kind, licence and the digest of the receipt that lists each file."""
    body = []
    for source in {plan["source"]["name"]: plan["source"] for _, plan in plans.values()}.values():
        receipt = _receipt(root / source["folder"])
        kind, licence = (receipt.kind, receipt.licence) if receipt else ("–", "–")
        body.append([escape(source["name"]), escape(kind), escape(licence), f"<code>{escape(source['receipt'])}</code>"])
    return table("Sources", ["source", "kind", "licence", "receipt (sha256)"], body, ("kind", "licence")) if body else ""


def _receipt(folder: Path) -> Receipt | None:
    return Receipt.read(folder) if (folder / RECEIPT).is_file() else None


def generated(plans: Plans, root: Path) -> list[bool]:
    """Of each source that the plans name, whether a generator drew its scenes; of a source that is not here, False."""
    receipts = [_receipt(root / folder) for folder in {plan["source"]["folder"] for _, plan in plans.values()}]
    return [receipt is not None and receipt.kind == "synthetic" for receipt in receipts]


def _plans(plans: Plans) -> str:
    body = [
        [escape(name), f"<code>{digest}</code>", *(f"<code>{escape(plan['code'][stage][:12])}</code>" for stage in CODE)]
        for name, (digest, plan) in plans.items()
    ]
    return table("Plans, and the first digits of their code's digests", ["row", "plan", *CODE], body) if body else ""


CODE = ("train", "predict")


def limits_section(chapters: Sequence[Chapter], plans: Plans, seeds: Sequence[int], root: Path) -> str:
    """What the numbers do not tell, as far as files say it."""
    return section("limits", "Limits", items([escape(line) for line in _limits(chapters, plans, seeds, root)]))


def _limits(chapters: Sequence[Chapter], plans: Plans, seeds: Sequence[int], root: Path) -> Iterator[str]:
    lines = [line for chapter in chapters for line in compared(chapter.leading)]
    open_ones = sum(judge(line) == UNDECIDED for line in lines)
    yield (
        f"{len(seeds)} seeds are few: {open_ones} of {len(lines)} comparisons are undecided. An interval that touches zero is "
        "no proof that two rows are equal."
    )
    if any(corrected(line) for line in lines):
        yield "p-values are corrected for the comparisons within a study, not for all studies together."
    else:
        yield "p-values are not corrected for the number of comparisons."
    yield "The row with the highest mean is picked after looking at the test scenes, so its score flatters it."
    yield "An interval speaks of other seeds and other scenes like these, not of other sensors, places or training budgets."
    students = [line["row"] for chapter in chapters for line in chapter.rivals if line["row"] in plans]
    steps = sorted({int(plans[name][1]["settings"]["train"]["steps"]) for name in students})
    if steps:
        span = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
        yield f"Students were trained for {span} steps; what is better then need not be better after ten times as many."
    if noted := [line["row"] for chapter in chapters for line in chapter.lines if line["note"]]:
        yield f"Something is amiss or to be said, under the tables, of: {', '.join(noted)}."
    if untold := [chapter.study for chapter in chapters if not chapter.lines]:
        yield f"Without a table yet: {', '.join(untold)}."
    if any(generated(plans, root)):
        yield "Scenes of synthetic sources are drawn by a generator: they compare methods, and say little of any real place."
