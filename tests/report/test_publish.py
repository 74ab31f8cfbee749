"""What is committed under results/reference: the numbers of the reference rows under plain names, and where they are from."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evidence import Project, finish_study
from georelay.errors import UserError
from georelay.files import read_json, write_json
from georelay.report.compare import compare_study
from georelay.report.figures import draw_study
from georelay.report.gallery import FIGURES
from georelay.report.publish import publish_study

SEEDS = [0, 1]
SHARES = {"sky-student-reference": 0.4, "sky-method-reference": 0.1}
DAY, NEXT_DAY = 1_700_000_000, 1_700_100_000  # 2023-11-14 and 2023-11-16


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, size=32, scenes=2)


@pytest.fixture(autouse=True)
def day(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(DAY))
    yield


def finish(project: Project, **changes: str) -> list[dict[str, Any]]:
    """A study's reference, compared; `changes` are facts of its last row."""
    project_rows = finish_study(project, "sky-reference", SHARES, SEEDS)
    project_rows[-1] |= changes
    write_evidence(project, project_rows)
    return project_rows


def write_evidence(project: Project, rows: list[dict[str, Any]]) -> None:
    compare_study("sky-reference", rows, SEEDS, project.root, resamples=50, seed=0)
    draw_study("sky-reference", rows, SEEDS, project.root, scenes=1)


def publish(project: Project, seeds: list[int] = SEEDS) -> dict[str, bytes]:
    publish_study("sky", list(SHARES), seeds, project.root)
    return published(project)


def published(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((project.root / "results/reference").glob("*"))}


def measured(files: dict[str, bytes]) -> str:
    return next(line for line in files["sky.md"].decode().splitlines() if line.startswith("Measured "))


def lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_numbers_are_those_of_the_table_under_plain_names(project: Project) -> None:
    finish(project)
    assert list(publish(project)) == ["sky-curves.png", "sky-forest.png", "sky-panel.png", "sky.csv", "sky.md"]
    ours, table = (lines(project.root / "results" / name) for name in ("reference/sky.csv", "tables/sky-reference.csv"))
    assert [(line["row"], line["parent"]) for line in ours] == [("sky-student", ""), ("sky-method", "sky-student")]
    assert [line["base"] for line in ours] == ["", "sky-student"]
    nameless = {"row": "", "parent": "", "base": ""}
    assert [line | nameless for line in ours] == [line | nameless for line in table]


def test_the_page_says_where_the_numbers_are_from_and_shows_the_figures(project: Project) -> None:
    finish(project)
    files = publish(project)
    text = files["sky.md"].decode()
    assert text.startswith("# Study sky\n\nMeasured 2023-11-14 on ") and "-reference" not in text
    pattern = r"Measured \S+ on .+, \d+ cores; Python 3\.11\.7, torch 2\.13\.0; 2 seeds a row, 200 steps; commit unknown\."
    assert re.fullmatch(pattern, measured(files))
    assert "## IoU per class" in text
    for kind in ("forest", "curves", "panel"):
        shown = FIGURES[kind]
        alt = shown.alt.format(study="sky")
        assert f"## {shown.title}\n\n![{alt}](sky-{kind}.png)\n\n{shown.caption}\n" in text
        assert files[f"sky-{kind}.png"] == (project.root / f"results/figures/sky-reference-{kind}.png").read_bytes()


def test_budgets_that_differ_and_a_gpu_are_said(project: Project) -> None:
    finish(project)
    path = project.root / "results/plans/sky-method-reference.json"
    plan = read_json(path)
    plan["settings"]["train"]["steps"] = 400
    write_json(path, plan)
    timing = project.root / "results/runs/sky-method-reference/seed0/timing.json"
    write_json(timing, read_json(timing) | {"device": "Big GPU"})
    note = measured(publish(project))
    assert "200 to 400 steps" in note and note.startswith("Measured 2023-11-14 on Big GPU, ")


def test_the_same_numbers_on_another_day_change_no_byte(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = finish(project)
    before = publish(project)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NEXT_DAY))
    assert publish(project) == before
    write_evidence(project, [row | {"why": "in other words"} for row in rows])
    reworded = publish(project)
    assert b"in other words" in reworded["sky.csv"] and measured(reworded) == measured(before)
    project.run("sky-method-reference", "sky-reference", 0, 0.2)
    write_evidence(project, rows)
    assert measured(publish(project)).startswith("Measured 2023-11-16 ")


def test_a_table_of_an_earlier_release_keeps_its_note(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had no p_holm, no effect, no baseline, nothing of classes, and said other things in its note."""
    finish(project)
    before, path = publish(project), project.root / "results/reference/sky.csv"
    columns = ("row", "parent", "why", "n", "mean", "sd", "difference", "low", "high", "p", "note")
    old = [",".join(line[name] for name in columns) for line in lines(path)]
    path.write_text("\n".join([",".join(columns), *old]) + "noted\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(NEXT_DAY))
    assert publish(project) == before


def test_only_rows_and_studies_lose_the_ending(project: Project) -> None:
    finish(project, why="a cross-reference to not-sky-student-reference; see sky-student-reference", parent="sea-reference")
    publish(project)
    line = lines(project.root / "results/reference/sky.csv")[-1]
    assert line["why"] == "a cross-reference to not-sky-student-reference; see sky-student"
    assert (line["parent"], line["note"]) == ("sea", "parent sea stands in another study")


def test_what_is_not_whole_is_refused_and_the_old_stays(project: Project) -> None:
    finish(project)
    before = publish(project)
    with pytest.raises(UserError, match=r"sky-reference\.csv: has 2 of 3 seeds of sky-student-reference"):
        publish(project, [0, 1, 2])
    with pytest.raises(UserError, match="has 0 of 2 seeds of sky-new-reference"):
        publish_study("sky", [*SHARES, "sky-new-reference"], SEEDS, project.root)
    (project.root / "results/figures/sky-reference-panel.png").unlink()
    with pytest.raises(UserError, match="georelay compare sky-reference"):
        publish(project)
    assert published(project) == before
