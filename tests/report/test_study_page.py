"""The section of a study: columns that say something, who stands under whom, and quality where it was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from evidence import Project, finish_study, row, table_line
from georelay.report.study_page import Chapter, study_section

GAP = {"difference": 0.02, "low": 0.01, "high": 0.04, "p": 0.01}
CHILD = table_line(row="s-new", parent="s-low", **GAP)


def section(root: Path, *lines: dict[str, Any]) -> str:
    rows = [row(line["row"], "s", line["parent"] or None) for line in lines]
    return study_section(Chapter("s", rows, lines, [0, 1, 2], root, None, {}, {}, 1))


def head(text: str) -> list[str]:
    return [re.sub("<.*?>", "", cell) for cell in re.findall(r'<th scope="col".*?</th>', text)]


def test_columns_without_a_number_are_left_out(tmp_path: Path) -> None:
    plain = ["row", "n", "mIoU ± sd", "Δ", "95 % interval", "verdict", "p"]
    assert head(section(tmp_path, table_line(), CHILD)) == plain
    corrected = CHILD | {"p_holm": 0.04, "effect": 2.1}
    assert head(section(tmp_path, table_line(), corrected)) == [*plain, "p (Holm)", "effect"]
    based = corrected | {"base": "s-low", "base_difference": 0.03, "base_low": 0.01, "base_high": 0.05, "base_p_holm": 0.2}
    text = section(tmp_path, table_line(), based)
    assert head(text)[-3:] == ["Δ to baseline", "its 95 % interval", "its p (Holm)"]
    assert text.count("<td>–</td>") == 9 - 1  # of the first row: all but the verdict, which is a word, n and the mean
    assert "<td>+3.0</td><td>[+1.0, +5.0]</td><td>0.20</td>" in text


def test_rows_stand_under_their_parents_and_the_best_is_named_once(tmp_path: Path) -> None:
    text = section(tmp_path, table_line(mean=0.6), CHILD, table_line(row="s-sub", parent="s-new", **GAP))
    found = re.findall(r'style="--depth:(\d)">(?:<span class="arrow" aria-hidden="true">↳ </span>)?(s-\w+)', text)
    assert found == [("0", "s-low"), ("1", "s-new"), ("2", "s-sub")]
    assert text.count('class="best"') == 1 and text.index('class="best"') < text.index("--depth:1")


@pytest.mark.parametrize(
    ("mean", "said"), [(0.7, "bounds the study from above"), (0.4, "lies below the highest, though meant as the upper bound")]
)
def test_an_upper_bound_is_one_only_where_no_row_is_above_it(tmp_path: Path, mean: float, said: str) -> None:
    lines = [table_line(mean=0.5), table_line(row="s-upper", mean=mean)]
    rows = [row(line["row"], "s") for line in lines]
    text = study_section(Chapter("s", rows, lines, [0], tmp_path, ("s-low", "s-upper"), {}, {}, 1))
    assert f"<code>s-upper</code> {said}, with {100 * mean:.1f}" in text


def test_a_warning_of_the_baseline_looks_at_children_of_it_as_well(tmp_path: Path) -> None:
    finish_study(Project(tmp_path), "s", {"s-low": 0.3, "s-new": 0.2, "s-sub": 0.2}, (0, 1, 2))
    base = {"base": "s-low", "base_difference": 0.02, "base_high": 0.04}
    sub = CHILD | base | {"row": "s-sub", "parent": "s-new", "base_low": -0.01}
    warning = "Warning: every 95 % interval of the differences to s-low holds zero"
    assert warning not in section(tmp_path, table_line(), CHILD | base | {"base_low": 0.01}, sub)
    assert warning in section(tmp_path, table_line(), CHILD | base | {"base_low": -0.01}, sub)


def test_quality_is_shown_with_what_it_means(tmp_path: Path) -> None:
    assert "Quality" not in section(tmp_path, table_line())
    finish_study(Project(tmp_path), "s", {"s-low": 0.3}, (0, 1, 2))
    text = section(tmp_path, table_line())
    numbers = "<td>–</td><td>–</td><td>0.41</td><td>–</td><td>40.0</td><td>512</td><td>–</td>"  # no calibration, MACs or joules
    assert f'<th scope="row">s-low</th>{numbers}' in text and "memory (MB)" in head(text)
    assert "<li>parameters (M): numbers that the exported student has learnt" in text


def test_figures_that_are_missing_are_named(tmp_path: Path) -> None:
    assert "No figure: s-curves.png has not been written." in section(tmp_path, table_line())
