"""A study compared: the numbers of its CSV by hand, which cells are empty, and the same bytes again."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from evidence import RIGHT, RIGHT_SCENES, compare_rows, right_miou, row, score_right
from georelay.evaluate.scores import Scores, write_scores
from georelay.report.tables import read_gaps, read_table


def test_numbers_by_hand(root: Path) -> None:
    line = compare_rows(root, [row("base", "s"), row("better", "s", "base")])["better"]
    child, parent = ([right_miou(right) for right in RIGHT[name].values()] for name in ("better", "base"))
    assert line["n"] == 3
    assert line["mean"] == pytest.approx(np.mean(child), abs=1e-6)
    assert line["sd"] == pytest.approx(np.std(child, ddof=1), abs=1e-6)
    assert line["difference"] == pytest.approx(np.mean(child) - np.mean(parent), abs=1e-6)
    assert line["low"] < line["difference"] < line["high"]
    assert line["p"] == pytest.approx(stats.ttest_rel(child, parent).pvalue, rel=1e-3)


def test_columns_and_empty_cells_of_the_csv(root: Path) -> None:
    compare_rows(root, [row("base", "s"), row("better", "s", "base")])
    lines = list(csv.reader((root / "results/tables/s.csv").read_text().splitlines()))
    assert lines[0][:10] == ["row", "parent", "why", "n", "mean", "sd", "difference", "low", "high", "p"]
    assert lines[0][10:15] == ["p_holm", "effect", "pairs", "base", "base_difference"]
    assert lines[0][15:20] == ["base_low", "base_high", "base_p", "base_p_holm", "note"]
    assert lines[0][20:] == [f"{what} {name}" for name in ("a", "b", "never") for what in ("difference", "low", "high")]
    assert lines[1][:2] == ["base", ""] and lines[1][6:] == [""] * 23
    assert lines[2][12] == "3"
    assert lines[2][20:23] == lines[2][6:9] and lines[2][26:] == [""] * 3  # classes a and b are alike here; one is absent


def by_seed(name: str, other: str, right: dict[str, dict[int, int]]) -> list[float]:
    return [right_miou(right[name][s]) - right_miou(right[other][s]) for s in right[name]]


def t_test(name: str, other: str, right: dict[str, dict[int, int]]) -> float:
    return float(stats.ttest_1samp(by_seed(name, other, right), 0).pvalue)


def test_a_row_is_compared_with_its_parent_and_with_the_baseline(root: Path) -> None:
    """Two rows have a parent, three are compared with the baseline, one of them in both ways alike."""
    right = RIGHT | {"best": {0: 71, 1: 74, 2: 74}, "other": {0: 63, 1: 61, 2: 66}}
    for name in ("best", "other"):
        for seed, hits in right[name].items():
            score_right(root, name, seed, hits)
    rows = [row("best", "s", "better"), row("base", "s"), row("better", "s", "base"), row("other", "s")]
    lines = compare_rows(root, rows)
    assert {name: line["base"] for name, line in lines.items()} == {"base": "", "better": "base", "best": "base", "other": "base"}
    for name, factor in {"best": 3, "better": 2, "other": 1}.items():  # by rising p, which the corrected ones keep to
        line, p = lines[name], t_test(name, "base", right)
        assert line["base_difference"] == pytest.approx(np.mean(by_seed(name, "base", right)), abs=1e-6)
        assert (line["base_p"], line["base_p_holm"]) == pytest.approx((p, factor * p), rel=1e-3)
        assert line["base_low"] < line["base_difference"] < line["base_high"]
    assert lines["better"]["p_holm"] == pytest.approx(2 * t_test("better", "base", right), rel=1e-3)
    assert lines["best"]["p_holm"] == pytest.approx(t_test("best", "better", right), rel=1e-3)
    for column in ("difference", "low", "high", "p"):
        assert lines["better"][column] == lines["better"][f"base_{column}"]
        assert math.isnan(lines["other"][column])


def test_the_effect_is_that_of_the_differences_by_seed(root: Path) -> None:
    line = compare_rows(root, [row("base", "s"), row("better", "s", "base")])["better"]
    differences = by_seed("better", "base", RIGHT)
    expected = np.mean(differences) / np.std(differences, ddof=1) / math.sqrt(math.pi)  # J(2)
    assert line["effect"] == pytest.approx(expected, rel=1e-3)


def test_an_unscored_class_is_in_no_number_of_the_table(tmp_path: Path) -> None:
    for experiment, unscored in (("base", ("b",)), ("better", ("b",)), ("all", ())):
        right = 60 if experiment == "base" else 70
        counts = np.array([[[right, 100 - right], [40, 60], [9, 9]]] * 2)
        write_scores(Scores(("a", "b"), RIGHT_SCENES, counts, unscored), experiment, 0, tmp_path)
    lines = compare_rows(tmp_path, [row("base", "s"), row("better", "s", "base"), row("all", "s", "base")], seeds=(0,))
    assert lines["base"]["mean"] == 0.6 and lines["better"]["mean"] == 0.7  # all that is said of class a is right
    assert lines["better"]["difference"] == lines["better"]["low"] == lines["better"]["high"] == pytest.approx(0.1)
    assert lines["all"]["note"] == "tested on other scenes or classes than base"
    text = (tmp_path / "results/tables/s.md").read_text()
    assert "| row | a | macro F1 | OA | kappa |" in text and "| base | 60.0 | 75.0 | 60.0 |" in text
    assert "| row | a | b | macro F1 | OA | kappa |" in text


def test_without_pairs_there_are_no_differences_of_classes(root: Path) -> None:
    compare_rows(root, [row("base", "s"), row("better", "s", "absent")])
    assert "difference to the parent" not in (root / "results/tables/s.md").read_text()
    assert read_gaps(read_table("s", root)[1], ("a", "b")) == {}


def test_tables_are_the_same_to_the_byte(root: Path) -> None:
    rows = [row("base", "s"), row("better", "s", "base")]
    texts = []
    for _ in range(2):
        compare_rows(root, rows)
        texts.append([(root / "results/tables" / name).read_bytes() for name in ("s.csv", "s.md")])
    assert texts[0] == texts[1]
