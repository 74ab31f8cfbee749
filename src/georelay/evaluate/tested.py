"""Which scenes a run is tested on, and which pixels of them.

Where the source says what is for testing, that is whole scenes. Where a task's split rule drew it, the plan names the test
tiles, and the rest of their scenes, which may have been trained on, does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from georelay.sources.receipt import Receipt, Scene


def tested_scenes(plan: Mapping[str, Any], receipt: Receipt) -> list[Scene]:
    """The scenes in the plan's test domain that hold anything to be tested on."""
    drawn = plan["source"].get("tested")
    if drawn is None:
        return receipt.select("test", plan["test_domain"])
    return [scene for scene in receipt.select(None, plan["test_domain"]) if scene.name in drawn["scenes"]]


def only_tested(truth: np.ndarray, plan: Mapping[str, Any], scene: str, row: int, col: int) -> np.ndarray:
    """A window of a scene's labels that begins at (row, col), with ignored pixels wherever no test tile lies."""
    drawn = plan["source"].get("tested")
    if drawn is None:
        return truth
    side, counts = drawn["tile"], np.zeros(truth.shape, bool)
    for top, left in drawn["scenes"][scene]:
        counts[max(top - row, 0) : max(top - row + side, 0), max(left - col, 0) : max(left - col + side, 0)] = True
    return np.where(counts, truth, truth.dtype.type(plan["ignore"]))
