"""Sentences of the summary, worked out by hand from a small table."""

from __future__ import annotations

import math
from typing import Any

import pytest

from evidence import table_line
from georelay.report import findings

NONE = math.nan


def line(
    row: str = "s-new", gap: float = NONE, low: float = NONE, high: float = NONE, p: float = NONE, **more: Any
) -> dict[str, Any]:
    return table_line(row=row, parent="s-old", difference=gap, low=low, high=high, p=p, **more)


@pytest.mark.parametrize(
    ("numbers", "holm", "said"),
    [
        (
            (0.031, 0.011, 0.073, 0.004),
            0.012,
            "+3.1 points [+1.1, +7.3] over its parent `s-old` (n = 3, p = 0.012 after Holm): it helps.",
        ),
        (
            (-0.02, -0.03, -0.01, 1e-4),
            4e-4,
            "−2.0 points [−3.0, −1.0] against its parent `s-old` (n = 3, p < 0.001 after Holm): it hurts.",
        ),
        (
            (0.004, -0.009, 0.017, 0.4),
            0.8,
            "+0.4 points [−0.9, +1.7] over its parent `s-old` (n = 3, p = 0.80 after Holm): undecided, no evidence either way.",
        ),
        (
            (-0.02, -0.03, -0.01, 0.04),
            0.16,
            "−2.0 points [−3.0, −1.0] against its parent `s-old` (n = 3, p = 0.16 after Holm): undecided, it points down, but so "
            "would one of as many comparisons by chance.",
        ),
        (
            (0.02, 0.01, 0.03, 0.04),
            NONE,
            "+2.0 points [+1.0, +3.0] over its parent `s-old` (n = 3, p = 0.040, uncorrected): it helps.",
        ),
        (
            (0.02, 0.01, 0.03, NONE),
            NONE,
            "+2.0 points [+1.0, +3.0] over its parent `s-old` (n = 3, no p): undecided, as one pair of seeds, or several all "
            "alike, says nothing of other seeds.",
        ),
    ],
)
def test_one_comparison_in_a_sentence(numbers: tuple[float, ...], holm: float, said: str) -> None:
    told = findings.sentence("clouds", line("s-new", *numbers, p_holm=holm))
    assert told.replace("\N{NO-BREAK SPACE}", " ") == f"On clouds, `s-new` is {said}"


def test_a_comparison_counts_its_pairs_and_not_the_row_s_seeds() -> None:
    told = findings.sentence("clouds", line("s-new", 0.004, -0.009, 0.017, 0.4, pairs=2.0))
    assert "(n = 2, p = 0.40" in told.replace(findings.SPACE, " ")


def test_tables_without_corrected_values_say_so() -> None:
    old = line("s-new", 0.02, 0.01, 0.03, 0.04)
    assert findings.judge(old) == "helps" and findings.rule([old]) == findings.UNCORRECTED
    assert findings.judge(old | {"p_holm": 0.08}) == "undecided" and findings.rule([old | {"p_holm": 0.08}]) == findings.RULE


def test_comparisons_are_counted() -> None:
    lines = [line("a", 0.02, 0.01, 0.03, 0.01), line("b", -0.02, -0.03, -0.01, 0.01), line("c", 0, -0.01, 0.01, 1.0)]
    expected = "Rows compared with their parent: 3, of which 1 helps, 1 hurts and 1 is undecided."
    assert findings.tally(lines) == expected and findings.compared([line("x"), *lines]) == lines
    assert findings.tally([]) == "There is no comparison with a parent yet."


def test_what_is_said_of_a_study() -> None:
    based = {"base": "first", "base_difference": 0.062, "base_low": -0.01, "base_high": 0.13}
    lines = [
        line("first"),
        line("top", 0.04, 0.01, 0.08, 0.01, **based) | {"mean": 0.562, "sd": NONE, "n": 1},
        line("none") | {"mean": NONE},
    ]
    assert list(findings.study_sentences(lines)) == [
        "`top` has 56.2 points mIoU (n = 1), the highest of 3 rows, picked after looking at the test scenes, so its "
        "score flatters it.",
        "That is +6.2 points [−1.0, +13.0] against the study's baseline `first`.",
        "Rows compared with their parent: 1, of which 1 helps, 0 hurt and 0 are undecided.",
    ]
    assert list(findings.study_sentences([line("none") | {"mean": NONE}])) == ["No row has been scored yet."]


def test_a_baseline_that_nothing_beats_is_named() -> None:
    told = list(findings.study_sentences([line("first"), line("other") | {"mean": 0.4}]))
    assert told[1] == "It is the study's first row: no change to it has a higher mean."
