"""results/reference/<study>: the tables and figures that are committed, with a line that says where the numbers are from.

They are the evidence of a study's reference rows under the rows' plain names. Day and machine are those on which the
numbers were published first: publishing the same numbers again, on any day, changes no byte. That a checkout has made
them itself is noted outside of what is committed: a fresh clone has the files, and still everything to do.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from georelay.errors import UserError
from georelay.files import read_json, replacing, sha256_file, write_json, write_text
from georelay.reference import plain_name, reference_name
from georelay.report.gallery import FIGURES, Figure, figure_path
from georelay.report.provenance import machine, read_checkout, run_times, today
from georelay.report.quality import TITLE
from georelay.report.tables import COLUMNS, read_table, table_path

PUBLISHED = {kind: figure for kind, figure in FIGURES.items() if figure.published}
MEASURED = "Measured "
WORDING = ("why", "note")  # may change without a measurement


def published_path(study: str, root: Path) -> Path:
    """Where a study's committed table lies; the readable form has the suffix .md."""
    return root / "results/reference" / f"{study}.csv"


def marker_path(study: str, root: Path) -> Path:
    """The note that this checkout has published a study: digests of what was written."""
    return root / "results/published" / f"{study}.json"


def publish_study(study: str, names: Sequence[str], seeds: Sequence[int], root: Path) -> None:
    """Write results/reference/<study>.csv, .md and figures from the evidence of the named reference rows."""
    table, target = table_path(reference_name(study), root), published_path(study, root)
    figures = {target.with_name(f"{study}-{kind}.png"): figure_path(reference_name(study), kind, root) for kind in PUBLISHED}
    for path in (table, table.with_suffix(".md"), *figures.values()):
        if not path.is_file():
            raise UserError("file is missing", path, f"`georelay compare {reference_name(study)}` writes it")
    lines = read_table(reference_name(study), root)
    _require_whole(lines, names, seeds, table)
    known = {reference_name(study), *names, *(line["parent"] for line in lines if line["parent"])}
    numbers, page = (_plainly(path.read_text(), known) for path in (table, table.with_suffix(".md")))
    note = _first_note(target, numbers, page) or _note(names, seeds, root)
    for copy, drawn in figures.items():
        with replacing(copy) as temporary:
            shutil.copyfile(drawn, temporary)
    write_text(target.with_suffix(".md"), _with_note(page, note, study))
    write_text(target, numbers)  # last: a note is kept only beside the numbers that it speaks of
    made = (target, target.with_suffix(".md"), *figures)
    write_json(marker_path(study, root), {path.name: sha256_file(path) for path in made})


def _require_whole(lines: Iterable[Mapping[str, Any]], names: Sequence[str], seeds: Sequence[int], path: Path) -> None:
    counts = {line["row"]: line["n"] for line in lines}
    for name in names:
        if (count := counts.get(name, 0)) < len(seeds):
            raise UserError(f"has {count} of {len(seeds)} seeds of {name}", path, "`snakemake reference` runs the others")


def _plainly(text: str, names: Iterable[str]) -> str:
    """A text with the known reference rows and studies under their plain names."""
    choice = "|".join(map(re.escape, sorted(names)))
    return re.sub(rf"(?<![\w-])(?:{choice})(?![\w-])", lambda match: plain_name(match[0]), text)


def _first_note(target: Path, numbers: str, page: str) -> str | None:
    """The line that stands beside these very numbers already."""
    if not (target.is_file() and target.with_suffix(".md").is_file()):
        return None
    before = target.with_suffix(".md").read_text()
    if not _same_numbers(target.read_text(), numbers) or _costs(before) != _costs(page):
        return None
    return next((line for line in before.splitlines() if line.startswith(MEASURED)), None)


def _costs(page: str) -> str:
    """What a page says of the machine's time: it belongs to the day and the machine of the note."""
    return page.partition(f"## {TITLE}\n")[2].partition("\n## ")[0].strip()


def _same_numbers(before: str, after: str) -> bool:
    """Whether two tables measured the same; a column that the older one lacks says no more than the others do, as does what
    stands behind COLUMNS: the same of each class and of a gap."""
    old, new = (csv.DictReader(text.splitlines()) for text in (before, after))
    kept = [name for name in COLUMNS if name not in WORDING and name in (old.fieldnames or ())]
    return [[line[name] for name in kept] for line in old] == [[line[name] for name in kept] for line in new]


def _note(names: Sequence[str], seeds: Sequence[int], root: Path) -> str:
    plans = [read_json(root / "results/plans" / f"{name}.json") for name in names]
    steps = sorted({plan["settings"]["train"]["steps"] for plan in plans})
    versions, checkout = plans[0]["versions"], read_checkout(root)
    commit = f"commit {checkout.commit[:12]}{' with uncommitted changes' if checkout.dirty else ''}"
    budget = f"{len(seeds)} seeds a row, {' to '.join(map(str, dict.fromkeys((steps[0], steps[-1]))))} steps"
    software = f"Python {versions['python']}, torch {versions['torch']}"
    return f"{MEASURED}{today()} on {_computer(names, seeds, root)}; {software}; {budget}; {commit}."


def _computer(names: Sequence[str], seeds: Sequence[int], root: Path) -> str:
    facts, (_, _, devices) = machine(), run_times(names, seeds, root)
    return ", ".join([*sorted(devices - {"cpu"}), facts["processor"], f"{facts['cores']} cores"])


def _with_note(page: str, note: str, study: str) -> str:
    title, _, rest = page.partition("\n\n")
    pictures = "\n\n".join(_picture(study, kind, figure) for kind, figure in PUBLISHED.items())
    return f"{title}\n\n{note}\n\n{rest}\n{pictures}\n"


def _picture(study: str, kind: str, figure: Figure) -> str:
    return f"## {figure.title}\n\n![{figure.alt.format(study=study)}]({study}-{kind}.png)\n\n{figure.caption}"
