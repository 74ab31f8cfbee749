"""The same counts as the public code of UniMatch V2 and RS-MTDF scores them, so that numbers can be laid beside theirs.

Four things differ from our own scores: a class that is absent has 0 and stays in the means; precision is taken of all
predicted pixels, those without a scored true class among them; kappa takes these for its marginals, too, and the
labelled pixels for its total; and every ratio has 1e-10 added below the line.
"""

from __future__ import annotations

from typing import Any

import numpy as np

TINY = 1e-10
DEFINITIONS = {
    "iou": "TP / (TP + FP + FN + 1e-10), pixels without a scored true class left out; an absent class has 0",
    "miou": "mean of iou over all scored classes, absent ones among them",
    "f1": "2 P R / (P + R + 1e-10) with P = TP / (all pixels predicted as the class, wherever they lie) and R = TP / true pixels",
    "macro_f1": "mean of f1 over all scored classes",
    "kappa": "(po - pe) / (1 - pe + 1e-10) over the scored classes, with N true pixels: po = sum of TP / N, "
    "pe = sum of (all pixels predicted as the class) x (its true pixels) / N^2",
}


def published_scores(confusion: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """All of them, from [scored truth, predicted] and how often each scored class was predicted anywhere."""
    hit, true = np.diagonal(confusion), confusion.sum(1)
    iou = hit / (confusion.sum(0)[: len(hit)] + true - hit + TINY)
    precision, recall = hit / (predicted + TINY), hit / (true + TINY)
    f1 = 2 * precision * recall / (precision + recall + TINY)
    total = float(true.sum()) + TINY
    right, chance = hit.sum() / total, (predicted / total) @ (true / total)
    kappa = (right - chance) / (1 - chance + TINY)
    return {"miou": iou.mean(), "macro_f1": f1.mean(), "kappa": kappa, "iou": iou, "f1": f1}
