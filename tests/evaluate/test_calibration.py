"""The calibration error by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from georelay.evaluate.calibration import calibration, count_levels


def test_levels_are_counted_apart_for_right_and_wrong() -> None:
    right = np.array([True, False, True, True, False])
    counts = count_levels(right, np.array([254, 254, 100, 255, 0], np.uint8))  # 255: nobody knows how sure
    assert counts.shape == (2, 255) and counts.sum() == 4
    assert (counts[1, 254], counts[0, 254], counts[1, 100], counts[0, 0]) == (1, 1, 1, 1)


def test_the_error_by_hand() -> None:
    """Two bins: 4 pixels at 0.5 of which one is right, 6 pixels at 1 of which 3 are: 0.4 x 0.25 + 0.6 x 0.5 = 0.4."""
    right = np.array([True] + [False] * 3 + [True] * 3 + [False] * 3)
    facts = calibration(count_levels(right, np.array([127] * 4 + [254] * 6, np.uint8)), 2)
    assert facts["ece"] == pytest.approx(0.4)
    assert facts["bins"] == [
        {"low": 0.0, "high": 0.5, "pixels": 4, "confidence": 0.5, "accuracy": 0.25},  # a bound belongs to the bin below
        {"low": 0.5, "high": 1.0, "pixels": 6, "confidence": 1.0, "accuracy": 0.5},
    ]


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_it_is_the_error_of_single_pixels(bins: int) -> None:
    generator = np.random.default_rng(bins)
    level, right = generator.integers(0, 255, 5000).astype(np.uint8), generator.random(5000) < 0.6
    facts = calibration(count_levels(right, level), bins)
    confidence = level / 254
    places = np.clip(np.ceil(confidence * bins - 1e-9) - 1, 0, None)
    parts = [(places == p).mean() * abs(right[places == p].mean() - confidence[places == p].mean()) for p in range(bins)]
    assert facts["ece"] == pytest.approx(sum(parts))
    assert [one["pixels"] for one in facts["bins"]] == [int((places == p).sum()) for p in range(bins)]


def test_an_empty_bin_has_no_accuracy_and_no_weight() -> None:
    facts = calibration(count_levels(np.array([True]), np.array([254], np.uint8)), 4)
    assert facts["ece"] == 0 and [one["pixels"] for one in facts["bins"]] == [0, 0, 0, 1]
    assert math.isnan(facts["bins"][0]["confidence"]) and math.isnan(facts["bins"][0]["accuracy"])
    assert math.isnan(calibration(np.zeros((2, 255), np.int64), 4)["ece"])
