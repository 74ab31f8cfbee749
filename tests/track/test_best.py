"""The best student: by validation alone, means of rows first, and never the row that bounds the others."""

from __future__ import annotations

import pytest

from georelay.track.best import best_student
from georelay.track.record import Record


def run(key: str, *scores: float, miou: float = 0.0) -> Record:
    curves = [("val_miou", score, step) for step, score in enumerate(scores)]
    row, _, seed = key.partition("/seed")
    return Record(key, key, "d", (row, int(seed or 0)), 0.0, 1.0, {}, {}, {"miou": miou}, curves)


def family(row: str, *scores: float, miou: float = 0.0) -> tuple[Record, list[Record]]:
    mean = sum(scores) / len(scores)
    return run(row, mean, miou=miou), [run(f"{row}/seed{seed}", score, miou=miou) for seed, score in enumerate(scores)]


def test_the_row_of_the_highest_mean_wins_and_its_best_seed() -> None:
    lucky, steady = family("lucky", 0.2, 0.9), family("steady", 0.6, 0.7)
    best = best_student([lucky, steady], None)
    assert best is not None and best.record.key == "steady/seed1" and best.row == "steady" and best.rows == 2
    assert best.score == 0.7 and best.mean == pytest.approx(0.65)


def test_scores_of_test_scenes_do_not_count() -> None:
    best = best_student([family("tested", 0.5, miou=0.99), family("validated", 0.51, miou=0.01)], None)
    assert best is not None and best.row == "validated"


def test_the_upper_bound_and_runs_that_were_not_validated_are_left_out() -> None:
    bound, blind = family("bound", 0.9), (run("blind"), [run("blind/seed0")])
    best = best_student([bound, blind, family("student", 0.4)], "bound")
    assert best is not None and best.row == "student" and best.rows == 1
    assert best_student([blind], None) is None


def test_the_last_validation_counts_not_the_highest() -> None:
    assert best_student([(run("a", 0.9, 0.3), [run("a/seed0", 0.9, 0.3)]), family("b", 0.4)], None).row == "b"  # type: ignore[union-attr]
