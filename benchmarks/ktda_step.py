"""A KTDA step as we arrange it against the same step as the public code arranges it: same networks, same batch, one run.

Ours: the teacher's maps come from the store, one pass of the student, FAM's 1x1 convolution where there are fewer cells,
channels-last memory, fused AdamW. Public: the teacher in each step, a second pass of the student for the distillation,
convolution before resizing, plain memory order, AdamW as torch has it by default. Both compute the same loss (stochastic
depth apart, which these students do not have). Whole steps in turns within one process, so that a busy machine slows
both; peak memory from a process of each. The last line is one JSON object.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from steps.plans import add_teacher, answer, plan_for, random_batch
from steps.turns import run

from georelay.batches.streams import Batch
from georelay.methods.ktda import KtdaMethod
from georelay.models import alignment
from georelay.models.decoders.blocks import resized
from georelay.params import load_params
from georelay.reading import PARAMS

ROW = "clouds-ktda"


@dataclass(frozen=True)
class Size:
    """One comparison: a row's student before a teacher on tiles of some side."""

    teacher: str
    side: int
    batch: int
    goal: float
    change: dict[str, Any]


WIDE = {"channels": 768, "stride": 14}
# As the paper's light students: no neck, SegFormer's decoder, one MLP block.
LIGHT = {"model": {"neck": [], "decoder": "segformer"}, "modulation": {"kind": "mlp"}}
SIZES = {
    "embedded": Size("attributes", 64, 16, 2.0, {}),
    "ViT-B/14 at 224, light student": Size("dinov2-b", 224, 4, 4.0, WIDE | LIGHT),
    "ViT-B/14 at 224, neck and UPerNet": Size("dinov2-b", 224, 4, 4.0, WIDE),
}


class Arrangement:
    """A student with its optimiser and a batch, ready to step one way or the other."""

    def __init__(self, label: str, way: str) -> None:
        params, size = load_params(PARAMS), SIZES[label]
        public = way == "public"
        self.public, self.name = public, size.teacher
        plan = plan_for(params, ROW, [size.teacher], size.change)
        self.teacher = add_teacher(params, plan, size.teacher)
        plan["settings"]["method"] |= {"second_forward": "official" if public else "none"}
        torch.manual_seed(0)
        order = torch.contiguous_format if public else torch.channels_last
        method = KtdaMethod(plan, KtdaMethod.build_student(plan)).train()
        self.method = method.to(memory_format=order)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(self.method.parameters(), lr=1e-3, fused=None if public else True)
        self.batch = random_batch(size.batch, size.side, order)
        self.stored = [map_.half() for map_ in answer(self.teacher, self.batch.image)]

    def step(self) -> None:
        """One whole step."""
        maps = answer(self.teacher, self.batch.image) if self.public else self.stored
        batch = Batch(**(vars(self.batch) | {"features": {self.name: tuple(maps)}}))
        with mock.patch.object(alignment, "_converted", first_convolved) if self.public else nullcontext():
            self.method.loss({"labelled": batch}, 0).total.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.optimiser.zero_grad()


def first_convolved(conv: Any, map_: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """FAM's level in the public order."""
    return resized(conv(map_), size)


if __name__ == "__main__":
    run("ktda_step", __doc__, {label: size.goal for label, size in SIZES.items()}, Arrangement)
