"""Which student of a study is offered to others: chosen by validation alone, so that its test score stays one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from georelay.track.record import Record

VALIDATION = "val_miou"


@dataclass(frozen=True)
class Best:
    """The chosen run, its validation mIoU, and the mean of its row's."""

    record: Record
    row: str
    score: float
    mean: float
    rows: int  # how many were chosen among


def best_student(families: Sequence[tuple[Record, Sequence[Record]]], upper: str | None) -> Best | None:
    """The best seed of the best row by validation mIoU, means of rows first; None where nothing was validated.

    The row `upper` bounds the others because it sees what a student of the task does not, so it is not among them.
    """
    scores = {parent.key: (_validated(parent), children) for parent, children in families if parent.key != upper}
    rated = {row: (mean, children) for row, (mean, children) in scores.items() if mean is not None}
    if not rated:
        return None
    row = max(rated, key=lambda name: rated[name][0])
    mean, children = rated[row]
    seeds = {child.key: score for child in children if (score := _validated(child)) is not None}
    chosen = max(children, key=lambda child: seeds.get(child.key, -1.0))
    return Best(chosen, row, seeds[chosen.key], mean, len(rated))


def _validated(record: Record) -> float | None:
    """The last validation, of the weights that were saved; of a row, the mean over its seeds."""
    return next((value for name, value, _ in reversed(record.curves) if name == VALIDATION), None)
