"""AdaBN (Li et al., 2017): a student of the source, scored with the target's BatchNorm statistics. The cheapest adaptation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from georelay.methods.base import Batches, Losses, Updater
from georelay.methods.supervised import SupervisedMethod
from georelay.models.ema import Adapted


class AdaBnMethod(SupervisedMethod):
    """Supervised; beside it a copy that has the student's weights and meets target tiles alone."""

    streams: ClassVar[tuple[str, ...]] = ("labelled", "target")

    def __init__(self, plan: Mapping[str, Any], student: Any) -> None:
        super().__init__(plan, student)
        self.adapted = Adapted(student)

    @property
    def exported(self) -> Any:
        """The copy."""
        return self.adapted.network

    def step(self, parts: Sequence[Batches], step: int, updater: Updater) -> Losses:
        """A step of the student, then a look of the copy at the target."""
        losses = super().step(parts, step, updater)
        with updater.autocast():
            self.adapted.meet(self.student, step, (batches["target"].image for batches in parts))
        return losses
