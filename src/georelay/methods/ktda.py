"""KTDA (arXiv 2412.06664): a student's stages brought to a frozen teacher's maps (FAM), then modulated (FMM), then decoded.

`modulation`, `kd_mode`, `alpha` and the rest are settings; docs/ktda.md says which of them are the public code's and
which ours. The alignment is part of the student: it is there at test time, the teacher is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.batches.streams import Batch
from georelay.errors import UserError
from georelay.methods.base import Batches, Group, Losses, Method, input_bands
from georelay.models.alignment import FeatureAlignment, LevelNorms, fused
from georelay.models.decoders.blocks import Decoder, resize
from georelay.models.decoders.fcn import FcnHead
from georelay.models.distillation import distillation_loss
from georelay.models.losses import cross_entropy, focal_loss
from georelay.models.modulation import FeatureModulation
from georelay.models.student import build_backbone, build_head, full_size
from georelay.teachers.view import TeacherView


class KtdaStudent(nn.Module):
    """Backbone, output norms, FAM, neck and FMM, decoder. The logits span the image exactly, so there is no stride."""

    stride = None

    def __init__(
        self,
        backbone: Any,
        norms: nn.Module,
        fam: FeatureAlignment,
        neck: nn.Module,
        decoder: Decoder,
        fmm: nn.Module,
        *,
        strides: Sequence[int],
        fuse: bool,
        position: str,
    ) -> None:
        super().__init__()
        self.backbone, self.norms, self.fam, self.neck = backbone, norms, fam, neck
        self.decoder, self.fmm = decoder, fmm
        self.strides, self.fuse, self.position = strides, fuse, position

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, classes, h, w) that span the image."""
        return self.trimmed(self.decoder(self.refine(self.align(image))), image)

    def align(self, image: Tensor) -> list[Tensor]:
        """FAM's maps, one a level, on grids of ceil(side / stride) cells."""
        height, width = self._padded(image)
        padded = F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]))
        sizes = [(ceil(height / stride), ceil(width / stride)) for stride in self.strides]
        aligned: list[Tensor] = self.fam(self.norms(self.backbone(padded)), sizes)
        return aligned

    def refine(self, aligned: Sequence[Tensor]) -> list[Tensor]:
        """What the decoder reads."""
        maps = fused(aligned) if self.fuse else list(aligned)
        for part in (self.neck, self.fmm) if self.position == "after_neck" else (self.fmm, self.neck):
            maps = part(maps)
        return maps

    def take_final_norm(self, tensors: Mapping[str, Tensor]) -> None:
        """A ConvNeXt classifier has the norm of the last stage before its head; the other stages' start afresh."""
        state = {key: tensors[f"head.norm.{key}"] for key in ("weight", "bias") if f"head.norm.{key}" in tensors}
        if state and isinstance(self.norms, LevelNorms):
            self.norms.norms[-1].load_state_dict(state)

    def trimmed(self, logits: Tensor, image: Tensor) -> Tensor:
        """Logits that span what was aligned, cut to the image where that was padded."""
        size = self._padded(image)
        if size == tuple(image.shape[-2:]):
            return logits
        return full_size(logits, None, size)[..., : image.shape[-2], : image.shape[-1]]

    def _padded(self, image: Tensor) -> tuple[int, int]:
        """The image's size in whole cells of the backbone, so that all levels span the same."""
        multiple = self.backbone.strides[-1]
        height, width = (side + -side % multiple for side in image.shape[-2:])
        return height, width


