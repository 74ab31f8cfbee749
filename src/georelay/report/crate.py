"""A study as an RO-Crate: one zip of its plans, numbers and figures, and JSON-LD that says what made what from which data.

Rasters, tiles, weights and maps stay out for their size: receipts, cards and runs are in and hold their digests. The bytes
depend on the files and the commit alone.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from georelay.files import replacing
from georelay.report.crate_graph import CONTEXT, METADATA, README, graph_of
from georelay.report.packed import Study


def write_crate(study: Study, target: Path) -> None:
    """Write the crate of a study as a zip; the same files and commit give the same bytes."""
    text = json.dumps({"@context": CONTEXT, "@graph": list(graph_of(study))}, indent=1, ensure_ascii=False) + "\n"
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_member(METADATA), text)
        archive.writestr(_member(README), (study.root / study.page).read_bytes())
        for path in study.files():
            archive.writestr(_member(path.as_posix()), (study.root / path).read_bytes())


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)  # of 1980-01-01, whenever it is written
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member
