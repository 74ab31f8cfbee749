"""Pieces of the page: what they escape, draw and digest, and whether their colours can be told from the ground."""

from __future__ import annotations

import re

import pytest

from georelay.report import page
from georelay.report.style import STYLE

TEXT = ("ink", "soft", "link", "good", "bad")


def schemes() -> list[dict[str, str]]:
    """The colours of the light and of the dark scheme by their names in the style sheet."""
    light, dark, *_ = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", part)) for part in re.findall(r":root \{(.*?)\}", STYLE, re.S)
    )
    return [light, light | dark]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_two_known_values() -> None:
    assert contrast("#fff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#fff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", schemes(), ids=("light", "dark"))
def test_words_and_edges_stand_out(scheme: dict[str, str]) -> None:
    pairs = [(name, ground) for name in TEXT for ground in ("paper", "ground")] + [("on-chosen", "chosen")]
    assert [pair for pair in pairs if contrast(*(scheme[name] for name in pair)) < 4.5] == []
    assert contrast(scheme["edge"], scheme["paper"]) >= 3


def test_words_between_backticks_are_code_and_all_is_escaped() -> None:
    assert page.words("`a<b` & c") == "<code>a&lt;b</code> &amp; c"


def test_tables_sort_where_there_is_something_to_sort() -> None:
    assert 'class="sortable"' not in page.table("One & only", ["row", "n"], [["a", "1"]])
    shown = page.table("Two & more", ["row", "what"], [["a", "x"], ["b", "y"]], ("what",))
    assert '<table class="sortable"><caption><span>Two &amp; more</span>' in shown
    assert '<th scope="row">b</th><td class="text">y</td>' in shown


def test_intervals_are_drawn_to_scale() -> None:
    drawn = page.interval_picture(0.02, 0.01, 0.04, reach=0.04, verdict="helps")
    assert 'class="helps"' in drawn and 'x2="144.0"' in drawn  # the end of the longest lies 6 px from the edge
    assert 'cx="109.5"' in drawn  # half of 69 px to the right of the middle at 75
    assert page.interval_picture(float("nan"), float("nan"), float("nan"), 0.04, "undecided") == ""


def test_what_is_empty_leaves_no_heading() -> None:
    assert page.titled("Maps", "") == page.folded("Maps", "", "") == page.items([]) == page.facts("None", {}) == ""
