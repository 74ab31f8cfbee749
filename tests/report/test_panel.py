"""The map panel: tiles where they belong, names that do not run into each other, scale and place."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence import Project, finish_study, row
from georelay.files import read_json, sha256_file, write_json
from georelay.geo.raster import write_raster
from georelay.report import panel
from georelay.report.canvas import WIDTH
from georelay.report.maps import WRONG
from georelay.report.panel import draw, rows_shown
from georelay.report.study import Study


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, size=64, scenes=2)


def drawn(project: Project, rows: list[dict[str, Any]], scenes: int = 1) -> Any:
    return draw(Study("clouds", rows, [0, 1], project.root, scenes))


def pictures(figure: Any) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def keep_entropy(project: Project, name: str, values: np.ndarray) -> None:
    """As the predict stage lists it beside the map of the first scene."""
    folder = project.root / "results/maps" / name / "seed0"
    path, listing = folder / "test-000-entropy.tif", folder / "maps.json"
    write_raster(path, values[None], transform=(10.0, 0.0, 5e5, 0.0, -10.0, 4e6), crs="EPSG:32631", nodata=255)
    facts = read_json(listing)
    facts["scenes"]["test-000"]["entropy"] = {"file": path.name, "sha256": sha256_file(path)}
    write_json(listing, facts)


def test_image_truth_prediction_and_errors_are_shown(project: Project) -> None:
    rows = finish_study(project, "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, seeds=[0])
    figure = drawn(project, rows)
    shown = pictures(figure)
    assert len(shown) == 6  # image, truth, two predictions, two errors
    red = [(picture == WRONG).all(-1).mean() for picture in shown]
    assert red[:3] == [0, 0, 0] and 0.05 < red[5] < red[3] < 0.6
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    miou = read_json(project.root / "results/scores/clouds-student/seed0.json")["scenes"]["test-000"]["miou"]
    assert titles[0] == f"student\n{100 * miou:.1f}, seed 0" and titles[1].startswith("method\n")


def test_place_and_scale_stand_with_every_scene(project: Project) -> None:
    rows = finish_study(project, "clouds", {"clouds-student": 0.4}, seeds=[0])
    figure = drawn(project, rows, scenes=2)
    places = [text.get_text() for text in figure.texts]
    where = "EPSG:32631, centre 500320 E, 3999680 N, 64 × 64 pixels of 10 m"
    assert places == [f"test-000: {where}", f"test-001: {where}"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["image", "100 m"]
    bar = figure.axes[0].lines[-1].get_xdata()
    assert bar[1] - bar[0] == pytest.approx(10)


def test_entropy_has_a_line_where_a_map_of_it_was_kept(project: Project) -> None:
    rows = finish_study(project, "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, seeds=[0])
    keep_entropy(project, "clouds-student", np.full((64, 64), 127, np.uint8))
    figure = drawn(project, rows)
    assert len(pictures(figure)) == 7
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == ["prediction", "errors", "entropy"]
    said = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text().startswith("no ")]
    assert said == ["no entropy\nof this scene"]
    assert "largest entropy" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_many_rows_break_into_lines_of_the_same_width(project: Project) -> None:
    rows = finish_study(project, "clouds", {f"clouds-{index}": 0.3 for index in range(7)}, seeds=[0])
    few, many = drawn(project, rows[:2]), drawn(project, rows)
    assert few.get_figwidth() == many.get_figwidth() == WIDTH
    assert many.get_figheight() > 1.8 * few.get_figheight()
    boxes = [axes.get_position() for axes in many.axes]
    assert all(box.x0 >= 0 and box.x1 <= 1 and box.y0 >= 0 and box.y1 <= 1 for box in boxes)


def test_long_names_keep_to_their_tile(project: Project) -> None:
    names = [f"clouds-a-student-with-a-name-that-nobody-would-like-to-read-{index}-times" for index in range(5)]
    rows = finish_study(project, "clouds", dict.fromkeys(names, 0.3), seeds=[0])
    figure = drawn(project, rows)
    figure.draw_without_rendering()
    titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert all(left.x1 < right.x0 for left, right in pairwise(titles))


def test_of_many_rows_the_short_comparison_has_maps() -> None:
    rows = [row(str(index), "s") | {"core": index < 3} for index in range(panel.MOST_MAPS + 1)]
    assert rows_shown(rows) == rows[:3]
    assert rows_shown(rows[1:]) == rows[1:]
    assert rows_shown(rows[3:] * 2) == rows[3:] * 2
