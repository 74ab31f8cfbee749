"""An ST-DASegNet step as we arrange it against the same step arranged otherwise: same networks, batch and mathematics.

Ours: averages answer without a graph, from the students' own maps; channels-last memory where it pays; SegFormer's head
mixes levels before it enlarges them; one fused optimiser for students and one for discriminators. Public, as the code of
its authors: answers keep their graph; plain memory order; seven optimisers as torch has them by default. Naive: besides,
the backbones see the images anew for the averages and anew for the discriminators. Before anything is timed, three steps
in double precision must give the same losses. Whole steps in turns within one process; peak memory from a process of
each. The last line is one JSON object.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from steps.plain_stda import PlainStep
from steps.plans import plan_for, random_batch
from steps.turns import OURS, run
from torch import Tensor

from georelay.methods.stdasegnet import StDaSegNetMethod
from georelay.models.device import memory_format
from georelay.params import load_params
from georelay.reading import PARAMS
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers

ROW = "crosscity-source-only"
OTHERS = ("naive", "public")
# As published: losses at every pixel, no clipping.
PUBLISHED = {"clip": 0.0, "loss_at": "label", "schedule": "constant", "warmup_steps": 0}


@dataclass(frozen=True)
class Size:
    """One comparison: a backbone and a decoder on tiles of some side."""

    side: int
    batch: int
    change: dict[str, Any]


def _settings(model: dict[str, Any], train: dict[str, Any], halvings: int = 2) -> dict[str, Any]:
    return {"model": model, "train": PUBLISHED | train, "discriminator": {"halvings": halvings}}


SIZES = {
    "embedded": Size(64, 16, _settings({"decoder": "segformer"}, {})),
    "MiT-B1 at 256": Size(
        256, 2, _settings({"backbone": "mit_b1", "stages": [0, 1, 2, 3], "decoder": "segformer", "width": 256}, {"lr": 6e-5})
    ),
    "ResNet-50 under DeepLab at 64": Size(
        64,
        2,
        _settings(
            {"backbone": "resnet50c", "arguments": {"output_stride": 8}, "decoder": "deeplab", "width": 512},
            # Wide convolutions of few cells: channels-last memory was slower than the public order on a CPU.
            {"optimizer": "sgd", "lr": 1e-3, "weight_decay": 5e-4, "channels_last": False},
            halvings=3,
        ),
    ),
}
GOAL = 1.5


class Arrangement:
    """Students, discriminators, optimisers and a batch, ready to step one way or another."""

    def __init__(self, label: str, way: str, dtype: torch.dtype = torch.float32) -> None:
        size = SIZES[label]
        plan = plan_for(load_params(PARAMS), ROW, (), size.change, "stdasegnet")
        train = plan["settings"]["train"]
        torch.manual_seed(0)
        order = memory_format(train) if way == OURS else torch.contiguous_format
        student = StDaSegNetMethod.build_student(plan)
        self.method = StDaSegNetMethod(plan, student).train().to(dtype, memory_format=order)  # type: ignore[call-overload]
        drawn = {name: random_batch(size.batch, size.side, order) for name in ("labelled", "target")}
        self.batches = {name: replace(batch, image=batch.image.to(dtype)) for name, batch in drawn.items()}
        self.done = 0
        if way == OURS:
            facts = (train, torch.device("cpu"), World(0, 1, 0), self.method.optimiser_settings())
            self.updater = Optimisers(self.method.parameter_groups(), *facts)
        else:
            self.plain = PlainStep(self.method, plan["ignore"], train, anew=way == "naive")
        self.ours = way == OURS

    def step(self) -> dict[str, Tensor]:
        """One whole step; its losses."""
        step, self.done = self.done, self.done + 1
        if not self.ours:
            return self.plain.step(self.batches, step)
        losses = self.method.step([self.batches], step, self.updater)
        return {"total": losses.total, **losses.parts}


def agree(label: str) -> None:
    """Stop where the ways of a size do not give the same losses."""
    ways = [Arrangement(label, way, torch.float64) for way in (OURS, *OTHERS)]
    for _ in range(3):
        found, *others = (way.step() for way in ways)
        for losses in others:
            for name, value in losses.items():
                torch.testing.assert_close(found[name].detach(), value.detach(), rtol=1e-9, atol=1e-12, msg=name)


if __name__ == "__main__":
    if "--peak" not in sys.argv:
        agree("embedded")
    run("stda_step", __doc__, dict.fromkeys(SIZES, GOAL), Arrangement, OTHERS)
