"""`inspect`: what a folder of the user's own holds, in words, and settings for it; nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from georelay.sources.findings import Findings, find
from georelay.sources.layout import RASTERS, VECTORS, Sheaf
from georelay.sources.sampled import Facts
from georelay.sources.snippet import snippet

SHOWN = 8  # of a list in the report


def inspect_folder(folder: Path, sample: int) -> str:
    """The report on a folder, with settings at its end."""
    found = find(folder, sample)
    parts = (_files(found), _kinds(found), _parts(found), _pixels(found), _classes(found), _problems(found))
    text = "\n".join(line for part in parts for line in part)
    return (
        f"{text}\n\nFor params.yaml, each entry under the section of its name; comments say what is guessed.\n\n{snippet(found)}"
    )


def _files(found: Findings) -> Iterator[str]:
    endings = Counter(Path(name).suffix.lower() or "no ending" for name in found.walk.names)
    listed = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(SHOWN))
    more = f", {len(endings) - SHOWN} other endings" if len(endings) > SHOWN else ""
    yield f"{found.folder}: {len(found.walk.names)} files ({listed}{more})"
    if found.walk.hidden:
        yield f"  not looked at: {found.walk.hidden} hidden files"
    if found.walk.cut:
        yield "  not looked at: whatever comes after these, there are too many"
    if others := [ending for ending in endings if ending not in RASTERS | VECTORS]:
        yield f"  neither images nor labels: {', '.join(sorted(others)[:SHOWN])}"


def _kinds(found: Findings) -> Iterator[str]:
    yield f"\nscenes: {len(found.scenes)}"
    for name, sheaf in found.images.items():
        yield _sheaf(f"images ({name})", sheaf)
    if found.labels:
        yield f"  labels: {found.label_pattern}" + (" for all scenes" if found.whole else f" ({len(found.labels.files)} files)")
    for sheaf in found.unused[:SHOWN]:
        yield _sheaf("not used", sheaf)
    if len(found.unused) > SHOWN:
        yield f"  not used: {len(found.unused) - SHOWN} more patterns"


def _sheaf(word: str, sheaf: Sheaf) -> str:
    if len(sheaf.files) == 1:
        return f"  {word}: {next(iter(sheaf.files.values()))}"
    return f"  {word}: {sheaf.pattern} ({len(sheaf.files)} files)"


def _parts(found: Findings) -> Iterator[str]:
    counts = found.table.counts if found.table else Counter(said for said, _, _ in found.scenes)
    told = {split: value for split, value in found.splits.items() if value}
    listed = ", ".join(f"{split} {counts[value]}" + (f' ("{value}")' if value != split else "") for split, value in told.items())
    where = f"column {found.table.split} of {found.table.name}" if found.table else "folders"
    yield f"  splits: {listed}, by {where}" if listed else "  splits: none are told"
    domains = Counter(domain for _, domain, _ in found.scenes if domain)
    if domains:
        yield f"  domains: {', '.join(f'{name} {count}' for name, count in domains.most_common())}"
    elif found.table and found.table.domains:
        yield f"  domains: {', '.join(found.table.domains.values())}, by column {found.table.domain}"


def _pixels(found: Findings) -> Iterator[str]:
    for name, facts in found.facts.items():
        least, most = facts.sides
        sizes = f"{facts.first.width} x {facts.first.height}" if least == most else f"sides of {least} to {most}"
        yield f"\n{name}, {len(facts.grids)} files read: {facts.first.count} bands of {facts.first.dtype}, {sizes} pixels"
        systems = ", ".join(crs or "none" for crs in facts.systems[:SHOWN])
        yield f"  CRS {systems}; {_size(facts)}; nodata {facts.first.nodata}"
        if facts.low is not None and facts.high is not None:
            ranges = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in zip(facts.low, facts.high, strict=True))
            yield f"  values by band: {ranges}"


def _size(facts: Facts) -> str:
    """Metres a pixel, in words."""
    sizes = sorted({round(grid.gsd, 9) for grid in facts.grids.values() if grid.crs})
    if not sizes or facts.gsd is None:
        return "pixels of unknown size"
    return f"pixels of {facts.gsd:.4g} m" + (" and other sizes" if len(sizes) > 1 and not np.isclose(sizes[0], sizes[-1]) else "")


def _classes(found: Findings) -> Iterator[str]:
    facts = found.label_facts
    if found.polygons:
        what = f"column {found.attribute}: {', '.join(found.words[:SHOWN])}" if found.attribute else "no column tells classes"
        yield f"\nlabels are polygons; {what}"
    if not facts or not facts.grids:
        return
    kind = "colours" if facts.first.count >= 3 else "values"
    yield f"\nlabels, {len(facts.grids)} files read: {facts.first.count} bands of {facts.first.dtype}, {len(facts.values)} {kind}"
    total = facts.values.total()
    for value, count in facts.values.most_common(SHOWN):
        yield f"  {value}: {count / total:.2%} of the pixels"


def _problems(found: Findings) -> Iterator[str]:
    yield "\nproblems: none seen" if not found.problems else "\nproblems:"
    for problem in found.problems:
        yield f"  - {problem}"
