"""The table of quality and cost: means by hand, and dashes for what no run tells."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence import Project, finish_study, row
from georelay.evaluate.scores import Scores, write_scores
from georelay.files import write_json
from georelay.report.compare import compare_study
from georelay.report.publish import _first_note
from georelay.report.quality import quality_csv, quality_meanings, quality_path, quality_table, read_definitions, read_quality

COLUMNS = ("boundary_f1", "ece", "parameters", "macs", "seconds_per_step", "peak_mb", "joules")
DEFINITIONS = {"boundary_f1": "outlines within 3 pixels", "ece": "15 bins"}


def run(root: Path, seed: int, boundary: float | None, step: float, joules: float | None, row: str = "new") -> None:
    """Scores, metrics and timing of one run."""
    facts = {"boundary_f1": boundary, "calibration": {"ece": 0.1 * (seed + 1), "bins": []}, "definitions": DEFINITIONS}
    write_scores(Scores(("a", "b"), ("s",), np.full((1, 3, 2), 5)), row, seed, root, facts)
    folder = root / "results/runs" / row / f"seed{seed}"
    write_json(folder / "metrics.json", {"parameters": 411_000, "macs": 12_340_000, "loss": 1.0})
    write_json(folder / "timing.json", {"seconds_per_step": step, "peak_mb": 1500.0, "joules": joules, "device": "cpu"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A row with three seeds of which the last was not evaluated, one of an older release, and one without runs."""
    run(tmp_path, 0, 0.5, 0.04, None)
    run(tmp_path, 1, 0.7, 0.06, 300.0)
    run(tmp_path, 2, 0.9, 0.09, 900.0)
    (tmp_path / "results/scores/new/seed2.json").unlink()
    write_scores(Scores(("a", "b"), ("s",), np.full((1, 3, 2), 5)), "old", 0, tmp_path)
    return tmp_path


def table(root: Path) -> dict[str, dict[str, list[float]]]:
    return {name: read_quality(name, (0, 1, 2), root) for name in ("new", "old", "none")}


def test_every_number_is_read_from_where_a_run_leaves_it(root: Path) -> None:
    found = table(root)
    assert found["new"] == {
        "boundary_f1": [0.5, 0.7],
        "ece": [0.1, 0.2],
        "parameters": [411_000] * 2,
        "macs": [12_340_000] * 2,
        "seconds_per_step": [0.04, 0.06],
        "peak_mb": [1500.0] * 2,
        "joules": [300.0],  # the machine told it of one run alone
    }
    assert found["old"] == found["none"] == {column: [] for column in COLUMNS}


def test_the_table_for_people_by_hand(root: Path) -> None:
    head, body = quality_table(table(root))
    titles = ["boundary F1", "ECE", "parameters (M)", "MACs (M)", "ms per step", "memory (MB)", "energy (J)"]
    assert head == ["row", *titles]
    # Standard deviations of two values are their distance / sqrt 2: 20 / 1.414, 10 / 1.414, 20 / 1.414.
    assert body[0] == ["new", "60.0 ± 14.1", "15.0 ± 7.1", "0.41", "12.3", "50.0 ± 14.1", "1,500", "300"]
    assert body[1:] == [["old", *["–"] * 7], ["none", *["–"] * 7]]


def test_the_table_for_programs(root: Path) -> None:
    new, old, _ = csv.DictReader(quality_csv(table(root)).splitlines())
    assert (new["boundary_f1_n"], new["boundary_f1_mean"], float(new["boundary_f1_sd"])) == (
        "2",
        "0.6",
        pytest.approx(0.2 / 2**0.5),
    )
    assert (new["joules_n"], new["joules_mean"], new["joules_sd"]) == ("1", "300", "")
    assert (new["macs_mean"], new["macs_sd"]) == ("1.234e+07", "0")
    assert old["row"] == "old" and {old[f"{column}_mean"] for column in COLUMNS} == {""}


def test_definitions_are_those_of_the_scores(root: Path) -> None:
    assert read_definitions(("none", "old"), (0, 1), root) == {}
    texts = read_definitions(("none", "old", "new"), (0, 1), root)
    assert texts == DEFINITIONS
    told = quality_meanings(texts)
    assert list(told)[:3] == ["boundary F1", "ECE", "parameters (M)"] and told["ECE"] == "15 bins"
    assert next(iter(quality_meanings({}))) == "parameters (M)"


def test_a_study_s_page_ends_with_it(tmp_path: Path) -> None:
    rows = finish_study(Project(tmp_path), "s", {"base": 0.3, "better": 0.2}, (0, 1))
    compare_study("s", rows, (0, 1), tmp_path, resamples=20, seed=0)
    page = (tmp_path / "results/tables/s.md").read_text().partition("\n## Quality and cost\n")[2]
    assert "| base | – | – | 0.41 | – | 40.0 | 512 | – |" in page and page.endswith(".\n")
    lines = list(csv.DictReader(quality_path("s", tmp_path).read_text().splitlines()))
    assert [line["row"] for line in lines] == ["base", "better"] and lines[0]["peak_mb_mean"] == "512"


def test_numbers_are_measured_anew_where_their_cost_is_another(tmp_path: Path) -> None:
    """The published note names a machine, and the time of a step is that machine's."""
    rows: list[dict[str, Any]] = [row("new", "s")]
    run(tmp_path, 0, 0.5, 0.04, None)
    pages = []
    for step in (0.04, 0.05):
        write_json(tmp_path / "results/runs/new/seed0/timing.json", {"seconds_per_step": step})
        compare_study("s", rows, (0,), tmp_path, resamples=20, seed=0)
        pages.append((tmp_path / "results/tables/s.md").read_text())
    numbers = (tmp_path / "results/tables/s.csv").read_text()
    published = tmp_path / "published.csv"
    published.write_text(numbers)
    published.with_suffix(".md").write_text(f"Measured then\n\n{pages[0]}\n## Figures\n")
    assert _first_note(published, numbers, pages[0]) == "Measured then"
    assert _first_note(published, numbers, pages[1]) is None
