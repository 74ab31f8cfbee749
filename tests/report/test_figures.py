"""Figures: all of them there, the same to the byte, and drawn even when runs are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidence import Project, finish_study, row
from georelay.report.figures import draw_study
from georelay.report.gallery import FIGURES


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, size=64, scenes=2)


def draw(project: Project, rows: list[dict[str, object]]) -> dict[str, bytes]:
    draw_study("clouds", rows, [0, 1], project.root, scenes=2)
    return {kind: (project.root / f"results/figures/clouds-{kind}.png").read_bytes() for kind in FIGURES}


def test_figures_are_small_stable_and_free_of_versions(project: Project) -> None:
    rows = finish_study(project, "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, seeds=[0, 1])
    first = draw(project, rows)
    assert first == draw(project, rows)
    for data in first.values():
        assert len(data) < 300_000
        assert b"atplotlib" not in data and b"tEXt" not in data and b"tIME" not in data


def test_the_gallery_has_a_figure_of_every_kind_and_an_empty_study_one_that_says_so(project: Project) -> None:
    rows = finish_study(project, "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, seeds=[0, 1])
    assert list(draw(project, rows)) == list(FIGURES)
    empty = draw(Project(project.root / "empty"), [row("clouds-student", "clouds")])
    assert all(500 < len(data) < 25_000 for data in empty.values())
