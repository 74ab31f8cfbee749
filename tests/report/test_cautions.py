"""What is said of a study as a whole, from scores and intervals worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evidence import RIGHT_SCENES, right_miou
from georelay.evaluate.scores import Scores
from georelay.report.cautions import cautions, shared_scores
from georelay.report.tables import Runs


def scores(right: int, scenes: tuple[str, ...] = RIGHT_SCENES, third: int = 0) -> Scores:
    """Two classes of 100 pixels each a scene, of which `right` are right, and `third` right pixels of a third."""
    counts = np.array([[right, 100 - right, 0], [100 - right, right, 0], [0, 0, third]])
    return Scores(("a", "b", "c"), scenes, np.stack([counts] * len(scenes)))


def rows(**right: tuple[int, ...]) -> dict[str, Runs]:
    return {name: {seed: scores(hits, third=1) for seed, hits in enumerate(each)} for name, each in right.items()}


def test_agreement_is_told_with_what_it_rests_on() -> None:
    """Of the 3 pairs of rows one is turned at seed 2: (1 + 1/3 + 1/3) / 3; `short` lacks a seed and `ghost` all."""
    runs = rows(one=(50, 51, 60), two=(60, 61, 70), three=(70, 71, 65), short=(10, 99), ghost=())
    assert cautions(runs, {}) == ["Rank agreement between seeds: 0.56 (mean Kendall tau-b, 3 of 5 rows, 3 seeds)."]


def test_of_unequal_seeds_those_are_kept_that_leave_most_to_compare() -> None:
    """Three seeds leave one row, two leave four: 1 pair of seeds x 6 of rows."""
    runs = rows(one=(50, 51, 52), two=(60, 61), three=(70, 71), four=(80, 81), five=(90,))
    found = shared_scores(runs)
    expected = [[(2 * right_miou(right) + 1) / 3 for right in each] for each in ((50, 51), (60, 61), (70, 71), (80, 81))]
    assert found.shape == (4, 2) and found == pytest.approx(np.array(expected))


def test_disagreement_is_a_warning() -> None:
    (said,) = cautions(rows(one=(50, 70), two=(60, 60), three=(70, 50)), {})
    assert said.startswith("Rank agreement between seeds: −1.00 (") and said.endswith(
        " Warning: below 0.5 the order of the rows rests on noise."
    )


@pytest.mark.parametrize(
    ("runs", "counts"),
    [
        (rows(one=(50, 51), two=(60, 61)), "2 and 2"),
        (rows(one=(50,), two=(60,), three=(70,)), "3 and 1"),
        (rows(one=(50, 50), two=(50, 50), three=(50, 50)), "3 and 2"),
        (rows(one=(), two=()), "0 and 0"),
    ],
    ids=["two rows", "one seed", "all equal", "no runs"],
)
def test_what_allows_no_agreement_is_said(runs: dict[str, Runs], counts: str) -> None:
    (said,) = cautions(runs, {})
    assert said.startswith("Warning: whether seeds agree") and said.endswith(f"the rows and seeds to go by are {counts}.")


def test_rows_tested_elsewhere_are_in_no_order_with_the_others() -> None:
    runs = {"one": {0: scores(50), 1: scores(60)}, "far": {0: scores(80, ("city",)), 1: scores(80, ("city",))}}
    runs["mixed"] = {0: scores(50), 1: scores(50, ("city",))}
    assert shared_scores(runs) == pytest.approx(np.array([[right_miou(50), right_miou(60)]]))


def test_intervals_that_all_hold_zero_are_a_warning() -> None:
    none, holds, above, below = (math.nan, math.nan), (-0.1, 0.2), (0.01, 0.2), (-0.2, -0.01)
    given = {"a parent": [none, holds, (0.0, 0.1)], "base": [holds, above], "other": [below], "empty": [none]}
    said = [text for text in cautions({}, given) if "holds zero" in text]
    assert said == [
        "Warning: every 95 % interval of the differences to a parent holds zero: none of them is told apart from noise."
    ]


def test_classes_without_a_true_pixel_are_named() -> None:
    runs = {"one": {0: scores(50)}, "two": {0: scores(60)}, "ghost": {}}
    assert cautions(runs, {})[1:] == ["No true pixel of the test scenes is of class c: left out of mIoU, unless it is predicted."]
    runs["far"] = {0: scores(50, ("city", "town"), third=5)}
    assert cautions(runs, {})[1:] == [
        "No true pixel of the test scenes of one, two is of class c: left out of mIoU, unless it is predicted."
    ]


def test_a_class_in_so_few_scenes_that_many_draws_lack_it_is_named() -> None:
    """Of 30 scenes 2 lack one of every 8 draws, (28 / 30)^30 = 0.13; 3 one of 24: 0.042."""
    names = tuple(f"scene-{place:02d}" for place in range(30))
    counts = np.tile([[9, 1, 0], [1, 9, 0], [0, 0, 0]], (30, 1, 1))
    counts[:2, 2, 2] = 5
    (said,) = cautions({"one": {0: Scores(("a", "b", "c"), names, counts)}}, {})[1:]
    assert said.startswith("Warning: so few of the test scenes hold class c that")
    counts[2, 2, 2] = 5
    assert cautions({"one": {0: Scores(("a", "b", "c"), names, counts)}}, {})[1:] == []


def test_a_single_scene_is_a_warning() -> None:
    runs = {"one": {0: scores(50, third=1)}, "far": {0: scores(50, ("city",), third=1)}}
    assert cautions(runs, {})[1:] == [
        "Warning: far: tested on a single scene, so intervals and p-values say nothing of other scenes."
    ]
