"""Label-efficiency curves: which rows make one, what its points are, and that they are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence import Project, finish_study, row
from georelay.report.curves import draw_curves
from georelay.report.efficiency import label_curves, percent

SHARES: dict[str, Any] = {"1": "1%", "5": "5%", "all": None}


def test_a_share_is_a_percentage_and_a_count_is_none() -> None:
    assert [percent(labels) for labels in ("1%", "0.5%", None, 32)] == [1.0, 0.5, 100.0, None]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, size=64, scenes=2)


def rows(project: Project) -> list[dict[str, Any]]:
    """A student and a method at three shares; another at two."""
    worse = {"student-1": 0.7, "student-5": 0.5, "student-all": 0.2, "method-1": 0.4, "method-5": 0.3, "method-all": 0.1}
    worse |= {"other-5": 0.3, "other-all": 0.2}
    made = finish_study(project, "clouds", {f"clouds-{name}": share for name, share in worse.items()}, seeds=[0, 1])
    for fact in made:
        _, family, share = fact["experiment"].split("-")
        fact |= {"family": family, "labels": SHARES[share]}
    return made


def test_rows_that_differ_in_the_share_of_labels_make_a_curve(project: Project) -> None:
    curves = label_curves(rows(project), [0, 1], project.root)
    assert {name: list(curve) for name, curve in curves.items()} == {
        "clouds-student": [1, 5, 100],
        "clouds-method": [1, 5, 100],
    }
    student = curves["clouds-student"]
    assert all(len(scores) == 2 for scores in student.values())
    assert max(student[1]) < min(student[5]) < min(student[100]) < 100


def test_a_share_without_runs_is_left_out(project: Project) -> None:
    missing = row("clouds-student-10", "clouds") | {"family": "student", "labels": "10%"}
    assert list(label_curves([*rows(project), missing], [0, 1], project.root)["clouds-student"]) == [1, 5, 100]


def test_curves_stand_above_the_learning_curves_at_their_numbers(project: Project) -> None:
    made = rows(project)
    curves = label_curves(made, [0, 1], project.root)
    with_shares, without = (draw_curves("clouds", {"clouds-student-1": []}, found) for found in (curves, {}))
    assert len(with_shares.axes) == len(without.axes) + 1
    student = with_shares.axes[0].lines[0]
    assert student.get_ydata().tolist() == pytest.approx([np.mean(scores) for scores in curves["clouds-student"].values()])
    assert student.get_xdata().tolist() == pytest.approx([1, 5, 100], rel=0.03)
    assert [text.get_text() for text in with_shares.axes[0].texts] == ["student", "method"]
