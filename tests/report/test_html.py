"""The report: one page that asks nothing of the network, says what is missing, and can be read by machine and keyboard."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evidence import Project, finish_study, row
from georelay.report.figures import draw_study
from georelay.report.gallery import FIGURES
from georelay.report.html import write_report
from georelay.report.page import interval_picture, verdict
from georelay.report.tables import compare_study

VOID = {"meta", "link", "img", "br", "line", "circle"}
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
    write_report({"clouds": rows, "grass": [row("grass-student", "grass")]}, SEEDS, root)
    return (root / "results/report.html").read_text()


def test_it_is_well_formed_and_links_lead_somewhere(text: str) -> None:
    page = Page(text)
    targets = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = page.all("a", "href")
    assert len(links) > 5 and {link.removeprefix("#") for link in links} <= targets
    assert [
        target for target in ("summary", "study-clouds", "study-grass", "provenance", "limits") if target not in targets
    ] == []


def test_it_asks_nothing_of_the_network(text: str) -> None:
    page = Page(text)
    assert not re.findall(r"https?:|//[a-z]|url\(|@import|<script", re.sub(r'src="data:[^"]*"', "", text))
    assert page.all("img", "src") and all(source.startswith("data:image/png;base64,") for source in page.all("img", "src"))
    assert "default-src 'none'" in text


def test_the_summary_comes_first_and_tells_what_helps(text: str) -> None:
    summary = text[text.index('id="summary"') : text.index('id="study-clouds"')]
    assert text.index('id="summary"') < text.index('id="study-clouds"') < text.index('id="provenance"')
    assert "Rows against their parent: 1 better, 0 worse, 0 undecided." in summary and ">better</span>" in summary


def test_tables_can_be_reached_and_read_aloud(text: str) -> None:
    page = Page(text)
    scrolling = [attrs for tag, attrs in page.tags if tag == "div" and attrs.get("class") == "scroll"]
    assert scrolling and all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in scrolling)
    assert all(scope in ("col", "row") for scope in page.all("th", "scope"))
    assert len(page.all("th", "scope")) == sum(tag == "th" for tag, _ in page.tags)
    assert all(len(alt) > 20 for alt in page.all("img", "alt")) and len(page.all("img", "alt")) == len(FIGURES)


def test_differences_of_classes_are_those_of_the_table(text: str) -> None:
    part = text[text.index("<summary>IoU per class: difference to the parent row") : text.index("<h3>Learning curves</h3>")]
    found = re.search(r'<th scope="row">clouds-method</th>(.*?)</tr>', part)
    strong = "<strong>"  # of two seeds, the first class's interval holds zero
    assert found and re.findall(r"<td >(<strong>)?\+[0-9.]+", found[1]) == ["", strong, strong, strong]
    assert '<th scope="row">clouds-student</th>' not in part and '<th scope="row">clouds-ghost</th>' not in part


def test_what_is_missing_is_said(text: str) -> None:
    assert "clouds-ghost: no runs" in text
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
        write_report({"grass": [row("grass-student", "grass")]}, SEEDS, tmp_path)
        pages.append((tmp_path / "results/report.html").read_bytes())
    assert pages[0] == pages[1] and b"Written 1970-01-01" in pages[0]


def test_interval_pictures_and_verdicts() -> None:
    drawn = interval_picture(0.02, 0.01, 0.04, reach=0.04)
    assert 'aria-label="+2.0 [+1.0, +4.0]"' in drawn and 'x2="144.0"' in drawn  # the end of the longest lies 6 px from the edge
    assert interval_picture(float("nan"), float("nan"), float("nan"), 0.04) == ""
    words = [re.sub("<.*?>", "", verdict(*ends)) for ends in ((0.01, 0.02), (-0.02, -0.01), (-0.01, 0.01), (float("nan"),) * 2)]
    assert words == ["better", "worse", "undecided", "no interval"]
