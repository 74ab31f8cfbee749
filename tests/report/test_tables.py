"""Order of rows, tables as they are read again, and numbers as they are written for people."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import pytest

from evidence import compare_rows, row
from georelay.report.tables import COLUMNS, effect_size, families, interval, p_value, points, read_table, spread

REFERENCE = sorted((Path(__file__).parents[2] / "results/reference").glob("*.csv"))


def test_children_stand_under_their_parent() -> None:
    rows = [
        row("grandchild", "s", "child-b"),
        row("base", "s"),
        row("child-a", "s", "base"),
        row("other", "s"),
        row("child-b", "s", "base"),
    ]
    order = [(depth, entry["experiment"]) for depth, entry in families(rows)]
    assert order == [(0, "base"), (1, "child-a"), (1, "child-b"), (2, "grandchild"), (0, "other")]


def test_numbers_for_people() -> None:
    assert points(0.5126) == "51.3" and points(-0.01, sign=True) == "−1.0" and points(math.nan) == "–"
    assert spread(0.5, 0.012) == "50.0 ± 1.2" and spread(0.5, math.nan) == "50.0"
    assert interval(-0.01, 0.03) == "[−1.0, +3.0]" and interval(math.nan, math.nan) == ""
    assert [p_value(p) for p in (0.0004, 0.0123, 0.5, math.nan)] == ["< 0.001", "0.012", "0.50", "–"]
    assert [effect_size(effect) for effect in (1.128, -0.73, math.nan)] == ["+1.1", "−0.7", "–"]


def test_a_table_of_an_earlier_release_lacks_numbers_and_no_column(root: Path) -> None:
    path = root / "results/tables/s.csv"
    compare_rows(root, [row("base", "s"), row("better", "s", "base")])
    new = read_table("s", root)
    later = {"p_holm", "effect", "pairs", *(column for column in COLUMNS if column.startswith("base"))}
    whole = list(csv.DictReader(path.read_text().splitlines()))
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, [name for name in whole[0] if name not in later], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(whole)
    old = read_table("s", root)
    assert [list(line)[: len(COLUMNS)] for line in old] == [list(COLUMNS)] * 2 and old[1]["base"] == ""
    assert all(math.isnan(old[1][name]) for name in later - {"base"})
    assert {name: old[1][name] for name in new[1] if name not in later} == pytest.approx(
        {name: new[1][name] for name in new[1] if name not in later}, nan_ok=True
    )


@pytest.mark.parametrize("path", REFERENCE, ids=lambda path: path.stem)
def test_committed_tables_can_be_read(path: Path, tmp_path: Path) -> None:
    (tmp_path / "results/tables").mkdir(parents=True)
    shutil.copy(path, tmp_path / "results/tables")
    lines = read_table(path.stem, tmp_path)
    assert lines and all(line["n"] >= 5 and 0 < line["mean"] < 1 and set(COLUMNS) <= set(line) for line in lines)
