"""Provenance and limits, computed from plans, tables and files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from evidence import Project, finish_study, row, table_line
from georelay.report.provenance import read_plans
from georelay.report.provenance_page import limits_section, provenance_section
from georelay.report.study_page import Chapter

CHILD = table_line(row="s-new", parent="s-low", difference=0.02, low=0.01, high=0.04, p=0.01)
NAMES = ["sky-low", "sky-new"]
OPEN = ["sky-other", "sky-aside"]  # undecided; the second is no row of the short comparison


def finished(root: Path) -> list[dict[str, object]]:
    return finish_study(Project(root, scenes=2), "sky", {"sky-low": 0.4, "sky-new": 0.1}, [0])


def test_versions_of_runs_stand_beside_those_of_the_page(tmp_path: Path) -> None:
    finished(tmp_path)
    text = provenance_section([], read_plans(NAMES, tmp_path), [0], tmp_path)
    found = re.search(r'<th scope="row">python</th><td>(.*?)</td><td>(.*?)</td>', text)
    assert found and found[1] == "<code>3.11.7</code>" and found[2].startswith("<code>3.")
    assert f"<code>{'c' * 64}</code>" in text and "CC0-1.0" in text and "<td><code>dddddddddddd</code></td>" in text


def test_the_days_of_runs_are_those_of_their_files(tmp_path: Path) -> None:
    finished(tmp_path)
    for day, name in enumerate(NAMES):
        os.utime(tmp_path / "results/runs" / name / "seed0/timing.json", (86400 * day, 86400 * day))
    text = provenance_section([], read_plans(NAMES, tmp_path), [0], tmp_path)
    assert "2 runs told their time: 0.3 minutes of training on cpu, finished or restored" in text  # 2 x 9.5 s
    assert "1970-01-01 to 1970-01-02 by their files" in text


def test_limits_are_told_from_what_is_there(tmp_path: Path) -> None:
    rows = finished(tmp_path)
    rows += [row("sky-other", "sky"), row("sky-aside", "sky")]
    rows = [each | {"core": each["experiment"] != "sky-aside"} for each in rows]
    new = CHILD | {"row": "sky-new"}
    lines = [table_line(row="sky-low"), new | {"note": "seed 1 missing"}, *(new | {"row": name, "low": -0.01} for name in OPEN)]
    chapters = [
        Chapter("sky", rows, lines, [0], tmp_path, None, {}, {}, 1),
        Chapter("sea", [], [], [0], tmp_path, None, {}, {}, 1),
    ]
    text = limits_section(chapters, read_plans(NAMES, tmp_path), [0], tmp_path)
    assert "1 of 2 comparisons are undecided" in text and "p-values are not corrected" in text
    assert "Students were trained for 200 steps" in text and "drawn by a generator" in text
    assert "of: sky-new." in text and "Without a table yet: sea." in text
    corrected = [Chapter("sky", rows, [new | {"p_holm": 0.04}], [0], tmp_path, None, {}, {}, 1)]
    assert "not for all studies together" in limits_section(corrected, {}, [0], tmp_path)
