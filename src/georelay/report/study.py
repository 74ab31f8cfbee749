"""A study as figures see it: its rows, their scores and its table, each read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from georelay.report.tables import Row, Runs, core_rows, families, read_runs, read_table, table_path


@dataclass(frozen=True)
class Study:
    """What `georelay compare` draws from; `scenes` is how many test scenes maps are shown of."""

    name: str
    rows: Sequence[Row]
    seeds: Sequence[int]
    root: Path
    scenes: int

    @cached_property
    def depths(self) -> Mapping[str, int]:
        """Every row under its parent, with the number of ancestors above it."""
        return {row["experiment"]: depth for depth, row in families(self.rows)}

    @cached_property
    def runs(self) -> Mapping[str, Runs]:
        """The scores of every row that has any, by seed."""
        found = {name: read_runs(name, self.seeds, self.root) for name in self.depths}
        return {name: runs for name, runs in found.items() if runs}

    @cached_property
    def lines(self) -> Mapping[str, Mapping[str, Any]]:
        """The study's table by row; nothing before it was written."""
        written = table_path(self.name, self.root).is_file()
        return {line["row"]: line for line in (read_table(self.name, self.root) if written else [])}

    @cached_property
    def short(self) -> list[str]:
        """The rows of the short comparison that were run, the baseline first; all of them where none is marked."""
        core = core_rows(self.rows)
        return [name for place, name in enumerate(self.depths) if name in self.runs and (name in core or not place)]