class KtdaMethod(Method):
    """Cross-entropy of decoder and auxiliary heads, and the distance of the aligned maps to the teacher's."""

    def __init__(self, plan: Mapping[str, Any], student: KtdaStudent) -> None:
        super().__init__(plan, student)
        self.view = TeacherView(plan)
        widths, auxiliary = student.fam.widths, self.options["auxiliary"]
        _require_alike(plan, widths, student.strides)
        levels = auxiliary["levels"] if auxiliary["weight"] else []
        _require_levels(plan, levels, 1 if self.options["fuse"] else len(widths))
        facts = (auxiliary["width"], len(plan["classes"]), plan["settings"]["model"]["dropout"])
        self.heads = nn.ModuleList(FcnHead(widths[level], *facts) for level in levels)
        student.backbone.requires_grad_(not self.options["freeze_backbone"])

    @classmethod
    def build_student(cls, plan: Mapping[str, Any]) -> KtdaStudent:
        """A student with random weights. FMM's leave the generator as it was: rows that differ in it share all others."""
        model, options = plan["settings"]["model"], plan["settings"]["method"]
        backbone = build_backbone(model, input_bands(plan))
        strides, widths = (_each(plan, key, len(backbone.channels)) for key in ("stride", "channels"))
        _require_one_grid(plan, strides, widths)
        norms = LevelNorms(backbone.channels) if options["output_norm"] else nn.Identity()
        fam = FeatureAlignment(backbone.channels, widths)
        kept = 1 if options["fuse"] else len(widths)
        decoder, neck = build_head(model, widths[:kept], strides[:kept], len(plan["classes"]))
        change = {key: value for key, value in options["modulation"].items() if key != "position"}
        with torch.random.fork_rng(devices=[]):
            fmm = nn.Identity() if change["kind"] == "none" else FeatureModulation(widths[:kept], **change)
        facts = {"strides": strides, "fuse": options["fuse"], "position": options["modulation"]["position"]}
        return KtdaStudent(backbone, norms, fam, neck or nn.Identity(), decoder, fmm, **facts)

    @property
    def streams(self) -> tuple[str, ...]:  # type: ignore[override]
        """Unlabelled tiles only where they are distilled from."""
        return ("labelled", "unlabelled") if self.options["unlabelled"] and self.distils else ("labelled",)

    @property
    def distils(self) -> bool:
        """Whether a teacher has a say."""
        return bool(self.plan["teachers"]) and self.options["distill_weight"] > 0

    def prepare(self, root: Path) -> None:
        """Read the teacher's weights, if it is to see what the student sees."""
        self.view.open(root)

    def teachers(self) -> list[nn.Module]:
        """The teacher, where it takes part in each step."""
        return self.view.networks

    def train(self, mode: bool = True) -> KtdaMethod:
        """Training mode for all but the teacher and a frozen backbone."""
        super().train(mode)
        if self.options["freeze_backbone"]:
            self.student.backbone.eval()
        return self

    def parameter_groups(self) -> dict[str, list[Group]]:
        """LayerNorms that are named a norm do not decay, as in the public code; `decay_norms` decays them too."""
        spared = set() if self.options["decay_norms"] else _named_norms(self)
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        decayed = Group([parameter for parameter in trained if parameter not in spared])
        others = Group([parameter for parameter in trained if parameter in spared], weight_decay=0.0)
        return {"main": [group for group in (decayed, others) if group.parameters]}

    def loss(self, batches: Batches, step: int) -> Losses:
        """One student pass over all streams; a second one for the distillation where the public code has it."""
        given, labelled = [batches[name] for name in self.streams], batches["labelled"]
        image = torch.cat([batch.image for batch in given])
        aligned = self.student.align(image)
        parts = self._supervised([map_[: len(labelled.image)] for map_ in aligned], labelled)
        total = self.options["supervised_weight"] * torch.stack(list(parts.values())).sum()
        if self.distils:
            if self.options["second_forward"] == "official":
                aligned = self.student.align(image)  # other draws of stochastic depth
            parts["distillation"] = self._distilled(aligned, given)
            total = total + self.options["distill_weight"] * parts["distillation"]
        return Losses(total, parts)

    def _supervised(self, aligned: list[Tensor], batch: Batch) -> dict[str, Tensor]:
        """The losses of the decoder and of the auxiliary heads, weighted."""
        maps, auxiliary, focal = self.student.refine(aligned), self.options["auxiliary"], self.options["focal"]
        logits = self.student.trimmed(self.student.decoder(maps), batch.image)
        parts = {"cross_entropy": self._cross_entropy(logits, batch)}
        if self.heads:
            found = [head(maps[level]) for head, level in zip(self.heads, auxiliary["levels"], strict=True)]
            errors = [self._cross_entropy(self.student.trimmed(some, batch.image), batch) for some in found]
            parts["auxiliary"] = auxiliary["weight"] * torch.stack(errors).mean()
        if focal["weight"]:
            shape = {key: focal[key] for key in ("gamma", "alpha")}
            parts["focal"] = focal["weight"] * focal_loss(logits, batch.label, stride=None, ignore=self.plan["ignore"], **shape)
        return parts

    def _cross_entropy(self, logits: Tensor, batch: Batch) -> Tensor:
        at, over_all = self.plan["settings"]["train"]["loss_at"], self.options["divide_by"] == "all"
        return cross_entropy(logits, batch.label, stride=None, ignore=self.plan["ignore"], at=at, over_all=over_all)

    def _distilled(self, aligned: Sequence[Tensor], batches: Sequence[Batch]) -> Tensor:
        taps = [next(iter(self.view.maps(batch).values())) for batch in batches]
        targets = [torch.cat(maps) for maps in zip(*taps, strict=True)]
        own = fused(aligned) if self.options["fuse"] and len(targets) == 1 else aligned
        if len(targets) == 1:
            targets = targets * len(own)  # one map is the target of every level
        targets = [_on_grid(target, map_) for target, map_ in zip(targets, own, strict=True)]
        kept = ("alpha", "temperature", "axis", "reduction")
        chosen = {key: self.options["kd"][key] for key in kept} | {"fuse": self.options["fuse"]}
        return distillation_loss(own, targets, mode=self.options["kd_mode"], **chosen)


