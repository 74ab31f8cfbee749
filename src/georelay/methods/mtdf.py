"""RS-MTDF (arXiv 2506.08772): FixMatch whose student translates its features into those of several frozen teachers.

The translated words are compared with what the teachers say, and fused back into the student, at test time too: the
translators stay, the teachers go. `teacher_view: online` is the paper's: the teachers see the strong, mixed view.
`cached`: their stored maps of the clean tile are moved and mixed as the image was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.batches.streams import Batch
from georelay.methods.base import input_bands
from georelay.methods.fixmatch import FixMatchMethod
from georelay.models.fusion import TeacherFusion, affinity_error, discrepancy, translation_error
from georelay.models.student import Student, build_student
from georelay.teachers.view import TeacherView


class MtdfStudent(nn.Module):
    """A student and the translators of its teachers. `sizes` are the teachers' own input sizes, None: the student's."""

    def __init__(
        self, student: Student, fusion: TeacherFusion, sizes: Mapping[str, int | None], *, place: str, view: str
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.decoder = student.backbone, student.neck, student.decoder
        self.fusion, self.sizes = fusion, dict(sizes)
        self.stride, self.place, self.view = student.stride, place, view

    def forward(self, image: Tensor) -> Tensor:
        """Logits at the student's own stride."""
        return self.told(image)[0]

    def told(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Logits; of each teacher the map that is translated, and the words."""
        maps = list(self.backbone(image))
        if self.place == "decoder":
            features = self.decoder.embed(self.neck(maps))
            sources = dict.fromkeys(self.sizes, features)
            words = self.fusion.translated(sources)
            fused = self.fusion(features, words)
        else:
            sources = {name: self._seen(image, maps[-1], size) for name, size in self.sizes.items()}
            words = self.fusion.translated(sources)
            fused = self.decoder.embed(self.neck([*maps[:-1], self.fusion(maps[-1], words)]))
        return self.decoder.read(fused), sources, words

    def _seen(self, image: Tensor, deepest: Tensor, size: int | None) -> Tensor:
        """The deepest map of the image as large as a teacher sees it, so that both have one grid."""
        if size is None or self.view == "shared" or list(image.shape[-2:]) == [size, size]:
            return deepest
        found: Tensor = self.backbone(F.interpolate(image, size=[size, size], mode="bilinear", align_corners=True))[-1]
        return found


class MtdfMethod(FixMatchMethod):
    """FixMatch, and the error of the translated features on labelled tiles and mixed strong views."""

    def __init__(self, plan: Mapping[str, Any], student: MtdfStudent) -> None:
        super().__init__(plan, student)
        self.teacher_view = TeacherView(plan)

    @classmethod
    def build_student(cls, plan: Mapping[str, Any]) -> MtdfStudent:
        """A student with random weights; of each teacher the last tap counts."""
        options, cards = plan["settings"]["method"], plan["teachers"]
        student = build_student(plan["settings"]["model"], input_bands(plan), len(plan["classes"]))
        channels = student.decoder.classify.in_channels if options["place"] == "decoder" else student.backbone.channels[-1]
        widths = {name: card["taps"][-1]["channels"] for name, card in cards.items()}
        sizes = {name: card["settings"]["size"] for name, card in cards.items()}
        kind = options["fusion"]
        attended = {name for name, size in sizes.items() if kind == "attention" or (kind == "attention-to-resized" and size)}
        facts = {"own": options["own"], "share": options["share"], "fused": kind != "none", "attended": attended}
        fusion = TeacherFusion(channels, widths, options["hidden"], **facts)
        return MtdfStudent(student, fusion, sizes, place=options["place"], view=options["student_view"])

    def prepare(self, root: Path) -> None:
        """Read the teachers' weights, if they are to see what the student sees."""
        self.teacher_view.open(root)

    def teachers(self) -> list[nn.Module]:
        """The teachers that take part in each step."""
        return self.teacher_view.networks

    def student_pass(self, labelled: Batch, unlabelled: Batch, strong: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of labelled tiles and strong views, and the distillation on both."""
        logits, sources, words = self.student.told(torch.cat([labelled.image, *strong]))
        if not self.options["distill_weight"]:
            return logits, {}
        taught = self._taught(labelled, unlabelled, strong)
        return logits, {"distillation": self.options["distill_weight"] * self._error(sources, words, taught)}

    def _error(self, sources: Mapping[str, Tensor], words: Mapping[str, Tensor], taught: Mapping[str, Tensor]) -> Tensor:
        if self.options["error"] == "affinity":
            return affinity_error(sources, taught)
        error = translation_error(words, taught)
        return error + discrepancy(words, taught) if self.options["error"] == "mmd" else error

    def _taught(self, labelled: Batch, unlabelled: Batch, strong: list[Tensor]) -> dict[str, Tensor]:
        """What each teacher says of the labelled tiles, then of the mixed views."""
        (view,), (mix,) = strong, unlabelled.mixes
        if self.teacher_view.online:
            # What is shown where follows the boxes, as the pixels did.
            pictured = mix.apply(unlabelled.shown, nearest=True)
            answers = self.teacher_view.maps(replace(unlabelled, image=view, valid=pictured, padding=None))
            mixed = {name: maps[-1] for name, maps in answers.items()}
        else:
            mixed = {name: mix.apply(maps[-1]) for name, maps in self.teacher_view.maps(unlabelled).items()}
        plain = self.teacher_view.maps(labelled)
        return {name: torch.cat([plain[name][-1], map_]) for name, map_ in mixed.items()}
