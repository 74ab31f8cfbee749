"""HFD-Net (arXiv 2210.08988): a student of one sensor that imitates a frozen teacher of another, of the same architecture.

A reconstruction: where the maps are compared (`at`), how (`loss`), and whether what imitates is thrown away (`mimic`)
or stays in the network (`hallucinate`) are settings, for the paper's equations are not public. Without weights this is
`supervised` to the bit: no teacher is read, nothing beside the student is drawn, unlabelled tiles are not asked for.
Both being of one architecture, the student may also start as the teacher, but for its first layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.batches.streams import Batch
from georelay.errors import UserError
from georelay.files import require_digest
from georelay.methods.base import Batches, Losses, Method
from georelay.models.backbones import stem_keys
from georelay.models.decoders.blocks import resized
from georelay.models.heterogeneous import (
    CELLWISE,
    believed,
    feature_error,
    logit_error,
    make_adapter,
    on_grid,
    ramp,
    shares,
    whole_cells,
)
from georelay.models.losses import cross_entropy
from georelay.models.student import Student, full_size
from georelay.models.weights import read_weights
from georelay.teachers.view import FOLDER, TeacherView

Maps = list[Tensor]
WIDTHLESS = ("at", "aff")  # errors between maps of any two widths
LOGITS = "logits"


class HallucinatingStudent(nn.Module):
    """A student that tells the teacher's maps E = psi(S) from its own and goes on with S + gamma E, gamma 0 at first."""

    def __init__(self, student: Student, at: str, tellers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.backbone, self.neck, self.decoder = student.backbone, student.neck, student.decoder
        self.stride, self.at = student.stride, at
        self.psi, self.gamma = nn.ModuleList(tellers), nn.Parameter(torch.zeros(len(tellers)))

    def forward(self, image: Tensor) -> Tensor:
        """Logits at the student's own stride."""
        return self.told(image)[1]

    def told(self, image: Tensor) -> tuple[Maps, Tensor]:
        """The teacher's maps as the student tells them, and the logits."""
        told: Maps = []

        def enriched(maps: Maps) -> Maps:
            told.extend(psi(map_) for psi, map_ in zip(self.psi, maps, strict=True))
            return [map_ + share * other for map_, share, other in zip(maps, self.gamma, told, strict=True)]

        return told, walk(self, image, self.at, enriched)[1]


class HfdNetMethod(Method):
    """Cross-entropy on labelled tiles; on all tiles the distance to the teacher's maps and the divergence from its logits."""

    def __init__(self, plan: Mapping[str, Any], student: Any) -> None:
        super().__init__(plan, student)
        self.view, options = TeacherView(plan), self.options
        _require_possible(plan, student.decoder)
        self.taps = _taps(plan) if self.distils else {}
        imitated = _words(plan) if options["feature_weight"] > 0 else []
        widths = list(zip(_widths(plan, student), (self.taps[word]["channels"] for word in imitated), strict=False))
        _require_widths(plan, widths)
        kept = widths if options["mode"] == "mimic" else []
        self.adapters = nn.ModuleList(make_adapter(options["adapter"], *pair) for pair in kept)

    @classmethod
    def build_student(cls, plan: Mapping[str, Any]) -> Any:
        """A student with random weights; one that hallucinates shares all of them with one that does not."""
        student, options = super().build_student(plan), plan["settings"]["method"]
        if options["mode"] == "mimic":
            return student
        _require_possible(plan, student.decoder)
        tellers = [make_adapter(options["adapter"], width, width) for width in _widths(plan, student)]
        return HallucinatingStudent(student, options["at"], tellers)

    @property
    def distils(self) -> bool:
        """Whether a teacher has a say."""
        return any(self.options[key] > 0 for key in ("feature_weight", "logit_weight"))

    @property
    def streams(self) -> tuple[str, ...]:  # type: ignore[override]
        """Unlabelled tiles only where they are distilled from."""
        return ("labelled", "unlabelled") if self.options["unlabelled"] and self.distils else ("labelled",)

    def prepare(self, root: Path) -> None:
        """Read the teacher's weights, if it is to see the student's pair in each step, or the student starts as it."""
        if self.distils:
            self.view.open(root)
        if self.options["start"] == "teacher":
            self._start_as_teacher(root)

    def teachers(self) -> list[nn.Module]:
        """The teacher, where it takes part in each step."""
        return self.view.networks

    def loss(self, batches: Batches, step: int) -> Losses:
        """One student pass over all streams."""
        given, labelled = [batches[name] for name in self.streams], batches["labelled"]
        maps, logits = self._told(torch.cat([batch.image for batch in given]))
        parts = {"cross_entropy": self._cross_entropy(logits[: len(labelled.image)], labelled)}
        total = self.options["supervised_weight"] * parts["cross_entropy"]
        if self.distils:
            rise = ramp(step, self.plan["settings"]["train"]["steps"], self.options["ramp"])
            for name, error in self._errors(maps, logits, given).items():
                parts[name] = error
                total = total + rise * self.options[f"{name}_weight"] * error
        return Losses(total, parts)

    def _start_as_teacher(self, root: Path) -> None:
        """Take all of the teacher's numbers but those of its first layer, which reads another sensor."""
        name, card = _teacher(self.plan)
        weights = root / FOLDER / f"{name}.safetensors"
        require_digest(weights, card["sha256"], f"georelay teach {name}")
        theirs, own = read_weights(weights)[0], self.student.state_dict()
        first = {f"backbone.net.{key}" for key in stem_keys(self.student.backbone.net)}
        taken = {key: tensor for key, tensor in theirs.items() if key not in first}
        if wrong := [key for key, tensor in taken.items() if key not in own or own[key].shape != tensor.shape]:
            what = f"teacher {name} is not of the student's architecture: {wrong[0]} does not fit"
            raise UserError(what, f"experiments.{self.plan['experiment']}.start", "set it to random, or give both one `model`")
        self.student.load_state_dict(own | taken)

    def _told(self, image: Tensor) -> tuple[Maps, Tensor]:
        """The maps that are compared with the teacher's, and the logits."""
        if isinstance(self.student, HallucinatingStudent):
            return self.student.told(image)
        if not self.adapters:
            return [], self.student(image)
        maps, logits = walk(self.student, image, self.options["at"])
        return [adapter(map_) for adapter, map_ in zip(self.adapters, maps, strict=True)], logits

    def _cross_entropy(self, logits: Tensor, batch: Batch) -> Tensor:
        facts = {"stride": self.student.stride, "ignore": self.plan["ignore"], "at": self.plan["settings"]["train"]["loss_at"]}
        return cross_entropy(logits, batch.label, smoothing=self.options["label_smoothing"], **facts)

    def _errors(self, maps: Maps, logits: Tensor, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Of each error that has a weight the mean over levels and samples."""
        options, targets = self.options, self._targets(batches)
        valid = torch.cat([self._spanned(batch.valid, False) for batch in batches])
        trusted = self._trusted(targets, batches)
        errors = {}
        if options["feature_weight"] > 0:
            error = partial(feature_error, options["loss"], tolerance=options["tolerance"], pool=options["pool"])
            levels = zip(maps, _words(self.plan), strict=True)
            each = [_compared(error, map_, targets[word], valid, trusted) for map_, word in levels]
            errors["feature"] = torch.stack(each).mean()
        if options["logit_weight"] > 0:
            own, answer = self._at_loss(logits, targets[LOGITS], (valid.shape[-2], valid.shape[-1]))
            error = partial(logit_error, temperature=options["temperature"])
            errors["logit"] = _compared(error, own, answer, valid, trusted)
        return errors

    def _targets(self, batches: Sequence[Batch]) -> dict[int | str, Tensor]:
        """The teacher's map of all batches at each of its taps that is needed."""
        told = [next(iter(self.view.maps(batch).values())) for batch in batches]
        return {word: torch.cat([maps[tap["place"]] for maps in told]) for word, tap in self.taps.items()}

    def _trusted(self, targets: Mapping[int | str, Tensor], batches: Sequence[Batch]) -> Tensor | None:
        """Where the teacher is believed: on labelled tiles by their labels, if they are to decide, else by how sure it is."""
        if self.options["gate"] == "none":
            return None
        found, first = [], 0
        for name, batch in zip(self.streams, batches, strict=True):
            label = self._spanned(batch.label, self.plan["ignore"])
            decides = self.options["gate"] == "right" and name == "labelled"
            answer = targets[LOGITS][first : first + len(label)]
            known = {"label": label if decides else None, "threshold": self.options["gate_threshold"]}
            found.append(believed(answer, (label.shape[-2], label.shape[-1]), **known))
            first += len(label)
        return torch.cat(found)

    def _at_loss(self, logits: Tensor, answer: Tensor, size_yx: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Both logits at the resolution at which the plan takes its losses."""
        if self.plan["settings"]["train"]["loss_at"] == "output":
            return logits, answer
        return full_size(logits, self.student.stride, size_yx), resized(answer, size_yx)

    def _spanned(self, pixels: Tensor, beyond: Any) -> Tensor:
        """Pixels of all that the maps cover: they overhang an image that the largest stride does not divide."""
        over_y, over_x = (-side % self.student.backbone.strides[-1] for side in pixels.shape[-2:])
        return F.pad(pixels, (0, over_x, 0, over_y), value=beyond)


def walk(student: Any, image: Tensor, at: str, change: Callable[[Maps], Maps] | None = None) -> tuple[Maps, Tensor]:
    """A student's maps at a point of its way, and the logits of what `change` makes of them."""
    seen: Maps = []

    def passed(point: str, maps: Maps) -> Maps:
        if point != at:
            return maps
        seen.extend(maps)
        return change(maps) if change else maps

    decoder: Any = student.decoder
    maps = student.neck(passed("encoder", list(student.backbone(image))))
    if at == "aligned":
        features = decoder.gather(passed(at, list(decoder.levels(maps))))
    else:
        (features,) = passed("fused", [decoder.embed(maps)])
    (logits,) = passed(LOGITS, [decoder.read(features)])
    return seen, logits


def _compared(error: Callable[..., Tensor], own: Tensor, target: Tensor, valid: Tensor, trusted: Tensor | None) -> Tensor:
    """The mean over samples of an error on the student's grid."""
    grid = (own.shape[-2], own.shape[-1])
    weight = None if trusted is None else shares(trusted, grid)
    return error(own, on_grid(target, grid), whole_cells(valid, grid), weight).mean()


def _words(plan: Mapping[str, Any]) -> list[int | str]:
    """The teacher's taps that the student's maps are compared with, finest first."""
    stages = sorted(plan["settings"]["model"]["stages"])
    aligned = [f"aligned-{level}" for level in range(len(stages))]
    points = {"encoder": stages, "aligned": aligned, "fused": ["decoder"], LOGITS: [LOGITS]}
    return list(points[plan["settings"]["method"]["at"]])


def _widths(plan: Mapping[str, Any], student: Any) -> list[int]:
    """Channels of the student's maps at that point."""
    at, channels, classify = plan["settings"]["method"]["at"], list(student.backbone.channels), student.decoder.classify
    if at == "encoder":
        return channels
    if at == "aligned":
        return [plan["settings"]["model"]["width"]] * len(channels)
    return [classify.in_channels if at == "fused" else classify.out_channels]


def _teacher(plan: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The one teacher's name and card."""
    if not plan["teachers"]:
        hint = "name one, or set both weights to 0 and `start: random`"
        raise UserError("there is no teacher to learn from", f"experiments.{plan['experiment']}.teachers", hint)
    ((name, card),) = plan["teachers"].items()
    return name, card


def _taps(plan: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Of each of the teacher's maps that is needed its place among those that are kept, and its channels."""
    options, where = plan["settings"]["method"], f"experiments.{plan['experiment']}"
    name, card = _teacher(plan)
    kept = {tap["tap"]: {"place": place, "channels": tap["channels"]} for place, tap in enumerate(card["taps"])}
    asks = options["logit_weight"] > 0 or options["gate"] != "none"
    needed = [*(_words(plan) if options["feature_weight"] > 0 else []), *([LOGITS] if asks else [])]
    if missing := [word for word in needed if word not in kept]:
        what = f"teacher {name} keeps no map of {missing}, only of {list(kept)}"
        raise UserError(what, f"{where}.at", f"give it `taps: {list(dict.fromkeys(needed))}`, or compare at another point")
    if asks and kept[LOGITS]["channels"] != len(plan["classes"]):
        what = f"teacher {name} tells {kept[LOGITS]['channels']} classes apart, the task has {len(plan['classes'])}"
        raise UserError(what, f"{where}.teachers", "use a teacher of this task, or `logit_weight: 0` and `gate: none`")
    return {word: kept[word] for word in needed}


def _require_possible(plan: Mapping[str, Any], decoder: Any) -> None:
    """Settings that contradict each other, or the network, are refused where they would count."""
    options, where = plan["settings"]["method"], f"experiments.{plan['experiment']}"
    hallucinates = options["mode"] == "hallucinate"
    if not hallucinates and options["feature_weight"] == 0:
        return
    if options["at"] == "aligned" and not hasattr(decoder, "levels"):
        what = f"decoder {plan['settings']['model']['decoder']} has no aligned levels"
        raise UserError(what, f"{where}.at", "set `model: {decoder: hfam-flow}`, or `at` to encoder, fused or logits")
    if hallucinates and (options["at"] == LOGITS or options["adapter"] == "identity"):
        what = "a student hallucinates maps by a network of its own: not logits, and not by the identity"
        raise UserError(what, f"{where}.mode", "set `adapter: mlp` and `at` to encoder, aligned or fused")
    if options["tolerance"] and options["loss"] not in CELLWISE:
        what = f"{options['loss']} compares no single cells, there is no nearest one"
        raise UserError(what, f"{where}.tolerance", f"set `tolerance: 0`, or `loss` to {' or '.join(CELLWISE)}")


def _require_widths(plan: Mapping[str, Any], widths: Sequence[tuple[int, int]]) -> None:
    """Maps of two widths need an adapter, or an error that does not mind; what is added to a map has its width."""
    options = plan["settings"]["method"]
    adapted = options["adapter"] == "mlp" and options["mode"] == "mimic"
    if not adapted and options["loss"] not in WIDTHLESS and (wrong := [pair for pair in widths if pair[0] != pair[1]]):
        what = f"the student's map has {wrong[0][0]} channels, the teacher's {wrong[0][1]}"
        hint = f"set `mode: mimic` with `adapter: mlp`, or `loss` to {' or '.join(WIDTHLESS)}"
        raise UserError(what, f"experiments.{plan['experiment']}.adapter", hint)
