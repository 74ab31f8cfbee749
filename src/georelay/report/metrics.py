"""A study's table as DVC wants numbers: results/metrics/<study>/<row>.json, one flat file a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from georelay.files import remove, write_json
from georelay.report.tables import read_table

# Columns of the table by the names they have here; one that a table lacks, or an empty cell, is left out.
NUMBERS = {"mean": "miou", "sd": "miou_sd", "n": "n"} | {
    name: name for name in ("difference", "low", "high", "p", "p_holm", "effect")
}


def write_metrics(study: str, root: Path) -> None:
    """Write the numbers of each row of a study's table; files of rows that left the table go."""
    folder = root / "results/metrics" / study
    remove(folder)
    for line in read_table(study, root):
        write_json(folder / f"{line['row']}.json", _numbers(line))


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: line[column] for column, name in NUMBERS.items() if column in line and not math.isnan(line[column])}
