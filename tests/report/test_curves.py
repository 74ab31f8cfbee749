"""Curves: what is drawn of a run, names beside their ends, and pseudo-labels below the row's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence import Project, finish_study
from georelay.report import curves
from georelay.report.curves import ANSWERS_INCHES, BAND_INCHES, MOST_CURVES, draw_curves, read_histories, spread_out

STEPS = np.arange(1.0, 101.0)
TITLES = {"sure": "share of sure pseudo-labels", "right": "share of right pseudo-labels", "confidence": "mean confidence"}


def history(**columns: float) -> dict[str, np.ndarray]:
    """A run whose further columns stand still."""
    return {"step": STEPS, "loss": np.ones(100), "val_miou": np.ones(100)} | {k: np.full(100, v) for k, v in columns.items()}


def named(axes: Any) -> list[str]:
    """The curves in a pair of axes: the signs beside them have no label of their own."""
    return [label for label in axes.get_legend_handles_labels()[1]]


def titles(figure: Any) -> list[str]:
    return [axes.get_title("left") for axes in figure.axes]


def test_rows_without_pseudo_labels_have_no_such_axes() -> None:
    assert len(draw_curves("s", {"s-a": [history()], "s-b": []}).axes) == 2


def test_what_no_row_records_has_no_axes() -> None:
    figure = draw_curves("s", {"s-a": [history()], "s-b": [history(sure=0.5)]})
    assert titles(figure)[2:] == [TITLES["sure"]]


def test_means_over_bins_and_seeds_with_a_band() -> None:
    runs = [history(sure=0.4, right=0.7, confidence=0.8), history(sure=0.6, right=0.9, confidence=0.8)]
    runs[0]["right"][::2], runs[0]["right"][1::2] = 0.6, 0.8
    figure = draw_curves("s", {"s-plain": [history()], "s-method": runs})
    assert [found.startswith(name) for found, name in zip(titles(figure)[2:], TITLES.values(), strict=True)] == [True] * 3
    for axes, mean, sd in zip(figure.axes[2:], (0.5, 0.8, 0.8), (0.1 * 2**0.5, 0.1 * 2**0.5, 0.0), strict=True):
        steps, values = axes.lines[0].get_data()
        assert len(steps) == 40 and np.allclose(values, mean, atol=0.02)
        edges = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert (edges.max() - edges.min()) / 2 == pytest.approx(sd, abs=0.05)


def test_a_row_has_the_same_sign_in_all_axes_and_its_name_beside_one() -> None:
    figure = draw_curves("s", {"s-plain": [history()], "s-method": [history(sure=0.5)]})
    plain, method = figure.axes[0].lines[:2]
    answers = figure.axes[2].lines[0]
    assert (answers.get_color(), answers.get_marker()) == (method.get_color(), method.get_marker())
    assert answers.get_color() != plain.get_color()
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["plain", "method"], [], ["method"]]
    signs = [(line.get_color(), line.get_marker()) for line in figure.axes[0].lines[2:]]
    assert signs == [(line.get_color(), line.get_marker()) for line in (plain, method)]


def test_many_rows_have_axes_below_their_own_which_share_their_scale() -> None:
    runs = {f"s-{index}": [history(sure=0.1 + 0.1 * index, right=0.5) if index > 2 else history()] for index in range(8)}
    figure = draw_curves("s", runs)
    assert [len(part.axes) for part in figure.subfigs] == [2, 2, 2, 2]
    assert [len(named(axes)) for axes in figure.axes] == [4, 4, 1, 1, 4, 4, 4, 4]
    assert figure.axes[2].get_ylim() == figure.axes[6].get_ylim()
    assert figure.get_size_inches()[1] == pytest.approx(2 * (BAND_INCHES + ANSWERS_INCHES))


def test_no_share_is_drawn_of_tiles_without_labels() -> None:
    """It is 0 from end to end then; a row that is never sure is told by its line at 0."""
    figure = draw_curves("s", {"s-a": [history(sure=0.0, right=0.0)], "s-b": [history(sure=0.5, right=0.3)]})
    assert [len(named(axes)) for axes in figure.axes[2:]] == [2, 1]
    assert titles(draw_curves("s", {"s-a": [history(sure=0.0, right=0.0)]}))[2:] == [TITLES["sure"]]


def test_axes_that_share_a_scale_show_all_that_is_drawn_on_any() -> None:
    runs = {f"s-{index}": [history(loss=1.0 if index < 6 else 30.0)] for index in range(8)}
    bottom, top = next(axes for axes in draw_curves("s", runs).axes if "loss" in axes.get_title(loc="left")).get_ylim()
    assert bottom < 1.0 and top > 30.0


def test_histories_keep_blanks_as_nan(tmp_path: Path) -> None:
    project = Project(tmp_path)
    finish_study(project, "clouds", {"clouds-student": 0.4}, seeds=[0])
    (history,) = read_histories("clouds-student", [0, 1], project.root)
    assert np.isnan(history["val_miou"][0]) and history["step"][4] == 50 and np.isfinite(history["val_miou"][4])


def test_rows_differ_in_more_than_colour() -> None:
    styles = [curves._style(index, "") for index in range(MOST_CURVES)]
    assert all(len({style[key] for style in styles}) == MOST_CURVES for key in ("marker", "color"))


def test_many_rows_are_drawn_a_few_at_a_time() -> None:
    run = {"step": np.arange(1.0, 4.0), "loss": np.ones(3), "val_miou": np.ones(3)}
    for count, expected in ((1, [1]), (6, [6]), (7, [4, 3]), (13, [5, 5, 3])):
        figure = draw_curves("s", {f"s-{index}": [run] for index in range(count)})
        assert [len(named(axes)) for axes in figure.axes[::2]] == expected


def test_long_curves_are_averaged_in_bins() -> None:
    run = {"step": np.arange(1.0, 1001.0), "loss": np.tile([1.0, 3.0], 500)}
    drawn = curves._points_of(run, "loss", 1, bins=40)
    assert len(drawn) == 40 and set(np.round(list(drawn.values()), 1)) <= {1.9, 2.0, 2.1}
    assert curves._points_of({"step": np.arange(3.0)}, "val_miou", 1, bins=None) == {}


def test_names_stand_apart_in_the_order_of_their_curves() -> None:
    assert spread_out([0.9, 0.1], [0.1, 0.1]) == [0.9, 0.1]
    assert spread_out([0.5, 0.52, 0.2], [0.1, 0.1, 0.1]) == pytest.approx([0.5, 0.6, 0.2])
    assert spread_out([1.0, 0.99, 0.0], [0.2, 0.1, 0.1]) == pytest.approx([0.9, 0.75, 0.05])
    assert spread_out([], []) == []


def test_long_names_are_broken_and_not_lost() -> None:
    figure = draw_curves("s", {"s-student-with-a-very-long-name-that-goes-on": [history()]})
    (text,) = figure.axes[0].texts
    first, second = text.get_text().split("\n")
    assert "student-with-a-very-long-name-that-goes-on".startswith(first + second.removesuffix("…")) and len(second) > 4
