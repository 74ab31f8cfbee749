"""Tables of a study: their numbers, their order, and what they say when runs are missing or cannot be paired."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evidence import row
from georelay.evaluate.scores import Scores, write_scores
from georelay.report.tables import compare_study, families, interval, p_value, points, read_gaps, read_table, spread

SCENES = ("test-000", "test-001")
RIGHT = {"base": {0: 60, 1: 64, 2: 62}, "better": {0: 70, 1: 75, 2: 71}}


def score(root: Path, experiment: str, seed: int, right: int, scenes: tuple[str, ...] = SCENES) -> None:
    """Two scenes of 200 pixels in two classes, of each of which `right` of 100 are right."""
    confusion = np.array([[right, 100 - right], [100 - right, right]])
    write_scores(
        Scores(("a", "b", "never"), scenes, np.pad(np.stack([confusion] * len(scenes)), ((0, 0), (0, 1), (0, 1)))),
        experiment,
        seed,
        root,
    )


def miou(right: int) -> float:
    return right / (200 - right)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for experiment, seeds in RIGHT.items():
        for seed, right in seeds.items():
            score(tmp_path, experiment, seed, right)
    return tmp_path


def compare(root: Path, rows: list[dict[str, Any]], seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, dict[str, Any]]:
    compare_study("s", rows, seeds, root, resamples=200, seed=0)
    return {line["row"]: line for line in read_table("s", root)}


def test_numbers_by_hand(root: Path) -> None:
    line = compare(root, [row("base", "s"), row("better", "s", "base")])["better"]
    child, parent = ([miou(right) for right in RIGHT[name].values()] for name in ("better", "base"))
    assert line["n"] == 3
    assert line["mean"] == pytest.approx(np.mean(child), abs=1e-6)
    assert line["sd"] == pytest.approx(np.std(child, ddof=1), abs=1e-6)
    assert line["difference"] == pytest.approx(np.mean(child) - np.mean(parent), abs=1e-6)
    assert line["low"] < line["difference"] < line["high"]
    assert line["p"] == pytest.approx(stats.ttest_rel(child, parent).pvalue, rel=1e-3)


def test_columns_and_empty_cells_of_the_csv(root: Path) -> None:
    compare(root, [row("base", "s"), row("better", "s", "base")])
    lines = list(csv.reader((root / "results/tables/s.csv").read_text().splitlines()))
    assert lines[0][:11] == ["row", "parent", "why", "n", "mean", "sd", "difference", "low", "high", "p", "note"]
    assert lines[0][11:] == [f"{what} {name}" for name in ("a", "b", "never") for what in ("difference", "low", "high")]
    assert lines[1][:2] == ["base", ""] and lines[1][6:] == [""] * 14
    assert lines[2][11:14] == lines[2][6:9] and lines[2][17:] == [""] * 3  # classes a and b are alike here; one is absent


def test_children_stand_under_their_parent(root: Path) -> None:
    rows = [
        row("grandchild", "s", "child-b"),
        row("base", "s"),
        row("child-a", "s", "base"),
        row("other", "s"),
        row("child-b", "s", "base"),
    ]
    order = [(depth, entry["experiment"]) for depth, entry in families(rows)]
    assert order == [(0, "base"), (1, "child-a"), (1, "child-b"), (2, "grandchild"), (0, "other")]


def test_a_missing_seed_is_said_and_the_rest_is_paired(root: Path) -> None:
    (root / "results/scores/better/seed1.json").unlink()
    line = compare(root, [row("base", "s"), row("better", "s", "base")])["better"]
    assert (line["n"], line["note"]) == (2, "seed 1 missing")
    expected = np.mean([miou(RIGHT["better"][s]) - miou(RIGHT["base"][s]) for s in (0, 2)])
    assert line["difference"] == pytest.approx(expected, abs=1e-6)


def test_a_parent_with_fewer_seeds_limits_the_pairs(root: Path) -> None:
    (root / "results/scores/base/seed0.json").unlink()
    assert compare(root, [row("base", "s"), row("better", "s", "base")])["better"]["note"] == "difference over seeds 1, 2"


def test_one_seed_has_an_interval_but_no_spread_and_no_p(root: Path) -> None:
    line = compare(root, [row("base", "s"), row("better", "s", "base")], seeds=(0,))["better"]
    assert line["n"] == 1 and math.isnan(line["sd"]) and math.isnan(line["p"]) and not math.isnan(line["low"])
    assert line["note"] == "one pair: the interval covers test scenes only, and there is no p"


def test_a_row_without_runs_is_listed(root: Path) -> None:
    lines = compare(root, [row("base", "s"), row("ghost", "s", "base"), row("orphan", "s", "ghost")])
    assert (lines["ghost"]["n"], lines["ghost"]["note"]) == (0, "no runs") and math.isnan(lines["ghost"]["mean"])
    text = (root / "results/tables/s.md").read_text()
    assert "| ↳ ghost | 0 | – | – |" in text and "- ghost: no runs" in text


def test_what_cannot_be_paired_is_said(root: Path) -> None:
    score(root, "elsewhere", 0, 50, scenes=("city-000",))
    rows = [row("base", "s"), row("elsewhere", "s", "base"), row("foreign", "s", "absent"), row("better", "s", "absent")]
    lines = compare(root, rows, seeds=(0,))
    assert lines["elsewhere"]["note"] == "tested on other scenes or classes than base"
    assert lines["better"]["note"] == "parent absent stands in another study"
    assert lines["foreign"]["note"] == "no runs"
    assert math.isnan(lines["elsewhere"]["difference"]) and lines["elsewhere"]["n"] == 1


def test_an_unscored_class_is_in_no_number_of_the_table(tmp_path: Path) -> None:
    for experiment, unscored in (("base", ("b",)), ("better", ("b",)), ("all", ())):
        right = 60 if experiment == "base" else 70
        counts = np.array([[[right, 100 - right], [40, 60], [9, 9]]] * 2)
        write_scores(Scores(("a", "b"), SCENES, counts, unscored), experiment, 0, tmp_path)
    lines = compare(tmp_path, [row("base", "s"), row("better", "s", "base"), row("all", "s", "base")], seeds=(0,))
    assert lines["base"]["mean"] == 0.6 and lines["better"]["mean"] == 0.7  # all that is said of class a is right
    assert lines["better"]["difference"] == lines["better"]["low"] == lines["better"]["high"] == pytest.approx(0.1)
    assert lines["all"]["note"] == "tested on other scenes or classes than base"
    text = (tmp_path / "results/tables/s.md").read_text()
    assert "| row | a | macro F1 | OA | kappa |" in text and "| base | 60.0 | 75.0 | 60.0 |" in text
    assert "| row | a | b | macro F1 | OA | kappa |" in text


def test_a_parent_without_runs_leaves_no_difference(root: Path) -> None:
    lines = compare(root, [row("ghost", "s"), row("better", "s", "ghost")])
    assert lines["better"]["note"] == "no seed in common with ghost" and math.isnan(lines["better"]["difference"])


def test_the_readable_table_has_classes_and_definitions(root: Path) -> None:
    compare(root, [row("base", "s", why="a | b"), row("better", "s", "base")])
    text = (root / "results/tables/s.md").read_text()
    iou = 100 * np.mean([miou(right) for right in RIGHT["base"].values()])
    assert f"| base | {iou:.1f} | {iou:.1f} | – |" in text  # the third class is absent
    assert "a \\| b" in text and "left out" in text and "(200 samples)" in text


def test_differences_of_classes_are_bold_where_zero_is_left_out(root: Path) -> None:
    """Class a gains by every seed and scene; b gains and loses by turns; a row without a parent has none."""
    for experiment, gain in (("plain", 0), ("changed", 15)):
        for seed in (0, 1, 2):
            right_b = 60 + (gain if seed % 2 else -gain)
            counts = np.array([[[60 + gain, 0, 40 - gain], [0, right_b, 100 - right_b], [0, 0, 50]]] * 2)
            write_scores(Scores(("a", "b", "c"), SCENES, np.pad(counts, ((0, 0), (0, 1), (0, 0)))), experiment, seed, root)
    lines = compare(root, [row("plain", "s"), row("changed", "s", "plain"), row("better", "s", "plain")])
    text = (root / "results/tables/s.md").read_text()
    part = text[text.index("## IoU per class: difference to the parent row") : text.index("## Definitions")]
    cells = [line for line in part.splitlines() if line.startswith("| ")]
    assert cells[0] == "| row | a | b | c |" and len(cells) == 3 and cells[2].startswith("| changed | **+15.0** | −5.0 | ")
    assert (lines["changed"]["difference a"], lines["changed"]["low a"]) == (0.15, 0.15)
    assert lines["changed"]["low b"] < 0 < lines["changed"]["high b"]
    assert "bold where its 95 % interval" in part


def test_without_pairs_there_are_no_differences_of_classes(root: Path) -> None:
    compare(root, [row("base", "s"), row("better", "s", "absent")])
    assert "difference to the parent" not in (root / "results/tables/s.md").read_text()
    assert read_gaps(read_table("s", root)[1], ("a", "b")) == {}


def test_tables_are_the_same_to_the_byte(root: Path) -> None:
    rows = [row("base", "s"), row("better", "s", "base")]
    texts = []
    for _ in range(2):
        compare(root, rows)
        texts.append([(root / "results/tables" / name).read_bytes() for name in ("s.csv", "s.md")])
    assert texts[0] == texts[1]


def test_numbers_for_people() -> None:
    assert points(0.5126) == "51.3" and points(-0.01, sign=True) == "−1.0" and points(math.nan) == "–"
    assert spread(0.5, 0.012) == "50.0 ± 1.2" and spread(0.5, math.nan) == "50.0"
    assert interval(-0.01, 0.03) == "[−1.0, +3.0]" and interval(math.nan, math.nan) == ""
    assert [p_value(p) for p in (0.0004, 0.0123, 0.5, math.nan)] == ["< 0.001", "0.012", "0.50", "–"]
