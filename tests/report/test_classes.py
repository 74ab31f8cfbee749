"""IoU of each class: means and spreads over seeds at their numbers, signs as in the table."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from evidence import row
from georelay.evaluate.scores import Scores, write_scores
from georelay.report.canvas import WIDTH
from georelay.report.classes import WHOLE, draw, ends_of, values_of
from georelay.report.compare import compare_study
from georelay.report.study import Study
from georelay.report.tree import BETTER

ROWS = [row("s-first", "s"), row("s-better", "s", "s-first"), row("s-never", "s", "s-first")]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Of class a 50 + 2 k of 100 pixels are right, the others taken for b; all of b is right; nothing is c."""
    for name, right in (("s-first", 50), ("s-better", 80)):
        for seed in (0, 1):
            counts = np.array([[right + 2 * seed, 50 - 2 * seed + 50 - right, 0], [0, 100, 0], [0, 0, 0]])
            write_scores(Scores(("a", "b", "c"), ("t-0", "t-1"), np.stack([counts] * 2)), name, seed, tmp_path)
    compare_study("s", ROWS, (0, 1), tmp_path, resamples=50, seed=0)
    return Study("s", ROWS, (0, 1), tmp_path, 1)


def test_values_by_hand(study: Study) -> None:
    """IoU of a is what is right of it; of b 100 / (100 + missed), the missed 50 and 48."""
    values = values_of(study.runs)
    assert list(values) == [WHOLE, "a", "b", "c"]
    assert values["a"]["s-first"].tolist() == pytest.approx([50, 52])
    assert values["b"]["s-first"].tolist() == pytest.approx([100 / 1.5, 100 / 1.48])
    assert values[WHOLE]["s-first"].tolist() == pytest.approx([(50 + 100 / 1.5) / 2, (52 + 100 / 1.48) / 2])
    assert np.isnan(values["c"]["s-better"]).all()


def test_mean_and_spread() -> None:
    assert ends_of(np.array([50.0, 52.0])) == pytest.approx((51, 51 - 2**0.5, 51 + 2**0.5))
    assert ends_of(np.array([50.0])) == (50, 50, 50)


def test_dots_stand_at_the_means_and_strokes_at_the_seeds(study: Study) -> None:
    axes = {each.get_title(loc="left"): each for each in draw(study).axes[2:]}
    assert list(axes) == [WHOLE, "a", "b", "c"]
    dots = {line.get_ydata()[0]: line for line in axes["a"].lines if line.get_marker() in ("o", "D")}
    assert {place: dot.get_xdata()[0] for place, dot in dots.items()} == pytest.approx({0: 51, 1: 81})
    assert (dots[0].get_marker(), dots[1].get_marker(), dots[1].get_markerfacecolor()) == ("D", "o", BETTER)
    strokes = [sorted(line.get_xdata()) for line in axes["a"].lines if line.get_marker() == "|"]
    assert strokes == [pytest.approx([50, 52]), pytest.approx([80, 82])]
    assert not [line for line in axes["c"].lines if line.get_marker() in ("o", "D")]


@pytest.mark.parametrize("found", [(77, 81), (30, 81)])
def test_numbers_below_do_not_touch_and_no_mark_is_cut(tmp_path: Path, found: tuple[int, int]) -> None:
    """Of each of seven classes so many of 100 pixels are right and the others taken for the next: 62.6 to 68.1, 17.6 to 68.1."""
    rows = [row("s-first", "s"), row("s-better-in-most", "s", "s-first")]
    ones = np.eye(7, dtype=int)
    for right, name in zip(found, ("s-first", "s-better-in-most"), strict=True):
        counts = right * ones + (100 - right) * np.roll(ones, 1, axis=1)
        write_scores(Scores(tuple("abcdefg"), ("t-0",), counts[None]), name, 0, tmp_path)
    compare_study("s", rows, (0,), tmp_path, resamples=50, seed=0)
    figure = draw(Study("s", rows, (0,), tmp_path, 1))
    figure.draw_without_rendering()
    for axes in figure.axes[2:]:
        (start, end), points = axes.get_xlim(), axes.get_position().width * WIDTH * 72
        shown = [label for label in axes.get_xticklabels() if start <= label.get_position()[0] <= end]
        boxes = [label.get_window_extent().intervalx for label in shown]
        assert all(before[1] + 2 < after[0] for before, after in pairwise(boxes))
        dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in ("o", "s", "D")]
        assert all(min(dot - start, end - dot) / (end - start) * points > 4 for dot in dots)


def test_no_axes_make_a_small_difference_large(study: Study) -> None:
    for axes in draw(study).axes[2:]:
        left, right = axes.get_xlim()
        assert right - left >= 8
