"""Confusion matrices: all seeds together, in percent of the true class, with a number in every cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evidence import row
from georelay.evaluate.scores import Scores, write_scores
from georelay.report.confusions import draw, matrix_of
from georelay.report.study import Study

CLASSES = ("a", "b", "c")


def write(root: Path, name: str, seed: int, counts: list[list[int]], unscored: tuple[str, ...] = ()) -> None:
    write_scores(Scores(CLASSES, ("t-0",), np.array([counts]), unscored), name, seed, root)


def study(root: Path, names: tuple[str, ...] = ("s-first", "s-other"), core: tuple[str, ...] = ("s-other",)) -> Study:
    return Study("s", [row(name, "s") | {"core": name in core} for name in names], (0, 1), root, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "s-first", 0, [[8, 2, 0], [0, 30, 10], [0, 0, 0]])
    write(tmp_path, "s-first", 1, [[4, 6, 0], [20, 40, 0], [0, 0, 0]])
    write(tmp_path, "s-other", 0, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    write(tmp_path, "s-left-out", 0, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    return tmp_path


def test_shares_by_hand(root: Path) -> None:
    """12 of 20 pixels of a are right; of 100 of b 70, 20 are taken for a and 10 for c; of c there is none."""
    shares = matrix_of("s-first", study(root).runs["s-first"]).shares
    assert shares[:2].tolist() == [[60, 40, 0], [20, 70, 10]] and np.isnan(shares[2]).all()


def test_every_cell_has_its_number_and_the_diagonal_a_frame(root: Path) -> None:
    first, other = draw(study(root)).axes
    assert [text.get_text() for text in first.texts] == ["60", "40", "0", "20", "70", "10"]
    assert [text.get_text() for text in other.texts] == ["100", "0", "0", "0", "100", "0", "0", "0", "100"]
    assert [patch.get_xy() for patch in first.patches] == [(place - 0.5, place - 0.5) for place in range(3)]
    assert (first.get_title(loc="left"), other.get_title(loc="left")) == ("first", "other")
    assert [label.get_text() for label in first.get_xticklabels()] == list(CLASSES)


def test_axes_say_which_class_is_true_and_which_predicted(root: Path) -> None:
    figure = draw(study(root))
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [
        ("predicted class", "true class"),
        ("predicted class", ""),  # read with the first one's
    ]
    figure.draw_without_rendering()
    whole = figure.get_tightbbox()
    assert whole.x0 >= 0 and whole.y0 >= 0


def test_the_baseline_and_the_short_comparison_are_shown(root: Path) -> None:
    names = ("s-first", "s-left-out", "s-other", "s-never")
    assert study(root, names, core=("s-other", "s-never")).short == ["s-first", "s-other"]
    assert study(root, names, core=()).short == ["s-first", "s-left-out", "s-other"]


def test_classes_that_are_not_scored_are_columns_alone(root: Path) -> None:
    write(root, "s-other", 0, [[3, 0, 1], [0, 4, 0], [9, 9, 9]], unscored=("c",))
    matrix = matrix_of("s-other", study(root).runs["s-other"])
    assert (matrix.truths, matrix.guesses) == (["a", "b"], ["a", "b", "c"])
    assert matrix.shares.tolist() == [[75, 0, 25], [0, 100, 0]]


def test_dark_cells_have_white_numbers(root: Path) -> None:
    first, other = draw(study(root)).axes
    assert {text.get_color() for text in other.texts if text.get_text() == "100"} == {"white"}
    assert {text.get_text(): text.get_color() for text in first.texts} == {
        "60": "black",
        "40": "black",
        "0": "0.45",
        "20": "black",
        "70": "black",
        "10": "black",
    }
