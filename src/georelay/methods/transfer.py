"""A teacher's own network as the student: frozen under a fresh decoder (what are its features worth?), or trained on.

The control that every distillation owes: why imitate a network that one could simply use?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from georelay.batches.modality import modality_of
from georelay.errors import UserError
from georelay.files import require_digest
from georelay.methods.base import Batches, Group, Losses, Updater, mean_losses
from georelay.methods.supervised import SupervisedMethod
from georelay.models.backbones import adapt_stem
from georelay.models.student import Student, build_head
from georelay.teachers.intake import fitted, make_intake
from georelay.teachers.network import build_network, modality_for, open_teacher, seen_in
from georelay.teachers.view import FOLDER

LOGITS = "logits"


class TeacherBackbone(nn.Module):
    """From the student's normalised image to the maps of a teacher's network, which reads it by its own statistics."""

    def __init__(self, plan: Mapping[str, Any], frozen: bool) -> None:
        super().__init__()
        (self.name, card), *_ = plan["teachers"].items()
        self.card, self.frozen = {**card, "name": self.name}, frozen
        self.settings = card["settings"]
        self.modality = modality_of(plan, modality_for(self.card, plan["modalities"]))
        if plan["inputs"] != [self.modality.name]:
            what = f"teacher {self.name} reads {self.modality.name}, the student is given {', '.join(plan['inputs'])}"
            raise UserError(what, f"experiments.{plan['experiment']}.inputs", f"set inputs: [{self.modality.name}]")
        self.seen = seen_in(plan["modalities"][self.modality.name], plan["train_domain"])
        self.intake = make_intake(self.settings, self.name, self.seen)
        self.network = build_network(self.settings, card["taught"], None)
        if card["taught"] is None and self.settings["bands"] == "all":
            adapt_stem(self.network.net, len(self.intake.places))
        self.channels, self.strides = self.network.channels, self.network.strides
        if frozen:
            self.requires_grad_(False)
        else:
            self._leave_unused()

    def forward(self, image: Tensor) -> list[Tensor]:
        """One map a tap."""
        raw = image.float() * self.modality.spread.to(image.device) + self.modality.centre.to(image.device)
        shown = self.intake(raw, torch.ones_like(raw[:, :1], dtype=torch.bool))
        options = (self.settings["size"], self.settings["fit"], self.settings["align_corners"])
        maps: list[Tensor] = self.network(fitted(shown, *options, self.network.multiple)[0])
        return maps

    def train(self, mode: bool = True) -> TeacherBackbone:
        """A frozen network keeps its statistics."""
        return super().train(mode and not self.frozen)

    def load(self, root: Path) -> None:
        """Take the teacher's weights."""
        weights = root / FOLDER / f"{self.name}.safetensors"
        require_digest(weights, self.card["sha256"], f"georelay teach {self.name}")
        self.network.load_state_dict(open_teacher(self.card, weights, self.seen).network.state_dict())

    def _leave_unused(self) -> None:
        """What does not lead to a tap, such as a classifier, is not trained."""
        side = self.network.multiple
        maps = self.network.eval()(torch.zeros(1, len(self.intake.places), side, side))
        own = list(self.network.parameters())
        found = torch.autograd.grad(sum(map_.sum() for map_ in maps), own, allow_unused=True)  # type: ignore[arg-type]
        for parameter, gradient in zip(own, found, strict=True):
            parameter.requires_grad_(gradient is not None)


class WholeTeacher(nn.Module):
    """A teacher of the task's own classes: its answer is its own."""

    def __init__(self, backbone: TeacherBackbone, classes: int, where: str) -> None:
        super().__init__()
        taps = backbone.settings["taps"]
        if LOGITS not in taps:
            what = f"teacher {backbone.name} keeps no logits, only {taps}"
            raise UserError(what, f"{where}.whole", f"add {LOGITS} to its taps, or set it to false")
        self.backbone, self.place = backbone, taps.index(LOGITS)
        if backbone.channels[self.place] != classes:
            what = f"teacher {backbone.name} tells {backbone.channels[self.place]} classes apart, the task has {classes}"
            raise UserError(what, f"{where}.teachers", "use a teacher of this task, or `whole: false`")
        self.stride: float | None = backbone.strides[self.place]

    def forward(self, image: Tensor) -> Tensor:
        """Logits at the teacher's own stride."""
        logits: Tensor = self.backbone(image)[self.place]
        return logits


class TransferMethod(SupervisedMethod):
    """Cross-entropy of a decoder on a teacher's maps, or of the teacher's own."""

    @classmethod
    def build_student(cls, plan: Mapping[str, Any]) -> Student | WholeTeacher:
        """The teacher's network with random weights, under the decoder of `settings.model` or with its own."""
        backbone = TeacherBackbone(plan, plan["settings"]["method"]["frozen"])
        settings, where = plan["settings"], f"experiments.{plan['experiment']}"
        if settings["model"]["weights"]:
            raise UserError("the weights are the teacher's", f"{where}.model.weights", "set it to null")
        if backbone.settings["size"] is not None:
            what = f"teacher {backbone.name} sees windows of any size at {backbone.settings['size']} pixels, so scales differ"
            raise UserError(what, f"teachers.{backbone.name}.size", "set it to null")
        classes = len(plan["classes"])
        student: Student | WholeTeacher
        if settings["method"]["whole"]:
            student = WholeTeacher(backbone, classes, where)
        else:
            student = Student(backbone, *build_head(settings["model"], backbone.channels, backbone.strides, classes))
        if backbone.settings["fit"] == "resize":
            student.stride = None  # its maps span the image, whatever their number of cells
        return student

    def prepare(self, root: Path) -> None:
        """Read the teacher's weights."""
        self.student.backbone.load(root)

    @property
    def trains(self) -> bool:
        """Whether anything does: a teacher that is whole and frozen is only looked at."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def parameter_groups(self) -> dict[str, list[Group]]:
        """No optimiser where nothing is trained."""
        return super().parameter_groups() if self.trains else {}

    def step(self, parts: Sequence[Batches], step: int, updater: Updater) -> Losses:
        """One update, if there is anything to update."""
        if self.trains:
            return super().step(parts, step, updater)
        with torch.no_grad(), updater.autocast():
            return mean_losses([self.loss(batches, step) for batches in parts])
