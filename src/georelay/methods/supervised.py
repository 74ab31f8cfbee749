"""Supervised training on the labelled tiles: the lower bound of every study, and with other labels its upper bound."""

from __future__ import annotations

from typing import ClassVar

from georelay.methods.base import Batches, Losses, Method
from georelay.models.losses import cross_entropy


class SupervisedMethod(Method):
    """Cross-entropy, and nothing else."""

    streams: ClassVar[tuple[str, ...]] = ("labelled",)

    def loss(self, batches: Batches, step: int) -> Losses:
        """Cross-entropy of the labelled batch, at the resolution that the plan names."""
        batch, train = batches["labelled"], self.plan["settings"]["train"]
        total = cross_entropy(
            self.student(batch.image),
            batch.label,
            stride=self.student.stride,
            ignore=self.plan["ignore"],
            smoothing=self.options["label_smoothing"],
            at=train["loss_at"],
        )
        return Losses(total, {"cross_entropy": total})
