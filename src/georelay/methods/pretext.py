"""How the embedded teachers are taught: to tell the layers behind an image of which parts are hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.modality import modalities_of
from georelay.errors import UserError, suggestion
from georelay.methods.base import Batches, Losses, Method
from georelay.models.student import build_student


class PretextMethod(Method):
    """Bands of the paired raster, each standardised, at the student's own stride: which level each has, or its value.

    Levels were chosen in a trial: a ResNet's linear probes on five tasks were 2 to 5 points higher than after squared
    errors (700 steps against 493, one network each), an EfficientViT's no different (400 against 314).
    """

    streams: ClassVar[tuple[str, ...]] = ("unlabelled",)
    edges: Tensor

    def __init__(self, plan: Mapping[str, Any], student: Any) -> None:
        super().__init__(plan, student)
        self.places = _places(plan, self.options["targets"])
        self.register_buffer("edges", torch.tensor(self.options["edges"]), persistent=False)

    @classmethod
    def build_student(cls, plan: Mapping[str, Any]) -> Any:
        """A student whose logits are the targets' levels, or their values."""
        bands = sum(len(modality.bands) for modality in modalities_of(plan, plan["inputs"]))
        options = plan["settings"]["method"]
        levels = len(options["edges"]) + 1
        return build_student(plan["settings"]["model"], bands, len(options["targets"]) * levels)

    def loss(self, batches: Batches, step: int) -> Losses:
        """The error over cells, each by its share of valid pixels; hidden ones count like any other."""
        batch = batches["unlabelled"]
        assert batch.pair is not None
        told = self.student(self._hidden(batch.image)).float()
        seen = batch.valid.unsqueeze(1).float()
        truth, share = (_cells(map_, self.student.stride) for map_ in (batch.pair[:, self.places] * seen, seen))
        told = told[..., : truth.shape[-2], : truth.shape[-1]].contiguous()
        errors = self._errors(told, torch.where(share > 0, truth / share, 0.0))
        total = (share * errors).sum() / (share.sum() * errors.shape[1]).clamp(min=1)
        return Losses(total, {"error": total})

    def _errors(self, told: Tensor, truth: Tensor) -> Tensor:
        """The error of each target (B, targets, h, w)."""
        if not len(self.edges):
            return (told - truth).square()
        level = torch.bucketize(truth.contiguous(), self.edges).unsqueeze(2)
        told = told.view(len(told), truth.shape[1], len(self.edges) + 1, *truth.shape[2:])
        return -told.log_softmax(dim=2).gather(2, level).squeeze(2)

    def _hidden(self, image: Tensor) -> Tensor:
        """The image with blocks and bands set to their mean. Bands go in half of the images only: all is the usual case."""
        count, bands, height, width = image.shape
        if share := self.options["band_dropout"]:
            kept = (torch.rand(count, bands, 1, 1) >= share) | (torch.rand(count, 1, 1, 1) < 0.5)
            image = image * kept.to(image)
        if share := self.options["masked"]:
            block = self.options["block"]
            kept = torch.rand(count, 1, -(-height // block), -(-width // block)) >= share
            image = image * F.interpolate(kept.to(image), scale_factor=block)[..., :height, :width]
        return image


def _places(plan: Mapping[str, Any], targets: list[str]) -> list[int]:
    there = [band for modality in modalities_of(plan, plan["pair"]) for band in modality.bands]
    for target in targets:
        if target not in there:
            where = f"{plan['experiment']}: targets"
            raise UserError(f'no band "{target}" in the pair of task {plan["task"]}', where, suggestion(target, there))
    return [there.index(target) for target in targets]


def _cells(maps: Tensor, stride: int) -> Tensor:
    """Means over the cells of a stride; those on the border over the pixels that are there."""
    return F.avg_pool2d(maps, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else maps
