"""The section of a study: columns that say something, who stands under whom, and quality where it was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

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


def test_of_the_differences_to_the_baseline_all_are_looked_at(tmp_path: Path) -> None:
    """s-new, whose parent is the baseline, leaves zero out; s-sub, whose parent it is not, holds it."""
    finish_study(Project(tmp_path), "s", {"s-low": 0.3, "s-new": 0.2, "s-sub": 0.2}, (0, 1, 2))
    base = {"base": "s-low", "base_difference": 0.02, "base_high": 0.04}
    new, sub = (CHILD | base | {"base_low": low} for low in (0.01, -0.01))
    warning = "every 95 % interval of the differences to s-low holds zero"
    assert warning not in section(tmp_path, table_line(), new, sub | {"row": "s-sub", "parent": "s-new"})
    assert warning in section(tmp_path, table_line(), new | {"base_low": -0.01}, sub | {"row": "s-sub", "parent": "s-new"})


def test_quality_is_shown_with_what_it_means(tmp_path: Path) -> None:
    assert "Quality" not in section(tmp_path, table_line())
    finish_study(Project(tmp_path), "s", {"s-low": 0.3}, (0, 1, 2))
    text = section(tmp_path, table_line())
    numbers = "<td>–</td><td>–</td><td>0.41</td><td>–</td><td>40.0</td><td>512</td><td>–</td>"  # no calibration, MACs or joules
    assert f'<th scope="row">s-low</th>{numbers}' in text and "memory (MB)" in head(text)
    assert "<li>parameters (M): numbers that the exported student has learnt" in text


def test_figures_that_are_missing_are_named(tmp_path: Path) -> None:
    assert "No figure: s-curves.png has not been written." in section(tmp_path, table_line())
