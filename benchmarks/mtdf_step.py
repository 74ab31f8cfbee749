"""An RS-MTDF step as we arrange it against the same step as the public code arranges it: same networks, batch and loss.

Ours: the teachers' maps come from the store, moved and mixed as the image was; one pass of the student, whose deepest map
stands for both teachers' views; channels-last memory, fused AdamW. Public: both teachers see the mixed strong images in
each step; the student, and the average that answers, pass over each image twice, once at the size of the second
teacher; both teachers are copied with the average; plain memory order, AdamW as torch has it by default. Whole steps in
turns within one process; peak memory from a process of each. The last line is one JSON object.
"""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from steps.plans import add_teacher, answer, plan_for, random_batch
from steps.turns import run
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.cutmix import draw_cutmix
from georelay.batches.streams import Batch
from georelay.methods.mtdf import MtdfMethod, MtdfStudent
from georelay.params import load_params
from georelay.reading import PARAMS

ROW = "landcover-mtdf"


@dataclass(frozen=True)
class Size:
    """One comparison: a row's student before two teachers on tiles of some side."""

    teachers: tuple[str, str]
    side: int
    batch: int
    goal: float
    change: dict[str, Any]


# The paper's student: DINOv2-S under DPT, the deepest map translated.
VIT = {
    "model": {
        "backbone": "vit_small_patch14_dinov2.lvd142m",
        "arguments": {"dynamic_img_size": True},
        "stages": [2, 5, 8, 11],
        "normed": [2, 5, 8, 11],
        "positions": "dinov2",
        "decoder": "dpt",
        "width": 64,
    },
    "place": "encoder",
    "hidden": 1024,
}
SIZES = {
    "embedded": Size(("attributes", "restoration"), 64, 16, 3.0, {"place": "encoder"}),
    "ViT-B/14 and ViT-L/14 at 224": Size(("mtdf-dinov2-b", "mtdf-clip-l"), 224, 2, 6.0, VIT),
}


class TwicePassing(MtdfStudent):
    """The public student: another pass over the image at the size of the last teacher, whatever that size is."""

    def _seen(self, image: Tensor, deepest: Tensor, size: int | None) -> Tensor:
        if size is None:
            return deepest
        shown = F.interpolate(image, size=[size, size], mode="bilinear", align_corners=True)
        found: Tensor = self.backbone(shown)[-1]
        return found


class Arrangement:
    """A student with its average, its optimiser and a batch, ready to step one way or the other."""

    def __init__(self, label: str, way: str) -> None:
        params, size = load_params(PARAMS), SIZES[label]
        public = way == "public"
        self.public = public
        plan = plan_for(params, ROW, size.teachers, size.change)
        self.teachers = {name: add_teacher(params, plan, name) for name in size.teachers}
        torch.manual_seed(0)
        order = torch.contiguous_format if public else torch.channels_last
        student = MtdfMethod.build_student(plan)
        if public:
            student.__class__ = TwicePassing
            student.sizes = {size.teachers[0]: None, size.teachers[1]: size.side}
            self.copies = deepcopy(self.teachers)  # they are sub-modules of the averaged model there
        self.method = MtdfMethod(plan, student).train().to(memory_format=order)  # type: ignore[call-overload]
        trained = [parameter for parameter in self.method.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=1e-3, fused=None if public else True)
        self.batches = self._batches(size, order)

    def _batches(self, size: Size, order: torch.memory_format) -> dict[str, Batch]:
        labelled, unlabelled = (random_batch(size.batch, size.side, order) for _ in range(2))
        mix = draw_cutmix(np.random.default_rng(0), size.batch, size.side, 1.0, [0.02, 0.4], [0.3, 3.333], 1)
        strong = (unlabelled.image + 0.1 * torch.randn_like(unlabelled.image),)
        batches = {"labelled": labelled, "unlabelled": replace(unlabelled, strong=strong, mixes=(mix,))}
        return {name: replace(batch, features=self._stored(batch.image)) for name, batch in batches.items()}

    def _stored(self, image: Tensor) -> dict[str, tuple[Tensor, ...]]:
        return {name: tuple(map_.half() for map_ in answer(teacher, image)) for name, teacher in self.teachers.items()}

    def _taught(self, labelled: Batch, unlabelled: Batch, strong: list[Tensor]) -> dict[str, Tensor]:
        shown = torch.cat([labelled.image, *strong])
        return {name: answer(teacher, shown)[-1] for name, teacher in self.teachers.items()}

    def step(self) -> None:
        """One whole step."""
        with mock.patch.object(self.method, "_taught", self._taught) if self.public else nullcontext():
            self.method.loss(self.batches, 0).total.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.method.after_step(0)


if __name__ == "__main__":
    run("mtdf_step", __doc__, {label: size.goal for label, size in SIZES.items()}, Arrangement)
