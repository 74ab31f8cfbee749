"""FixMatch for segmentation: what an averaged student is sure of on a weak view labels a strong, mixed view of the same tile.

As the public code of UniMatch V2 has it: the average answers in eval mode, strong views are mixed by CutMix with the
batch in reversed order, labels and confidences alike, and the loss is divided by all valid pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.cutmix import CutMix
from georelay.batches.streams import Batch
from georelay.methods.base import Batches, Group, Losses, Method
from georelay.models.consistency import confident_cross_entropy, hard_cross_entropy, pseudo_labels, share_of
from georelay.models.ema import Average
from georelay.models.losses import cross_entropy
from georelay.models.student import full_size


class Answers(NamedTuple):
    """What the average says of the weak views: class and probability of every place, and where there are data."""

    label: Tensor
    confidence: Tensor
    valid: Tensor

    def mixed(self, mix: CutMix) -> Answers:
        """The answers to images that `mix` has mixed."""
        return Answers(*(mix.apply(map_, nearest=True) for map_ in self))


class FixMatchMethod(Method):
    """Cross-entropy on labelled tiles, and on strong views of unlabelled ones where the average is sure."""

    streams: ClassVar[tuple[str, ...]] = ("labelled", "unlabelled")
    views: ClassVar[Mapping[str, int]] = {"unlabelled": 1}

    def __init__(self, plan: Mapping[str, Any], student: Any) -> None:
        super().__init__(plan, student)
        self.average = Average(student, self.options["decay"])

    @property
    def exported(self) -> Any:
        """The student or its average."""
        return self.average.network if self.options["tested"] == "average" else self.student

    def loss(self, batches: Batches, step: int) -> Losses:
        """One student pass over labelled tiles and strong views together."""
        labelled, unlabelled = batches["labelled"], batches["unlabelled"]
        answers = self.answers(unlabelled)
        strong = self.mixed_views(unlabelled)
        logits, further = self.student_pass(labelled, unlabelled, strong)
        supervised = self.supervised(logits[: len(labelled.image)], labelled)
        views = logits[len(labelled.image) :].chunk(len(strong))
        errors = [self.consistency(view, answers.mixed(mix)) for view, mix in zip(views, unlabelled.mixes, strict=True)]
        losses = self.weighed(supervised, torch.stack(errors).mean(), further)
        return Losses(losses.total, {**losses.parts, **self.record(answers, unlabelled)})

    def student_pass(self, labelled: Batch, unlabelled: Batch, strong: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's logits of labelled tiles, then of all strong views; and what else is minimised, weighted."""
        return self.student(torch.cat([labelled.image, *strong])), {}

    def weighed(self, supervised: Tensor, consistency: Tensor, further: Mapping[str, Tensor]) -> Losses:
        """The loss and its parts."""
        total = self.options["supervised_weight"] * supervised + self.options["consistency_weight"] * consistency
        for term in further.values():
            total = total + term
        return Losses(total, {"cross_entropy": supervised, "consistency": consistency, **further})

    def record(self, answers: Answers, batch: Batch) -> dict[str, Tensor]:
        """Of the answers: shares that counted and, where labels are known, that are right; mean confidence. None teaches."""
        sure = share_of(answers.confidence >= self.options["threshold"], answers.valid)
        guess = answers.label if self._fine else _pixels(answers.label, self.student.stride, batch.label)
        right = share_of(guess == batch.label, batch.label != self.plan["ignore"])
        return {"sure": sure, "right": right, "confidence": share_of(answers.confidence, answers.valid)}

    @torch.no_grad()
    def answers(self, batch: Batch) -> Answers:
        """What the average says of the weak views, at the resolution at which losses are taken."""
        logits = self.average.network(batch.image)
        valid = batch.valid
        if self._fine:
            logits = full_size(logits, self.student.stride, (valid.shape[-2], valid.shape[-1]))
        else:
            valid = _cells(valid, self.student.stride, logits)
        return Answers(*pseudo_labels(logits), valid)

    def mixed_views(self, batch: Batch) -> list[Tensor]:
        """The strong views as the student sees them."""
        return [mix.apply(view) for mix, view in zip(batch.mixes, batch.strong, strict=True)]

    def supervised(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of labelled tiles, of the worst pixels alone where that is set."""
        ignore, hard = self.plan["ignore"], self.options["hard"]
        if hard["least"]:
            fine = full_size(logits, self.student.stride, (batch.label.shape[-2], batch.label.shape[-1]))
            return hard_cross_entropy(fine, batch.label, ignore=ignore, threshold=hard["threshold"], least=hard["least"])
        at = self.plan["settings"]["train"]["loss_at"]
        return cross_entropy(logits, batch.label, stride=self.student.stride, ignore=ignore, at=at)

    def consistency(self, logits: Tensor, answers: Answers) -> Tensor:
        """The loss of one strong view."""
        if self._fine:
            logits = full_size(logits, self.student.stride, (answers.label.shape[-2], answers.label.shape[-1]))
        return confident_cross_entropy(logits, *answers, self.options["threshold"])

    def parameter_groups(self) -> dict[str, list[Group]]:
        """What is not the backbone learns `head_rate` times as fast."""
        backbone = list(self.student.backbone.parameters())
        others = [parameter for parameter in self.parameters() if parameter.requires_grad and parameter not in set(backbone)]
        return {"main": [Group(backbone), Group(others, lr_scale=self.options["head_rate"])]}

    def after_step(self, step: int) -> None:
        """The average follows."""
        self.average.update(self.student, step)

    @property
    def _fine(self) -> bool:
        return bool(self.plan["settings"]["train"]["loss_at"] == "label") or not isinstance(self.student.stride, int)


def _pixels(cells: Tensor, stride: int, like: Tensor) -> Tensor:
    """Every pixel has what its cell has."""
    return cells.repeat_interleave(stride, -2).repeat_interleave(stride, -1)[..., : like.shape[-2], : like.shape[-1]]


def _cells(valid: Tensor, stride: int, logits: Tensor) -> Tensor:
    """Cells of which at least half has data; what overhangs the image has none."""
    rows, columns = (side * stride for side in logits.shape[-2:])
    padded = F.pad(valid.float(), (0, columns - valid.shape[-1], 0, rows - valid.shape[-2]))
    return F.avg_pool2d(padded.unsqueeze(1), stride).squeeze(1) >= 0.5
