"""Plain feature distillation: the student's features, projected, shall be those of frozen teachers.

The simplest way to use a teacher, and so the control of every cleverer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from georelay.methods.base import Batches, Losses, Method
from georelay.models.decoders.blocks import resize
from georelay.models.losses import cross_entropy
from georelay.teachers.view import TeacherView

EPSILON = 1e-5


class DistilMethod(Method):
    """Cross-entropy on labelled tiles, and the mean squared error to each standardised map of each teacher."""

    def __init__(self, plan: Mapping[str, Any], student: Any) -> None:
        super().__init__(plan, student)
        self.view = TeacherView(plan)
        width = student.decoder.classify.in_channels
        self.projections = nn.ModuleDict(
            {
                name: nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in widths)
                for name, widths in self.view.channels.items()
            }
        )

    @property
    def streams(self) -> tuple[str, ...]:  # type: ignore[override]
        """Unlabelled tiles only where they are distilled from."""
        return ("labelled", "unlabelled") if self.options["unlabelled"] else ("labelled",)

    def prepare(self, root: Path) -> None:
        """Read the teachers' weights, if they are to see what the student sees."""
        self.view.open(root)

    def teachers(self) -> list[nn.Module]:
        """The teachers that take part in each step."""
        return self.view.networks

    def loss(self, batches: Batches, step: int) -> Losses:
        """One student pass over all streams."""
        counts = [len(batches[name].image) for name in self.streams]
        features = self.student.embed(torch.cat([batches[name].image for name in self.streams]))
        parts = dict(zip(self.streams, features.split(counts), strict=True))
        errors = [self._error(parts[name], self.view.maps(batches[name])) for name in self.streams]
        supervised = self._supervised(parts["labelled"], batches["labelled"].label)
        distilled = torch.stack(errors).mean()
        return Losses(supervised + self.options["weight"] * distilled, {"cross_entropy": supervised, "distillation": distilled})

    def _supervised(self, features: Tensor, label: Tensor) -> Tensor:
        at = self.plan["settings"]["train"]["loss_at"]
        logits = self.student.classify(features)
        return cross_entropy(logits, label, stride=self.student.stride, ignore=self.plan["ignore"], smoothing=0.0, at=at)

    def _error(self, features: Tensor, maps: Mapping[str, list[Tensor]]) -> Tensor:
        errors = []
        for name, targets in maps.items():
            projections: Any = self.projections[name]
            for project, target in zip(projections, targets, strict=True):
                error = resize(project(features), target).float() - standardised(target)
                errors.append(error.square().mean())
        return torch.stack(errors).mean()


def standardised(maps: Tensor) -> Tensor:
    """Zero mean and unit spread of every channel over the batch: taps differ in scale by orders of magnitude."""
    spread, mean = torch.std_mean(maps.float(), dim=(0, 2, 3), keepdim=True)
    return (maps.float() - mean) / (spread + EPSILON)