def _on_grid(target: Tensor, own: Tensor) -> Tensor:
    """A teacher's map on FAM's grid: means of its cells where they are finer."""
    if target.shape[-1] > own.shape[-1] or target.shape[-2] > own.shape[-2]:
        return F.adaptive_avg_pool2d(target, (own.shape[-2], own.shape[-1]))
    return resize(target, own)


def _each(plan: Mapping[str, Any], key: str, count: int) -> list[int]:
    """A setting that is one number for all levels or a list of one each, as a list."""
    value = plan["settings"]["method"][key]
    values = value if isinstance(value, list) else [value] * count
    if len(values) != count:
        where = f"experiments.{plan['experiment']}.{key}"
        raise UserError(f"{len(values)} numbers for {count} levels", where, "give one, or as many as model.stages")
    return values


def _require_levels(plan: Mapping[str, Any], levels: Sequence[int], count: int) -> None:
    """Auxiliary heads read maps that are there."""
    if wrong := [level for level in levels if not 0 <= level < count]:
        where = f"experiments.{plan['experiment']}.auxiliary.levels"
        hint = "`fuse` leaves level 0 alone" if plan["settings"]["method"]["fuse"] else ""
        raise UserError(f"no level {wrong[0]}: the decoder reads {count}, counted from 0", where, hint)


def _require_one_grid(plan: Mapping[str, Any], strides: Sequence[int], widths: Sequence[int]) -> None:
    """Maps can only be summed where they are alike."""
    if plan["settings"]["method"]["fuse"] and (len(set(strides)) > 1 or len(set(widths)) > 1):
        what = f"maps of {list(widths)} channels at strides {list(strides)} cannot be summed"
        raise UserError(what, f"experiments.{plan['experiment']}.fuse", "give `channels` and `stride` one number each")


def _require_alike(plan: Mapping[str, Any], widths: Sequence[int], strides: Sequence[int]) -> None:
    """The teacher's maps must have the widths that FAM is told to reach, and its strides or some that divide them."""
    for name, card in plan["teachers"].items():
        taps, where = card["taps"], f"experiments.{plan['experiment']}"
        if len(taps) not in (1, len(widths)):
            raise UserError(f"{len(taps)} taps of teacher {name} for {len(widths)} levels", f"{where}.model.stages")
        for level, tap in enumerate(taps * (len(widths) // len(taps))):
            for key, own, theirs in (("channels", widths[level], tap["channels"]), ("stride", strides[level], tap["stride"])):
                # At a size of its own a teacher's cells are of another size in the tile.
                free = key == "stride" and (card["settings"]["size"] is not None or own % theirs == 0)
                if own != theirs and not free:
                    what = f"level {level} has {key} {own}, tap {tap['tap']} of teacher {name} has {theirs}"
                    raise UserError(what, f"{where}.{key}", f"set {key}: {[tap[key] for tap in taps]}")


def _named_norms(module: nn.Module) -> set[nn.Parameter]:
    """Parameters of LayerNorms whose name has `norm` in it: those of stems and of down-sampling have not."""
    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.LayerNorm)]
    return {parameter for name, layer in layers if "norm" in name for parameter in layer.parameters()}
