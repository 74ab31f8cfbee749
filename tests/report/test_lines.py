"""What a table says of rows that lack runs, of pairs that cannot be made, and of classes that are not there."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from evidence import RIGHT, RIGHT_SCENES, compare_rows, right_miou, row, score_right
from georelay.evaluate.scores import Scores, write_scores
from georelay.report.findings import judge
from georelay.report.lines import baseline


def test_a_missing_seed_is_said_and_the_rest_is_paired(root: Path) -> None:
    (root / "results/scores/better/seed1.json").unlink()
    line = compare_rows(root, [row("base", "s"), row("better", "s", "base")])["better"]
    assert (line["n"], line["note"]) == (2, "seed 1 missing")
    expected = np.mean([right_miou(RIGHT["better"][s]) - right_miou(RIGHT["base"][s]) for s in (0, 2)])
    assert line["difference"] == pytest.approx(expected, abs=1e-6)


def test_a_parent_with_fewer_seeds_limits_the_pairs(root: Path) -> None:
    (root / "results/scores/base/seed0.json").unlink()
    line = compare_rows(root, [row("base", "s"), row("better", "s", "base")])["better"]
    assert (line["n"], line["pairs"], line["note"]) == (3, 2, "difference over seeds 1, 2")


def test_one_seed_has_an_interval_but_no_spread_and_no_p(root: Path) -> None:
    line = compare_rows(root, [row("base", "s"), row("better", "s", "base")], seeds=(0,))["better"]
    assert line["n"] == 1 and math.isnan(line["sd"]) and math.isnan(line["p"]) and not math.isnan(line["low"])
    assert line["note"] == "one pair: the interval covers test scenes only, and there is no p"


def test_seeds_that_change_nothing_are_said_and_decide_nothing(root: Path) -> None:
    """As a teacher that is tested itself; of two such rows the difference is one number, three times over."""
    for name, right in (("fixed", 80), ("other", 90)):
        for seed in range(3):
            score_right(root, name, seed, right)
    lines = compare_rows(root, [row("base", "s"), row("fixed", "s", "base"), row("other", "s", "fixed")])
    said = "the same counts at every seed: no sd, interval or p tells what training it anew would change"
    assert [lines[name]["note"] for name in ("base", "fixed", "other")] == ["", said, said]
    assert lines["fixed"]["p"] < 0.05 and math.isnan(lines["other"]["p"]) and lines["other"]["pairs"] == 3
    assert judge(lines["other"]) == "undecided"


def test_a_row_without_runs_is_listed(root: Path) -> None:
    lines = compare_rows(root, [row("base", "s"), row("ghost", "s", "base"), row("orphan", "s", "ghost")])
    assert (lines["ghost"]["n"], lines["ghost"]["note"]) == (0, "no runs") and math.isnan(lines["ghost"]["mean"])
    text = (root / "results/tables/s.md").read_text()
    assert "| ↳ ghost | 0 | – | – |" in text and "- ghost: no runs" in text


def test_what_cannot_be_paired_is_said(root: Path) -> None:
    score_right(root, "elsewhere", 0, 50, scenes=("city-000",))
    rows = [row("base", "s"), row("elsewhere", "s", "base"), row("foreign", "s", "absent"), row("better", "s", "absent")]
    lines = compare_rows(root, rows, seeds=(0,))
    assert lines["elsewhere"]["note"] == "tested on other scenes or classes than base"
    said = "parent absent stands in another study; one pair with base: the interval covers test scenes only, and there is no p"
    assert lines["better"]["note"] == said
    assert lines["foreign"]["note"] == "no runs"
    assert math.isnan(lines["elsewhere"]["difference"]) and lines["elsewhere"]["n"] == 1


def test_a_parent_without_runs_leaves_no_difference(root: Path) -> None:
    lines = compare_rows(root, [row("ghost", "s"), row("better", "s", "ghost")])
    assert lines["better"]["note"] == "no seed in common with ghost" and math.isnan(lines["better"]["difference"])


def trace(root: Path, place: str) -> None:
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).touch()


def test_a_run_that_was_begun_is_told_from_one_that_never_was(root: Path) -> None:
    """Of five seeds two are scored: seed 0 ended in training, seed 3 in the maps, seed 4 was never begun."""
    (root / "results/scores/better/seed0.json").unlink()
    for place in ("train/better/seed0", "train/better/seed1", "train/better/seed3", "predict/better/seed3"):
        trace(root, f"results/logs/{place}.log")
    line = compare_rows(root, [row("base", "s"), row("better", "s", "base")], seeds=range(5))["better"]
    assert line["n"] == 2 and line["note"] == (
        "seed 4 missing; seed 0 failed or unfinished, see results/logs/train/better/seed0.log; "
        "seed 3 failed or unfinished, see results/logs/predict/better/seed3.log"
    )


def test_a_run_without_a_counted_pixel_is_no_failed_one_and_in_no_number(root: Path) -> None:
    """Of `better` nothing was counted at seed 1, of `blank` at none of two; seed 2 of it was never run."""
    nothing = Scores(("a", "b", "never"), RIGHT_SCENES, np.zeros((2, 4, 3), np.int64))
    for name, seed in (("better", 1), ("blank", 0), ("blank", 1)):
        write_scores(nothing, name, seed, root)
        trace(root, f"results/logs/evaluate/{name}/seed{seed}.log")
    lines = compare_rows(root, [row("base", "s"), row("better", "s", "base"), row("blank", "s", "better")])
    said = "without a counted pixel: no true class where the map has one"
    assert lines["better"]["note"] == f"seed 1 {said}"
    assert lines["blank"]["note"] == f"seeds 0, 1 {said}; seed 2 missing"
    assert (lines["better"]["n"], lines["better"]["pairs"], lines["blank"]["n"]) == (2, 2, 0)
    expected = np.mean([right_miou(RIGHT["better"][s]) - right_miou(RIGHT["base"][s]) for s in (0, 2)])
    assert lines["better"]["difference"] == pytest.approx(expected, abs=1e-6) and math.isnan(lines["blank"]["difference"])


def test_a_row_whose_runs_all_failed_is_none_that_was_not_run(root: Path) -> None:
    trace(root, "results/runs/failed/seed1/plan.json")
    line = compare_rows(root, [row("base", "s"), row("failed", "s", "base")])["failed"]
    assert line["note"] == "no finished runs; seed 1 failed or unfinished, see results/runs/failed/seed1/plan.json"
    assert math.isnan(line["base_difference"]) and math.isnan(line["base_p_holm"]) and line["base"] == "base"


def test_unequal_seeds_of_parent_and_baseline_are_both_said(root: Path) -> None:
    """Of `best` all three seeds, of its parent two, of the baseline two others: each difference over what both have."""
    for seed, right in enumerate((80, 82, 81)):
        score_right(root, "best", seed, right)
    (root / "results/scores/better/seed0.json").unlink()
    (root / "results/scores/base/seed2.json").unlink()
    line = compare_rows(root, [row("base", "s"), row("better", "s", "base"), row("best", "s", "better")])["best"]
    assert line["note"] == "difference over seeds 1, 2; difference to base over seeds 0, 1"
    assert line["base_difference"] == pytest.approx(
        (right_miou(80) - right_miou(60) + right_miou(82) - right_miou(64)) / 2, abs=1e-6
    )
    assert line["difference"] == pytest.approx((right_miou(82) - right_miou(75) + right_miou(81) - right_miou(71)) / 2, abs=1e-6)


def test_a_baseline_without_runs_leaves_no_difference_to_it(root: Path) -> None:
    line = compare_rows(root, [row("ghost", "s"), row("base", "s"), row("better", "s", "base")])["better"]
    assert line["base"] == "ghost" and math.isnan(line["base_difference"]) and not math.isnan(line["difference"])
    assert line["note"] == "no seed in common with ghost"


def test_the_baseline_is_the_first_row_without_a_parent_in_the_study() -> None:
    assert baseline([row("child", "s", "second"), row("first", "s", "elsewhere"), row("second", "s")]) == "first"


def test_a_class_that_is_predicted_but_never_true_is_said_and_counts_as_zero(root: Path) -> None:
    """50 of 100 right in each of two classes, at seed 1 with 10 of the others as a third: IoU 1/3, 1/3 and 0."""
    for seed, false in enumerate((0, 10)):
        counts = np.array([[[50, 50 - false, false], [50, 50, 0], [0, 0, 0]]] * 2)
        write_scores(Scores(("a", "b", "never"), RIGHT_SCENES, counts), "dreams", seed, root)
    line = compare_rows(root, [row("base", "s"), row("dreams", "s", "base")], seeds=(0, 1))["dreams"]
    assert line["note"] == "never is predicted at seed 1 though no true pixel is of it: an IoU of 0 there, which lowers mIoU"
    assert line["mean"] == pytest.approx((1 / 3 + (50 / 150 + 50 / 140 + 0) / 3) / 2, abs=1e-6)
    assert math.isnan(line["difference never"])
