"""The report: one page that asks nothing of the network, says what is missing, and can be read by machine and keyboard."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from evidence import Project, finish_study, row
from georelay.files import write_json
from georelay.report.compare import compare_study
from georelay.report.figures import draw_study
from georelay.report.html import report_path, write_report
from georelay.report.links import MENU

VOID = {"meta", "link", "img", "br", "input", "line", "circle"}
SERVER = "http://127.0.0.1:5000/"
SEEDS = [0, 1]


class Page(HTMLParser):
    """Collects tags, identifiers and links; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def all(self, tag: str, attribute: str) -> list[str]:
        return [str(attrs[attribute]) for name, attrs in self.tags if name == tag and attribute in attrs]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("project")
    project = Project(root, scenes=4)
    rows = finish_study(project, "clouds", {"clouds-student": 0.5, "clouds-method": 0.05}, SEEDS)
    rows += [row("clouds-ghost", "clouds", "clouds-student", why="<b>why & how</b>")]
    compare_study("clouds", rows, SEEDS, root, resamples=200, seed=0)
    draw_study("clouds", rows, SEEDS, root, scenes=2)
    runs = {
        key: {"digest": "d", "run_id": f"id-{key[-1]}", "experiment_id": "7"} for key in ("clouds-method", "clouds-method/seed1")
    }
    write_json(root / "results/track.json", {"uri": "sqlite:///results/mlflow/mlflow.db", "runs": runs})
    write_report({"clouds": rows, "grass": [row("grass-student", "grass")]}, SEEDS, root, report_path(root), scenes=2)
    return (root / "results/report.html").read_text()


def test_it_is_well_formed_and_links_lead_somewhere(text: str) -> None:
    page = Page(text)
    names = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(names)) == len(names)
    inner = {link for link in page.all("a", "href") if not link.startswith(SERVER)}
    assert len(inner) > 5 and {link.removeprefix("#") for link in inner} | set(page.all("label", "for")) <= set(names)
    assert {"summary", "study-clouds", "study-grass", "glossary", "provenance", "limits"} <= set(names)


def test_headings_leave_out_no_level(text: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(text).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_it_asks_nothing_of_the_network(text: str) -> None:
    page = Page(text)
    asking = re.sub(r'src="data:[^"]*"', "", text).replace(SERVER, "")
    assert not re.findall(r"https?:|//[a-z]|url\(|@import|fetch\(|<script [^>]*src", asking)
    assert page.all("img", "src") and all(source.startswith("data:image/png;base64,") for source in page.all("img", "src"))
    assert page.all("link", "href") == ["data:,"]


def test_its_policy_lets_its_own_script_run_and_no_other(text: str) -> None:
    policy = Page(text).all("meta", "content")[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == text.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not [name for _, attrs in Page(text).tags for name in attrs if name.startswith("on")]


def test_the_summary_comes_first_and_tells_what_helps(text: str) -> None:
    summary = text[text.index('id="summary"') : text.index('id="study-clouds"')]
    assert text.index('id="summary"') < text.index('id="study-clouds"') < text.index('id="provenance"')
    assert "Rows compared with their parent: 1, of which 1 helps, 0 hurt and 0 are undecided." in summary
    assert (
        "1 study" not in summary
        and "2 studies, seeds 0, 1, on scenes that a generator drew. Differences are in points" in summary
    )
    helps = summary[summary.index("What helps") : summary.index("What hurts")]
    assert re.search(r"On clouds, <code>clouds-method</code> is \+\d+\.\d points .*: it helps\.", helps)
    assert "<h3>What hurts</h3>\n<p>Nothing, by this rule.</p>" in summary and "picked after looking" in summary


def test_tables_can_be_reached_and_read_aloud(text: str) -> None:
    page = Page(text)
    scrolling = [attrs for tag, attrs in page.tags if tag == "div" and attrs.get("class") == "scroll"]
    assert scrolling and all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in scrolling)
    assert all(scope in ("col", "row") for scope in page.all("th", "scope"))
    assert len(page.all("th", "scope")) == sum(tag == "th" for tag, _ in page.tags)
    assert page.all("img", "alt") and all(len(alt) > 20 for alt in page.all("img", "alt"))


def test_runs_are_linked_where_they_were_imported(text: str) -> None:
    part = text[text.index("<summary>Runs in MLflow") : text.index('id="study-grass"')]
    method = re.search(r'<th scope="row">clouds-method</th>(.*?)</tr>', part)
    pages = [f"{SERVER}#/experiments/7/runs/id-{end}{MENU}" for end in "d1"]
    assert method and re.findall(r'href="([^"]*)"', method[1]) == pages
    assert '<th scope="row">clouds-student</th>' not in part and "make ui" in part


def test_differences_of_classes_are_those_of_the_table(text: str) -> None:
    part = text[text.index("<summary>IoU per class: difference to the parent row") : text.index("<h3>Learning curves</h3>")]
    found = re.search(r'<th scope="row">clouds-method</th>(.*?)</tr>', part)
    strong = "<strong>"  # of two seeds, the first class's interval holds zero
    assert found and re.findall(r"<td>(<strong>)?\+[0-9.]+", found[1]) == ["", strong, strong, strong]
    assert '<th scope="row">clouds-student</th>' not in part and '<th scope="row">clouds-ghost</th>' not in part


def test_what_is_missing_is_said(text: str) -> None:
    assert "<code>clouds-ghost</code>: no runs" in text
    assert "run <code>georelay compare grass</code>" in text


def test_free_text_is_escaped(text: str) -> None:
    assert "&lt;b&gt;why &amp; how&lt;/b&gt;" in text and "<b>why" not in text


def test_provenance_names_tiles_plans_versions_and_machine(text: str) -> None:
    part = text[text.index('id="provenance"') :]
    for expected in (
        "results/tiles/clouds.zarr.zip",
        "clouds-student",
        "numpy",
        "python",
        "processor",
        "4 runs told their time: 0.6 minutes",
    ):
        assert expected in part


def test_synthetic_scenes_are_named_as_a_limit(text: str) -> None:
    assert "drawn by a generator" in text[text.index('id="limits"') :]


def test_the_same_results_give_the_same_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    pages = []
    for _ in range(2):
        write_report({"grass": [row("grass-student", "grass")]}, SEEDS, tmp_path, report_path(tmp_path), scenes=1)
        pages.append((tmp_path / "results/report.html").read_bytes())
    assert pages[0] == pages[1] and b"Written 1970-01-01" in pages[0]
