"""Calibration: whether of the pixels that a map is 80 % sure of, 80 % are right.

The expected calibration error of Guo et al. 2017 (equation 3), over M bins of equal width, ((m - 1) / M, m / M]:

    ECE = sum over bins of n(m) / N |accuracy(m) - confidence(m)|

n(m) counts the pixels whose class has a probability in the bin, confidence(m) is its mean, accuracy(m) the share of right ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from georelay.evaluate.certainty import LEVELS


def calibration_definition(bins: int) -> str:
    """What the number is, for people."""
    return (
        f"expected calibration error: mean over counted pixels of |accuracy - confidence| of their bin, of {bins} bins of equal "
        f"width; confidence is the probability of the map's class, read to 1/{LEVELS}"
    )


def count_levels(right: np.ndarray, level: np.ndarray) -> np.ndarray:
    """How many counted pixels there are at every level of certainty [wrong or right, level]; those without one are left out."""
    known = level <= LEVELS
    cells = right[known].astype(np.int64) * (LEVELS + 1) + level[known]
    return np.bincount(cells, minlength=2 * (LEVELS + 1)).reshape(2, LEVELS + 1)


def calibration(counts: np.ndarray, bins: int) -> dict[str, Any]:
    """`ece` and the bins of a reliability diagram; NaN where there is no pixel."""
    levels = np.arange(LEVELS + 1)
    places = np.maximum((levels * bins + LEVELS - 1) // LEVELS - 1, 0)  # in integers: on a bound is in the bin below it
    table = [_bin(counts[:, places == place], levels[places == place]) for place in range(bins)]
    total = int(counts.sum())
    gaps = [facts["pixels"] * abs(facts["accuracy"] - facts["confidence"]) for facts in table if facts["pixels"]]
    ends = [{"low": place / bins, "high": (place + 1) / bins} for place in range(bins)]
    ece = math.fsum(gaps) / total if total else math.nan
    return {"ece": ece, "bins": [end | facts for end, facts in zip(ends, table, strict=True)]}


def _bin(counts: np.ndarray, levels: np.ndarray) -> dict[str, Any]:
    pixels, right, level = int(counts.sum()), int(counts[1].sum()), int((counts * levels).sum())
    if not pixels:
        return {"pixels": 0, "confidence": math.nan, "accuracy": math.nan}
    return {"pixels": pixels, "confidence": level / LEVELS / pixels, "accuracy": right / pixels}
