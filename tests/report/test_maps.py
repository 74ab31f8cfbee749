"""Pictures of the map panel, pixel by pixel where it matters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evidence import COLOURS, Project, finish_study, row
from georelay.evaluate.scores import read_scores, write_scores
from georelay.files import read_json
from georelay.geo.grid import Grid
from georelay.report.maps import SURE, UNSURE, WRONG, entropy_picture, error_picture, picture, place_of, read_panel, scale_bar
from georelay.sources.receipt import Receipt


def test_errors_are_red_ignored_black_and_right_grey() -> None:
    image = np.full((2, 2, 3), 128, np.uint8)
    result = error_picture(image, np.array([[0, 1], [255, 1]]), np.array([[0, 0], [0, 255]]), 255)
    assert result[0, 1].tolist() == list(WRONG)
    assert result[1, 0].tolist() == result[1, 1].tolist() == [0, 0, 0]
    assert len(set(result[0, 0].tolist())) == 1 and 170 <= result[0, 0, 0] <= 240


def test_true_colour_is_stretched_jointly_and_nodata_is_black() -> None:
    ramp = np.linspace(1000, 2000, 100).reshape(10, 10)
    bands = np.stack([ramp, ramp, ramp * 0 + 1000, ramp * 9])  # blue, green, red, nir
    bands[:, 0, 0] = 0
    result = picture(bands, ["blue", "green", "red", "nir"], 0)
    assert result[0, 0].tolist() == [0, 0, 0]
    assert result[9, 9].tolist() == [0, 255, 255]  # red is low against the others and stays low
    assert result[5, 5, 1] == result[5, 5, 2]


def test_ground_below_clouds_stays_visible() -> None:
    band = np.full((20, 20), 1000.0)
    band[:2] = np.linspace(500, 900, 40).reshape(2, 20)
    band[-3:] = 9000
    result = picture(np.stack([band] * 3), ["red", "green", "blue"], None)
    assert 60 < result[10, 10, 0] < 130 and result[-1, -1, 0] == 255  # plainly stretched it would be below 15


def test_sar_shows_vv_vh_and_their_ratio() -> None:
    vv = np.tile(np.linspace(-20, -5, 50), (4, 1))
    result = picture(np.stack([vv, vv[:, ::-1]]), ["vv", "vh"], -9999.0)
    assert result[0, -1].tolist() == [255, 0, 255] and result[0, 0].tolist() == [0, 255, 0]


def test_an_image_without_valid_pixels_is_black_not_an_error() -> None:
    assert picture(np.full((2, 3, 3), np.nan), ["vv", "vh"], None).max() == 0


@pytest.mark.parametrize(("width", "gsd", "metres", "pixels"), [(256, 10.0, 500, 50), (256, 1.0, 50, 50), (100, 0.3, 5, 5 / 0.3)])
def test_scale_bars_are_round_and_fit(width: int, gsd: float, metres: float, pixels: float) -> None:
    assert scale_bar(width, gsd) == (metres, pytest.approx(pixels))


def test_errors_stand_out_in_grey() -> None:
    """By the weights of ITU-R BT.601, which pictures are turned grey with."""
    assert np.dot(WRONG, (0.299, 0.587, 0.114)) < 170 - 100


def test_entropy_goes_from_sure_to_unsure() -> None:
    result = entropy_picture(np.array([[0, 127, 254, 255]], np.uint8))
    assert result[0, [0, 2, 3]].tolist() == [list(SURE), list(UNSURE), [0, 0, 0]]
    assert (np.array(UNSURE) < result[0, 1]).all() and (result[0, 1] < np.array(SURE)).all()


def test_places_are_told_in_metres_or_degrees_and_pixels_in_metres() -> None:
    facts = {"count": 1, "dtype": "uint8", "nodata": None}
    flat = Grid(100, 200, (2.0, 0.0, 1000.0, 0.0, -2.0, 5000.0), "EPSG:32631", **facts)
    assert place_of(flat, (0, 0, 100, 200)) == ("EPSG:32631, centre 1200 E, 4900 N, 200 × 100 pixels of 2 m", 2.0)
    round_ = Grid(100, 100, (1e-4, 0.0, 10.0, 0.0, -1e-4, 60.005), "EPSG:4326", **facts)
    text, gsd = place_of(round_, (0, 0, 100, 100))
    assert text.startswith("EPSG:4326, centre 10.0050° E, 60.0000° N") and gsd == pytest.approx(1e-4 * 111_320 / 2, rel=0.01)
    assert place_of(Grid(10, 20, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), None, **facts), (0, 0, 10, 20)) == (
        "no CRS, 20 × 10 pixels",
        None,
    )


def test_panel_shows_first_scenes_lowest_seed_and_missing_maps(tmp_path: Path) -> None:
    project = Project(tmp_path, scenes=3)
    rows = finish_study(project, "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, seeds=[1, 2])
    project.plan("clouds-never", "clouds")
    (tmp_path / "results/maps/clouds-method/seed1/test-001.tif").unlink()
    panel = read_panel([*rows, row("clouds-never", "clouds")], [0, 1, 2], tmp_path, scenes=2)
    assert panel is not None and [scene.name for scene in panel.scenes] == ["test-000", "test-001"]
    assert panel.seed_of == {"clouds-student": 1, "clouds-method": 1} and panel.scenes[0].gsd == 10.0
    student, method = panel.scenes[0].rows
    assert student.errors is not None and method.errors is not None
    red = [(shown.errors == WRONG).all(-1).mean() for shown in (student, method)]  # type: ignore[union-attr]
    assert red[0] > red[1] > 0
    assert panel.scenes[1].rows[1].prediction is None
    truth = project.truth["clouds"]["test-000"]
    assert panel.scenes[0].truth[-1, -1].tolist() == list(COLOURS[truth[-1, -1]])


def test_rows_that_see_different_sensors_are_shown_with_all_of_them(tmp_path: Path) -> None:
    """Errors lie on what their own row sees."""
    project = Project(tmp_path, scenes=1)
    rows = finish_study(project, "weather", {"sar-only": 0.4}, seeds=[0], modality="sar")
    radar = Receipt.read(tmp_path / "data/raw/weather")
    rows += finish_study(project, "weather", {"eye": 0.4}, seeds=[0])
    optical = Receipt.read(tmp_path / "data/raw/weather")
    (scene,) = optical.scenes
    both = replace(scene, images={**scene.images, **radar.scenes[0].images})
    facts = {"modalities": optical.modalities | radar.modalities, "files": optical.files | radar.files}
    replace(optical, scenes=(both,), **facts).write(tmp_path / "data/raw/weather")
    panel = read_panel(rows, [0], tmp_path, scenes=1)
    assert panel is not None
    (shown,) = panel.scenes
    assert list(shown.images) == ["optical", "sar"]
    assert not np.array_equal(*shown.images.values())
    truth = project.truth["weather"]["test-000"]
    for found, image in zip(shown.rows, (shown.images["sar"], shown.images["optical"]), strict=True):
        assert found.errors is not None and found.errors.max() > 0
        black, wrong = found.errors.max(-1) == 0, (found.errors == WRONG).all(-1)
        right = ~black & ~wrong
        assert right.any() and truth.shape == right.shape
        expected = error_picture(image, np.zeros_like(truth), np.zeros_like(truth), 255)
        assert np.array_equal(found.errors[right], expected[right])


def test_truth_that_is_not_scored_is_no_error(tmp_path: Path) -> None:
    project = Project(tmp_path, scenes=1)
    rows = finish_study(project, "clouds", {"clouds-student": 0.4}, seeds=[0])
    truth, path = project.truth["clouds"]["test-000"], tmp_path / "results/scores/clouds-student/seed0.json"
    scores = read_scores("clouds-student", 0, tmp_path)
    assert scores is not None
    write_scores(replace(scores, unscored=scores.classes[1:2]), "clouds-student", 0, tmp_path)
    panel = read_panel(rows, [0], tmp_path, scenes=1)
    assert panel is not None and (truth == 1).any()
    shown = panel.scenes[0].rows[0]
    assert shown.errors is not None and shown.errors[truth == 1].max() == 0 < shown.errors[truth != 1].max()
    assert shown.miou == pytest.approx(read_json(path)["scenes"]["test-000"]["miou"])


def test_no_panel_without_runs(tmp_path: Path) -> None:
    assert read_panel([row("a", "s")], [0], tmp_path, scenes=2) is None
