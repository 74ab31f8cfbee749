"""The share of the gap closed: in the table, in the CSV and in the page, and why it is not there."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence import Project, finish_study, row
from georelay.evaluate.scores import Scores, write_scores
from georelay.report import closed
from georelay.report.compare import compare_study
from georelay.report.figures import draw_study
from georelay.report.html import report_path, write_report
from georelay.report.publish import publish_study
from georelay.report.tables import read_table

SCENES = ("test-000", "test-001")
BOUNDS = ("s-lower", "s-upper")
RIGHT = {"s-lower": (50, 52), "s-half": (70, 72), "s-worse": (40, 41), "s-upper": (90, 92), "s-none": ()}


def score(root: Path, name: str, seed: int, right: int, other: int = 60, scenes: tuple[str, ...] = SCENES) -> None:
    """Pixels of two classes, called as a column is, that are missed as an unscored third: `right`, `other` of 100 are right."""
    counts = np.array([[right, 0, 100 - right], [0, other, 100 - other], [0, 0, 9]])
    write_scores(Scores(("low", "high", "rest"), scenes, np.stack([counts[:2]] * len(scenes)), ("rest",)), name, seed, root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, each in RIGHT.items():
        for seed, right in enumerate(each):
            score(tmp_path, name, seed, right)
    return tmp_path


ROWS = [row(name, "s", None if name == "s-lower" else "s-lower") for name in RIGHT]


def compare(root: Path, rows: list[dict[str, Any]] = ROWS, bounds: closed.Bounds | None = BOUNDS) -> tuple[str, dict[str, Any]]:
    compare_study("s", rows, (0, 1), root, resamples=200, seed=0, bounds=bounds)
    return (root / "results/tables/s.md").read_text(), {line["row"]: line for line in read_table("s", root)}


def page(root: Path, rows: list[dict[str, Any]] = ROWS) -> str:
    write_report({"s": rows}, (0, 1), root, report_path(root), {"s": BOUNDS}, scenes=1)
    return (root / "results/report.html").read_text()


def test_the_table_by_hand(root: Path) -> None:
    """Of class low the gap is 40 of 100, of which the rows close 20 and -10.5; of class high there is none.

    The seeds' -10 and -11 are 0.5 from their mean, stretched by sqrt(2) * 12.706 / 1.960 to 4.58: -37.7 to -14.8 percent.
    """
    text, lines = compare(root)
    part = text[text.index("## Share of the gap closed") : text.index("## IoU per class")]
    assert "between s-lower (0 %) and s-upper (100 %): (row − lower) / (upper − lower)" in part
    table = [line for line in part.splitlines() if line.startswith("| ")]
    assert table == [
        "| row | mIoU | 95 % interval | low | high |",
        "| :-- | --: | --: | --: | --: |",
        "| s-half | 50 % | [50, 50] % | **50 %** | no gap |",
        "| s-worse | −26 % | [−38, −15] % | **−26 %** | no gap |",
    ]
    assert lines["s-worse"]["gap"] == pytest.approx(-10.5 / 40, abs=1e-6)
    assert lines["s-worse"]["gap low"] == pytest.approx(lines["s-worse"]["gap low of low"])


def test_columns_of_the_csv_are_appended_and_bounds_have_none(root: Path) -> None:
    compare(root, bounds=None)
    before = (root / "results/tables/s.csv").read_text().splitlines()
    compare(root)
    after = (root / "results/tables/s.csv").read_text().splitlines()
    added = [line.removeprefix(f"{old},").split(",") for line, old in zip(after, before, strict=True)]
    named = [f"{column}{of}" for of in ("", " of low", " of high") for column in ("gap", "gap low", "gap high")]
    assert [len(cells) for cells in added] == [9] * 6 and added[0] == named
    cells = {line[0]: line[-9:] for line in csv.reader(after)}
    assert cells["s-lower"] == cells["s-upper"] == cells["s-none"] == [""] * 9
    assert cells["s-half"] == ["0.500000"] * 6 + ["", "-inf", "inf"]


def test_the_page_says_the_same(root: Path) -> None:
    compare(root)
    text = page(root)
    part = text[text.index("<h3>Share of the gap closed</h3>") : text.index("<h3>Classes</h3>")]
    assert "between s-lower (0 %) and s-upper (100 %)" in part and "[−38, −15] %" in part
    assert "<strong>−26 %</strong>" in part and part.count("no gap</td>") == 2
    assert '<th scope="row">s-upper</th>' not in part and '<th scope="row">s-none</th>' not in part


@pytest.mark.parametrize("left", ["not among the rows", "without runs"])
def test_without_its_bounds_a_study_has_no_such_table_and_says_so(root: Path, left: str) -> None:
    rows = [fact for fact in ROWS if fact["experiment"] != "s-upper"] if left == "not among the rows" else ROWS
    for path in (root / "results/scores/s-upper").glob("*"):
        path.unlink()
    text, lines = compare(root, rows)
    assert "\n\nno gap: s-upper was not run\n\n" in text and closed.TITLE not in text and "gap" not in lines["s-half"]
    shown = page(root, rows)
    assert "<p>no gap: s-upper was not run</p>" in shown and closed.TITLE not in shown
    assert compare(root, rows, bounds=None)[0] == text.replace("no gap: s-upper was not run\n\n", "")


def test_two_bounds_that_were_not_run_are_both_named() -> None:
    assert closed.missing_bounds(BOUNDS, ["s-half"]) == "no gap: s-lower and s-upper were not run"
    assert closed.missing_bounds(BOUNDS, BOUNDS) == ""


def test_seeds_that_a_bound_lacks_and_other_scenes_are_said(root: Path) -> None:
    (root / "results/scores/s-upper/seed0.json").unlink()
    (root / "results/scores/s-worse/seed1.json").unlink()
    score(root, "s-none", 0, 70, scenes=("city-000",))
    text, lines = compare(root)
    assert lines["s-half"]["note"] == "share of the gap over seed 1: its interval covers test scenes only"
    assert lines["s-half"]["gap"] == pytest.approx((72 - 52) / (92 - 52))
    assert lines["s-worse"]["note"] == "seed 1 missing; one pair: the interval covers test scenes only, and there is no p; " + (
        "no share of the gap: no seed in common with s-upper"
    )
    assert lines["s-none"]["note"].endswith("no share of the gap: tested on other scenes or classes than s-lower")
    assert all(math.isnan(lines[name]["gap"]) for name in ("s-worse", "s-none")) and "| s-worse | −" not in text


def test_a_study_whose_bounds_alone_were_run_has_no_empty_table(root: Path) -> None:
    text, _ = compare(root, [ROWS[0], ROWS[3]])
    assert closed.TITLE in text and "| row | mIoU | 95 % interval | low" not in text
    assert "In percent of the gap" not in page(root, [ROWS[0], ROWS[3]])


def test_no_gap_in_miou_is_told_and_not_drawn(root: Path) -> None:
    for seed, right in enumerate(RIGHT["s-lower"]):
        score(root, "s-upper", seed, right)
    text, _ = compare(root)
    assert "| s-half | no gap |  | no gap | no gap |" in text
    shares = closed.read_shares(read_table("s", root))
    assert list(shares) == ["s-half", "s-worse"] and closed.drawn_shares(shares) == {}


def test_published_bounds_have_plain_names(tmp_path: Path) -> None:
    project, names = Project(tmp_path, size=32, scenes=2), ["sky-lower-reference", "sky-half-reference", "sky-upper-reference"]
    rows = finish_study(project, "sky-reference", dict(zip(names, (0.6, 0.3, 0.1), strict=True)), seeds=[0, 1])
    compare_study("sky-reference", rows, [0, 1], tmp_path, resamples=50, seed=0, bounds=(names[0], names[2]))
    draw_study("sky-reference", rows, [0, 1], tmp_path, scenes=1)
    publish_study("sky", names, [0, 1], tmp_path)
    text = (tmp_path / "results/reference/sky.md").read_text()
    assert "between sky-lower (0 %) and sky-upper (100 %)" in text and "-reference" not in text
    assert (tmp_path / "results/reference/sky.csv").read_text().splitlines()[0].count("gap high") == 5
