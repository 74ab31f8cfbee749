"""Figures: there, of a useful size, the same to the byte, and drawn even when runs are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evidence import Project, finish_study, row
from georelay.report import curves, figures
from georelay.report.curves import read_histories
from georelay.report.figures import draw_study


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, size=64, scenes=2)


def draw(project: Project, rows: list[dict[str, object]]) -> dict[str, bytes]:
    draw_study("clouds", rows, [0, 1], project.root, scenes=2)
    return {kind: (project.root / f"results/figures/clouds-{kind}.png").read_bytes() for kind in ("curves", "panel")}


def test_figures_are_small_stable_and_free_of_versions(project: Project) -> None:
    rows = finish_study(project, "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, seeds=[0, 1])
    first = draw(project, rows)
    assert first == draw(project, rows)
    for data in first.values():
        assert 5_000 < len(data) < 300_000
        assert b"atplotlib" not in data and b"tEXt" not in data and b"tIME" not in data


def test_panel_holds_truth_and_error_colours(project: Project) -> None:
    rows = finish_study(project, "clouds", {"clouds-student": 0.4}, seeds=[0])
    draw(project, rows)
    picture = np.asarray(Image.open(project.root / "results/figures/clouds-panel.png").convert("RGB")).astype(int)
    red = np.abs(picture - figures.WRONG).max(-1) < 12
    assert 0.005 < red.mean() < 0.5


def test_a_study_without_runs_still_draws(project: Project) -> None:
    assert all(len(data) > 500 for data in draw(project, [row("clouds-student", "clouds")]).values())


def test_many_rows_are_drawn_on_several_lines(project: Project) -> None:
    few = finish_study(project, "clouds", {f"clouds-{index}": 0.3 for index in range(2)}, seeds=[0])
    draw(project, few)
    height = Image.open(project.root / "results/figures/clouds-panel.png").size
    many = finish_study(project, "clouds", {f"clouds-{index}": 0.3 for index in range(7)}, seeds=[0])
    draw(project, many)
    width, taller = Image.open(project.root / "results/figures/clouds-panel.png").size
    assert width > height[0] and taller > 1.8 * height[1] and width < 1400


def test_histories_keep_blanks_as_nan(project: Project) -> None:
    finish_study(project, "clouds", {"clouds-student": 0.4}, seeds=[0])
    (history,) = read_histories("clouds-student", [0, 1], project.root)
    assert np.isnan(history["val_miou"][0]) and history["step"][4] == 50 and np.isfinite(history["val_miou"][4])


def test_rows_differ_in_more_than_colour() -> None:
    styles = [curves._style(index, "") for index in range(curves.MOST_CURVES)]
    assert all(len({style[key] for style in styles}) == curves.MOST_CURVES for key in ("marker", "color"))


def test_many_rows_are_drawn_a_few_at_a_time() -> None:
    run = {"step": np.arange(1.0, 4.0), "loss": np.ones(3), "val_miou": np.ones(3)}
    for count, expected in ((1, [1]), (6, [6]), (7, [4, 3]), (13, [5, 5, 3])):
        figure = curves.draw_curves("s", {f"s-{index}": [run] for index in range(count)})
        assert [len(axes.lines) for axes in figure.axes[::2]] == expected


def test_of_many_rows_the_short_comparison_has_maps() -> None:
    rows = [{"experiment": str(index), "core": index < 3} for index in range(figures.MOST_MAPS + 1)]
    assert figures._for_maps(rows) == rows[:3]
    assert figures._for_maps(rows[1:]) == rows[1:]
    assert figures._for_maps(rows[3:] * 2) == rows[3:] * 2


def test_long_curves_are_averaged_in_bins() -> None:
    run = {"step": np.arange(1.0, 1001.0), "loss": np.tile([1.0, 3.0], 500)}
    drawn = curves._points_of(run, "loss", 1, bins=40)
    assert len(drawn) == 40 and set(np.round(list(drawn.values()), 1)) <= {1.9, 2.0, 2.1}
    assert curves._points_of({"step": np.arange(3.0)}, "val_miou", 1, bins=None) == {}
