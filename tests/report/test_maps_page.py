"""Viewers: every picture is there once, one button of each group is chosen, and colours survive."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evidence import PLACE, Project, finish_study
from georelay.files import read_json, write_json
from georelay.geo.raster import write_raster
from georelay.report.maps import read_panel
from georelay.report.maps_page import png, seen_by, viewers

ROWS = {"sky-lower": 0.5, "sky-upper": 0.1}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, scenes=3)


def shown(project: Project, scenes: int = 2) -> str:
    rows = finish_study(project, "sky", ROWS, [0])
    folder = project.root / "results/maps/sky-upper/seed0"
    write_raster(folder / "unsure.tif", np.full((1, project.size, project.size), 127, np.uint8), **PLACE, nodata=255)
    listing = read_json(folder / "maps.json")
    listing["scenes"]["test-000"]["entropy"] = {"file": "unsure.tif", "sha256": "f" * 64}
    write_json(folder / "maps.json", listing)
    return viewers("sky", rows, [0], project.root, scenes)


def test_a_viewer_for_each_scene_with_one_choice_in_each_group(project: Project) -> None:
    text = shown(project)
    assert re.findall(r"<legend>(.*?)</legend>", text) == ["Scene test-000", "Scene test-001"]
    groups: dict[str, list[bool]] = {}
    for name, rest in re.findall(r'<input type="radio" name="([^"]*)"([^>]*)>', text):
        groups.setdefault(name, []).append("checked" in rest)
    # image, truth, two rows; entropy was kept for a row of the first scene alone
    assert {name: len(each) for name, each in groups.items()} == {
        "sky-0-kind": 3,
        "sky-0-view": 4,
        "sky-1-kind": 2,
        "sky-1-view": 4,
    }
    assert all(each == [True] + [False] * (len(each) - 1) for each in groups.values())


def test_pictures_have_words_and_missing_ones_are_named(project: Project) -> None:
    first = shown(project, scenes=1)
    alts = re.findall(r'alt="([^"]*)"', first)
    assert alts[:3] == [
        "optical image of scene test-000",
        "True classes of scene test-000",
        "prediction of sky-lower for scene test-000",
    ]
    assert "entropy of sky-upper for scene test-000" in alts and len(alts) == 2 + 2 * 2 + 1
    assert first.count("no entropy of this row was kept") == 1


def test_an_image_says_who_sees_it(project: Project) -> None:
    rows = finish_study(project, "sky", ROWS, [0])
    assert "What every row sees." in viewers("sky", rows, [0], project.root, 1)
    panel = read_panel(rows, [0], project.root, 1)
    assert panel is not None and panel.inputs == {"sky-lower": ["optical"], "sky-upper": ["optical"]}
    other = replace(panel, inputs={"sky-lower": ["sar"], "sky-upper": ["optical", "sar"]})
    assert [seen_by(modality, other) for modality in ("optical", "sar")] == ["Seen by sky-upper.", "What every row sees."]


def test_the_score_beside_a_row_is_that_of_the_scene(project: Project) -> None:
    from georelay.evaluate.confusion import mean_iou
    from georelay.evaluate.scores import read_scores
    from georelay.report.tables import points

    text = shown(project, scenes=1)
    scores = read_scores("sky-upper", 0, project.root)
    assert scores is not None
    score = points(float(mean_iou(scores.confusions[0])))
    assert f"<span>sky-upper</span> <span>{score}</span>" in text and f"mIoU of the whole scene: {score} points; seed 0." in text


def test_without_evaluated_rows_there_is_nothing(project: Project) -> None:
    assert viewers("sky", [], [0], project.root, 2) == ""


def test_few_colours_are_kept_exactly_and_many_are_reduced() -> None:
    generator = np.random.default_rng(0)
    few = generator.integers(0, 2, (8, 8, 3)).astype(np.uint8) * 200
    many = generator.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(few))).convert("RGB")), few)
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(png(many, 16))).convert("RGB")).reshape(-1, 3), axis=0)) <= 16
