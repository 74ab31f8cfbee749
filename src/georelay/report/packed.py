"""What of a study's files goes into its crate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from georelay.errors import UserError
from georelay.files import read_json
from georelay.report.gallery import FIGURES, figure_path
from georelay.report.quality import quality_path

WORKFLOW, SETTINGS = Path("Snakefile"), Path("params.yaml")
ALWAYS = (WORKFLOW, SETTINGS, Path("dvc.yaml"), Path("CITATION.cff"), Path("LICENSE"))


@dataclass(frozen=True)
class Study:
    """What is packed: a study, its rows with their reasons, and seeds."""

    name: str
    rows: Mapping[str, str]
    seeds: Sequence[int]
    root: Path

    def plan(self, row: str) -> dict[str, Any]:
        """The plan of a row."""
        return dict(read_json(self.root / "results/plans" / f"{row}.json"))

    def run_files(self, row: str, seed: int) -> list[Path]:
        """What is packed of one run, if it is there."""
        place = f"{row}/seed{seed}"
        runs = [Path("results/runs") / place / name for name in ("metrics.json", "history.csv", "timing.json", "plan.json")]
        found = [*runs, *(Path(f"results/scores/{place}{ending}") for ending in (".json", ".csv"))]
        return self._there([*found, Path("results/maps") / place / "maps.json"])

    @property
    def page(self) -> Path:
        """The table as people read it."""
        return Path("results/tables") / f"{self.name}.md"

    def files(self) -> list[Path]:
        """All that is packed, by its place in the checkout."""
        runs = [path for row, seed in self.runs() for path in self.run_files(row, seed)]
        return sorted({*self.code(), *self.inputs(), *self.evidence(), *runs})

    def runs(self) -> list[tuple[str, int]]:
        """Rows and seeds of which there is anything."""
        return [(row, seed) for row in self.rows for seed in self.seeds if self.run_files(row, seed)]

    def evidence(self) -> list[Path]:
        """The table and the figures."""
        if not (self.root / self.page).is_file():
            raise UserError("file is missing", self.page, f"`georelay compare {self.name}` writes it")
        figures = [figure_path(self.name, kind, Path(".")) for kind in FIGURES]
        quality = quality_path(self.name, Path("."))
        metrics = [Path(f"results/metrics/{self.name}/{row}.json") for row in self.rows]
        return self._there([self.page.with_suffix(".csv"), self.page, quality, *metrics, *figures])

    def inputs(self) -> list[Path]:
        """Receipts, cards and plans: what the runs were made from, by digest."""
        found = dict[Path, None]()
        for plan in map(self.plan, self.rows):
            cards = [Path("results/teachers") / f"{teacher}.json" for teacher in plan["teachers"]]
            stores = [Path(store["path"]) for store in (plan["tiles"], *plan["features"].values())]
            cards += [path.with_suffix("").with_suffix(".json") for path in stores]
            own = Path("results/plans") / f"{plan['experiment']}.json"
            found |= dict.fromkeys([Path(plan["source"]["folder"]) / "receipt.json", *cards, own])
        return self._there(found)

    def code(self) -> list[Path]:
        """The workflow itself and what it is run with."""
        rules = sorted((self.root / "workflow/rules").glob("*.smk"))
        return self._there([*ALWAYS, *(path.relative_to(self.root) for path in rules)])

    def _there(self, paths: Iterable[Path]) -> list[Path]:
        return [path for path in paths if (self.root / path).is_file()]
