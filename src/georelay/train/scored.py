"""Which part of a confusion is scored: a task may train on classes that it does not score, such as `unknown`.

Their true pixels count as little as ignored ones, so their rows go. Said of a pixel of a scored class they are wrong all
the same, so their columns stay, behind the others: the diagonal is that of the scored classes, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def scored_part(counts: np.ndarray, classes: Sequence[str], unscored: Sequence[str]) -> np.ndarray:
    """[..., truth, predicted] of all classes as [..., scored truth, predicted]; rows beyond the classes go, too."""
    aside = np.array([name in unscored for name in classes])
    order = np.argsort(aside, kind="stable")
    return np.asarray(counts[..., order[: np.count_nonzero(~aside)], :][..., order])
