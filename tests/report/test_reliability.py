"""Reliability diagrams: bins of all seeds together, their shares, and what older scores lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence import row
from georelay.evaluate.scores import Scores, scores_path, write_scores
from georelay.files import read_json, write_json
from georelay.report.reliability import bins_of, draw, pooled
from georelay.report.study import Study

ROWS = [row("s-first", "s"), row("s-other", "s", "s-first")]


def calibration(ece: float, *bins: tuple[int, float | None, float | None]) -> dict[str, Any]:
    """Bins of equal width from pixels, confidence and accuracy."""
    edges = np.linspace(0, 1, len(bins) + 1)
    facts = zip(edges, edges[1:], bins, strict=False)
    keys = ("low", "high", "pixels", "confidence", "accuracy")
    return {"ece": ece, "bins": [dict(zip(keys, (low, high, *each), strict=True)) for low, high, each in facts]}


FIRST = calibration(0.10, (0, None, None), (100, 0.6, 0.5), (300, 0.9, 0.8))
SECOND = calibration(0.12, (100, 0.3, 0.1), (100, 0.5, 0.7), (100, 0.7, 0.4))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    for name in ("s-first", "s-other"):
        for seed in (0, 1):
            write_scores(Scores(("a", "b"), ("t-0",), np.array([[[5, 1], [1, 5]]])), name, seed, tmp_path)
    for seed, facts in enumerate((FIRST, SECOND)):
        path = scores_path("s-first", seed, tmp_path)
        write_json(path, read_json(path) | {"calibration": facts})
    return Study("s", ROWS, (0, 1), tmp_path, 1)


def test_seeds_together_by_hand() -> None:
    """(100 x 0.5 + 100 x 0.7) / 200 and (300 x 0.8 + 100 x 0.4) / 400; an empty bin of one seed has no weight."""
    whole = pooled([bins_of(FIRST), bins_of(SECOND)])
    assert whole.pixels.tolist() == [100, 200, 400]
    assert whole.accuracy.tolist() == pytest.approx([0.1, 0.6, 0.7])
    assert whole.confidence.tolist() == pytest.approx([0.3, 0.55, 0.85])
    assert whole.share.tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7])


def test_a_bin_empty_in_all_seeds_has_no_dot() -> None:
    whole = pooled([bins_of(FIRST)] * 2)
    assert np.isnan(whole.accuracy[0]) and whole.told.tolist() == [False, True, True]


def test_dots_bars_and_the_error_stand_at_their_numbers(study: Study) -> None:
    axes = draw(study).axes[0]
    whole = next(line for line in axes.lines if line.get_marker() == "o")
    assert whole.get_xdata().tolist() == pytest.approx([0.3, 0.55, 0.85])
    assert whole.get_ydata().tolist() == pytest.approx([0.1, 0.6, 0.7])
    assert [patch.get_height() for patch in axes.patches] == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert [patch.get_x() for patch in axes.patches] == pytest.approx([0, 1 / 3, 2 / 3])
    assert axes.get_title(loc="left") == "first\nECE 11.0 ± 1.4 %"


def test_rows_without_calibration_have_no_diagram_and_a_study_without_says_what_to_run(study: Study) -> None:
    assert sum(axes.get_visible() for axes in draw(study).axes) == 1
    for seed in (0, 1):
        scores_path("s-first", seed, study.root).write_bytes(scores_path("s-other", seed, study.root).read_bytes())
    (text,) = draw(Study("s", ROWS, (0, 1), study.root, 1)).texts
    assert "georelay evaluate" in text.get_text()
