"""UniMatch V2: FixMatch with two strong views, whose features lose complementary channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from georelay.batches.streams import Batch
from georelay.methods.fixmatch import FixMatchMethod
from georelay.models.consistency import complementary_factors


class UniMatchMethod(FixMatchMethod):
    """Labelled tiles pass alone and whole; the two views share the channels of every level between them."""

    views: ClassVar[Mapping[str, int]] = {"unlabelled": 2}

    def student_pass(self, labelled: Batch, unlabelled: Batch, strong: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's logits of labelled tiles, then of both views."""
        maps = self.student.neck(self.student.backbone(torch.cat(strong)))
        if self.training:
            maps = self._shared_out(maps, len(strong[0]))
        views = self.student.classify(self.student.decoder.embed(maps))
        return torch.cat([self.student(labelled.image), views]), {}

    def _shared_out(self, maps: list[Tensor], batch: int) -> list[Tensor]:
        """One draw for all levels of the same width, as the public code has it for the levels of a transformer."""
        kept = torch.randperm(batch)[: round(batch * (1 - self.options["dropout"]))]
        factors: dict[int, Tensor] = {}
        for width in (map_.shape[1] for map_ in maps):
            if width not in factors:
                draw = torch.bernoulli(torch.full((batch, width), 0.5))
                factors[width] = torch.cat(complementary_factors(draw, kept))[:, :, None, None].to(maps[0].device)
        return [map_ * factors[map_.shape[1]] for map_ in maps]
