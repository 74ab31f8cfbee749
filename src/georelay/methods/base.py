"""What every method promises the training loop, and what the loop promises every method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from georelay.batches.modality import modalities_of
from georelay.batches.streams import Batch
from georelay.methods.options import METHODS
from georelay.models.student import build_student, full_size

# One batch of each stream that the method asked for, by the stream's name.
Batches = Mapping[str, Batch]


@dataclass(frozen=True)
class Losses:
    """What a step minimises, and its parts for the record."""

    total: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True)
class Group:
    """Parameters that one optimiser updates alike: with `lr_scale` times the plan's rate."""

    parameters: Sequence[nn.Parameter]
    lr_scale: float = 1.0
    weight_decay: float | None = None  # None: the plan's


class Updater(Protocol):
    """The loop's side of a step: a method decides what is minimised and in which order, never how."""

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the plan; forward passes run inside."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        ...

    def apply(self, name: str) -> None:
        """Average gradients over ranks, clip, let the optimiser `name` step, and clear its gradients."""
        ...


class Method(nn.Module, ABC):
    """A way to train `student`: owns it, whatever is trained beside it, and the losses.

    `student` maps an image to logits at `student.stride` and is all that is saved and predicts. A subclass gives
    `loss`; one with several optimisers also gives `parameter_groups` and `step`.
    """

    streams: ClassVar[tuple[str, ...]] = ("labelled",)
    views: ClassVar[Mapping[str, int]] = {}  # strong views of a stream, beside its image

    def __init__(self, plan: Mapping[str, Any], student: Any) -> None:
        super().__init__()
        self.plan, self.options = plan, plan["settings"]["method"]
        self.student = student

    @classmethod
    def build_student(cls, plan: Mapping[str, Any]) -> Any:
        """A student with random weights; needs nothing but the plan."""
        return build_student(plan["settings"]["model"], input_bands(plan), len(plan["classes"]))

    def prepare(self, root: Path) -> None:
        """Read what is needed besides the plan, such as a teacher's weights; called once, on the CPU, before training."""

    @property
    def exported(self) -> Any:
        """The student that is saved and scored, unless the run keeps an average of its own."""
        return self.student

    def teachers(self) -> list[nn.Module]:
        """Frozen networks: always in eval mode, never updated."""
        return []

    @abstractmethod
    def loss(self, batches: Batches, step: int) -> Losses:
        """The loss of one batch of each stream."""

    def predict(self, image: Tensor) -> Tensor:
        """Logits of every pixel, from the student alone."""
        return predict(self.student, image)

    def parameter_groups(self) -> dict[str, list[Group]]:
        """The groups of each optimiser by its name; all that requires a gradient under `main` by default."""
        return {"main": [Group([parameter for parameter in self.parameters() if parameter.requires_grad])]}

    def optimiser_settings(self) -> Mapping[str, Mapping[str, Any]]:
        """What an optimiser has of its own, by its name, in place of the plan's `train`: its kind, rate, decay."""
        return {}

    def step(self, parts: Sequence[Batches], step: int, updater: Updater) -> Losses:
        """One update from a batch that comes in equal parts (gradient accumulation)."""
        losses = []
        for batches in parts:
            with updater.autocast():
                losses.append(self.loss(batches, step))
            updater.backward(losses[-1].total / len(parts))
        updater.apply("main")
        return mean_losses(losses)

    def after_step(self, step: int) -> None:
        """Called when all optimisers have stepped: averages, queues."""

    def train(self, mode: bool = True) -> Method:
        """Training mode for all but the teachers."""
        super().train(mode)
        for teacher in self.teachers():
            teacher.eval()
        return self


def input_bands(plan: Mapping[str, Any]) -> int:
    """How many bands a plan's student reads."""
    return sum(len(modality.bands) for modality in modalities_of(plan, plan["inputs"]))


def predict(student: Any, image: Tensor) -> Tensor:
    """A student's logits of every pixel (B, classes, H, W), in float32."""
    return full_size(student(image).float(), student.stride, (image.shape[-2], image.shape[-1]))


def mean_losses(losses: Sequence[Losses]) -> Losses:
    """The mean of several losses, without their graphs."""
    total = torch.stack([loss.total.detach() for loss in losses]).mean()
    names = losses[0].parts
    return Losses(total, {name: torch.stack([loss.parts[name].detach() for loss in losses]).mean() for name in names})


def method_class(name: str) -> type[Method]:
    """The class of a method, imported only now: a run depends on its own method's file and no other's."""
    entry = METHODS[name]
    found: type[Method] = getattr(import_module(entry.module), entry.name)
    return found


def run_facts(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored with weights and must agree wherever they are used: classes, bands and their statistics, network."""
    inputs = {modality.name: modality.facts() for modality in modalities_of(plan, plan["inputs"])}
    facts = {"classes": plan["classes"], "inputs": plan["inputs"], "modalities": inputs, "method": plan["method"]}
    return facts | {"model": plan["settings"]["model"], "options": plan["settings"]["method"]}
