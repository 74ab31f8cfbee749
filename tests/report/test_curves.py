"""Curves of pseudo-labels: whose they are, what is drawn of them, and that they stand below the row's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from georelay.report.curves import CURVES_INCHES, draw_curves

STEPS = np.arange(1.0, 101.0)
TITLES = {"sure": "share of sure pseudo-labels", "right": "share of right pseudo-labels", "confidence": "mean confidence"}


def history(**columns: float) -> dict[str, np.ndarray]:
    """A run whose further columns stand still."""
    return {"step": STEPS, "loss": np.ones(100), "val_miou": np.ones(100)} | {k: np.full(100, v) for k, v in columns.items()}


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
        (line,) = axes.lines
        steps, values = line.get_data()
        assert len(steps) == 40 and np.allclose(values, mean, atol=0.02)
        edges = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert (edges.max() - edges.min()) / 2 == pytest.approx(sd, abs=0.05)


def test_a_row_has_the_same_sign_in_all_axes_and_its_own_legend() -> None:
    figure = draw_curves("s", {"s-plain": [history()], "s-method": [history(sure=0.5)]})
    plain, method = figure.axes[0].lines
    (answers,) = figure.axes[2].lines
    assert (answers.get_color(), answers.get_marker()) == (method.get_color(), method.get_marker())
    assert answers.get_color() != plain.get_color()
    assert [text.get_text() for text in figure.subfigs[1].legends[0].get_texts()] == ["method"]


def test_many_rows_have_axes_below_their_own_which_share_their_scale() -> None:
    runs = {f"s-{index}": [history(sure=0.1 + 0.1 * index, right=0.5) if index > 2 else history()] for index in range(8)}
    figure = draw_curves("s", runs)
    assert [len(part.axes) for part in figure.subfigs] == [2, 2, 2, 2]
    assert [len(axes.lines) for axes in figure.axes] == [4, 4, 1, 1, 4, 4, 4, 4]
    assert figure.axes[2].get_ylim() == figure.axes[6].get_ylim()
    assert 2 * CURVES_INCHES[1] < figure.get_size_inches()[1] < 4 * CURVES_INCHES[1]


def test_no_share_is_drawn_of_tiles_without_labels() -> None:
    """It is 0 from end to end then; a row that is never sure is told by its line at 0."""
    figure = draw_curves("s", {"s-a": [history(sure=0.0, right=0.0)], "s-b": [history(sure=0.5, right=0.3)]})
    assert [len(axes.lines) for axes in figure.axes[2:]] == [2, 1]
    assert titles(draw_curves("s", {"s-a": [history(sure=0.0, right=0.0)]}))[2:] == [TITLES["sure"]]


def test_axes_that_share_a_scale_show_all_that_is_drawn_on_any() -> None:
    runs = {f"s-{index}": [history(loss=1.0 if index < 6 else 30.0)] for index in range(8)}
    bottom, top = next(axes for axes in draw_curves("s", runs).axes if "loss" in axes.get_title(loc="left")).get_ylim()
    assert bottom < 1.0 and top > 30.0
