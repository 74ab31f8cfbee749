"""ST-DASegNet (arXiv 2301.05526): two backbones that both see both domains, one of either style, and what each knows alone.

A neck weighs the two styles of an image against each other and, on the last stage, adds what they share. A decoder reads
each style. Discriminators make either backbone see the other domain as its own; averages of the decoders label the target.
Letters in comments: S and T are the domains of an image, s and t the styles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from georelay.batches.streams import Batch
from georelay.errors import UserError
from georelay.methods.base import Batches, Group, Losses, Method, Updater, input_bands, mean_losses
from georelay.models.adversary import Discriminator, adversarial_loss, spatial_softmax
from georelay.models.consistency import share_of
from georelay.models.decoders.blocks import Decoder
from georelay.models.disentangle import DisentanglingNeck
from georelay.models.ema import Adapted, Average
from georelay.models.losses import cross_entropy
from georelay.models.pseudo import PseudoLabels, weighted_pseudo_labels
from georelay.models.student import build_backbone, build_head, full_size

STYLES = ("source", "target")
Styles = Mapping[str, Any]  # by style: maps of all stages, or logits


class TwoStyles(nn.Module):
    """What is saved and predicts: logits are the mean of both decoders'."""

    def __init__(self, backbones: Mapping[str, Any], neck: DisentanglingNeck, make_decoder: Callable[[], Decoder]) -> None:
        super().__init__()
        self.channels: list[int] = backbones["source"].channels
        self.backbones, self.neck, self.make_decoder = nn.ModuleDict(backbones), neck, make_decoder
        decoders = {style: make_decoder() for style in STYLES}
        self.decoders: Any = nn.ModuleDict(decoders)
        self.stride: float | None = decoders["source"].stride

    def forward(self, image: Tensor) -> Tensor:
        """Logits at the student's own stride."""
        logits = self.read(self.parted(self.maps(image)))
        mean: Tensor = (logits["source"] + logits["target"]) / 2
        return mean

    def maps(self, image: Tensor) -> Styles:
        """What either backbone sees in an image."""
        return {style: list(backbone(image)) for style, backbone in self.backbones.items()}

    def parted(self, maps: Styles) -> Styles:
        """Both styles of an image, weighed against each other."""
        return dict(zip(STYLES, self.neck(maps["source"], maps["target"]), strict=True))

    def read(self, parted: Styles) -> Styles:
        """Either decoder's logits."""
        return {style: decoder(parted[style]) for style, decoder in self.decoders.items()}


class Seen(NamedTuple):
    """What discriminators look at: maps as shares by (domain, style), of images of some size."""

    shares: Mapping[tuple[str, str], Tensor]
    size_yx: tuple[int, int]


class StDaSegNetMethod(Method):
    """Labels of the source; answers of averaged decoders on the target; two discriminators between."""

    streams: ClassVar[tuple[str, ...]] = ("labelled", "target")

    def __init__(self, plan: Mapping[str, Any], student: TwoStyles) -> None:
        super().__init__(plan, student)
        facts = self.options["discriminator"]
        shape = (student.channels[facts["level"]], facts["halvings"], facts["width"])
        judged = STYLES if self.options["adversarial_weight"] else ()
        self.discriminators = nn.ModuleDict({style: Discriminator(*shape) for style in judged})
        self.answering = nn.ModuleDict(self._averages() if self.options["pseudo_weight"] else {})
        self.adapted = Adapted(student) if self.options["tested"] == "adapted" else None

    @property
    def exported(self) -> Any:
        """The students, or their copy that meets the target alone, as AdaBN has it."""
        return self.student if self.adapted is None else self.adapted.network

    @classmethod
    def build_student(cls, plan: Mapping[str, Any]) -> TwoStyles:
        """Two backbones that start alike, a neck, two decoders that do not."""
        model, options, classes = plan["settings"]["model"], plan["settings"]["method"], len(plan["classes"])
        if model["neck"]:
            raise UserError("ST-DASegNet has a neck of its own", "model.neck", "set it to []")
        first = build_backbone(model, input_bands(plan))
        neck = DisentanglingNeck(first.channels, options["narrow"], gate=options["gate"], universal=options["universal"])

        def make_decoder() -> Decoder:
            return build_head(model, neck.channels, first.strides, classes)[0]

        return TwoStyles({"source": first, "target": deepcopy(first)}, neck, make_decoder)

    def _averages(self) -> dict[str, Average]:
        """Averages that answer: of both decoders, or of the target's backbone and decoder."""
        options, student = self.options, self.student
        styles = STYLES if options["teacher"] == "decoder_only" else ("target",)
        random = options["teacher_start"] == "random"
        starts = {style: student.make_decoder() if random else student.decoders[style] for style in styles}
        if options["teacher"] == "single_target":
            starts["backbone"] = student.backbones["target"]
        facts: dict[str, Any] = {"decay": options["decay"], "buffers": not options["own_buffers"]}
        return {name: Average(start, **facts) for name, start in starts.items()}

    def parameter_groups(self) -> dict[str, list[Group]]:
        """The students' groups, decoders at a rate of their own; and the discriminators'."""
        backbones = dict(self.student.backbones.named_parameters())
        norms = [name for name in backbones if "norm" in name and not self.options["decay_norms"]]
        others = [parameter for name, parameter in backbones.items() if name not in norms]
        groups = [Group([*others, *self.student.neck.parameters()])]
        groups.append(Group(list(self.student.decoders.parameters()), lr_scale=self.options["head_rate"]))
        if norms:
            groups.append(Group([backbones[name] for name in norms], weight_decay=0.0))
        judges = list(self.discriminators.parameters())
        return {"main": groups} | ({"discriminators": [Group(judges)]} if judges else {})

    def optimiser_settings(self) -> Mapping[str, Mapping[str, Any]]:
        """Discriminators learn by Adam at a rate of their own."""
        facts = self.options["discriminator"]
        return {"discriminators": {"optimizer": "adamw", "weight_decay": 0.0, "lr": facts["lr"], "betas": facts["betas"]}}

    def step(self, parts: Sequence[Batches], step: int, updater: Updater) -> Losses:
        """Averages follow; students and neck; then discriminators, on what the students saw before their update."""
        self._follow(step)
        losses, looks = [], []
        self.discriminators.requires_grad_(False)
        for batches in parts:
            with updater.autocast():
                loss, seen = self._generator(batches)
            updater.backward(loss.total / len(parts))
            losses.append(loss)
            looks.append(seen)
        updater.apply("main")
        if self.adapted is not None:
            with updater.autocast():
                self.adapted.meet(self.student, step, (batches["target"].image for batches in parts))
        self.discriminators.requires_grad_(True)
        found = mean_losses(losses)
        if not self.discriminators:
            return found
        judged = torch.stack([self._judge(seen, updater, len(parts)) for seen in looks]).mean()
        updater.apply("discriminators")
        return Losses(found.total, {**found.parts, "discriminators": judged})

    def loss(self, batches: Batches, step: int) -> Losses:
        """What backbones, neck and decoders minimise."""
        return self._generator(batches)[0]

    def _generator(self, batches: Batches) -> tuple[Losses, Seen]:
        """The students' objective, and what the discriminators are to look at afterwards."""
        labelled, target = batches["labelled"], batches["target"]
        maps = {"source": self.student.maps(labelled.image), "target": self.student.maps(target.image)}
        parted = {domain: self.student.parted(found) for domain, found in maps.items()}
        logits = {domain: self.student.read(found) for domain, found in parted.items()}
        parts = {"cross_entropy": self._cross_entropies(logits["source"], labelled.label, None)}
        total = parts["cross_entropy"]
        if self.answering:
            answers = self._answers(target, parted["target"])
            parts |= {"pseudo": self._cross_entropies(logits["target"], answers.label, answers.weight)}
            # The target's labels are for the record alone: nothing is learnt from them.
            right = share_of(answers.label == target.label, target.label != self.plan["ignore"])
            parts |= {"sure": answers.share, "right": right, "confidence": answers.confidence}
            total = total + self.options["pseudo_weight"] * parts["pseudo"]
        seen = self._seen(maps, labelled.image)
        if self.discriminators:
            weight = self.options["adversarial_weight"]
            parts["adversarial"] = torch.stack([self._called(style, seen, weight) for style in STYLES]).sum()
            total = total + parts["adversarial"]
        return Losses(total, parts), seen

    def _cross_entropies(self, logits: Styles, label: Tensor, pixel_weights: Tensor | None) -> Tensor:
        """The sum of both decoders' errors, divided by all pixels as the public code has it."""
        weights, at = self.options["class_weights"], self.plan["settings"]["train"]["loss_at"]
        facts = {"stride": self.student.stride, "ignore": self.plan["ignore"], "at": at, "over_all": True}
        errors = [
            cross_entropy(found, label, class_weights=weights[style], pixel_weights=pixel_weights, **facts)
            for style, found in logits.items()
        ]
        return torch.stack(errors).sum()

    @torch.no_grad()
    def _answers(self, target: Batch, parted: Styles) -> PseudoLabels:
        """What averages say of the target, from the students' own maps; pixels without data count for nothing."""
        options, size = self.options, (target.valid.shape[-2], target.valid.shape[-1])
        logits = full_size(torch.stack(self._votes(target.image, parted)).mean(dim=0), self.student.stride, size)
        facts = {"as_published": options["published_table"], "valid": target.valid}
        return weighted_pseudo_labels(logits, options["threshold"], options["low"], options["pixel_weights"], **facts)

    def _votes(self, image: Tensor, parted: Styles) -> list[Tensor]:
        networks: dict[str, Any] = {name: average.network for name, average in self.answering.items()}
        if self.options["teacher"] == "decoder_only":
            return [networks[style](parted[style]) for style in STYLES]
        maps = {"source": list(self.student.backbones["source"](image)), "target": list(networks["backbone"](image))}
        anew = self.student.parted(maps)
        return [self.student.decoders["source"](anew["source"]), networks["target"](anew["target"])]

    def _seen(self, maps: Mapping[str, Styles], image: Tensor) -> Seen:
        """The deepest maps, or those of the level that is set, as distributions over cells."""
        level = self.options["discriminator"]["level"]
        pairs = [(domain, style) for domain in STYLES for style in STYLES] if self.discriminators else []
        shares = {(domain, style): spatial_softmax(maps[domain][style][level]) for domain, style in pairs}
        return Seen(shares, (image.shape[-2], image.shape[-1]))

    def _called(self, style: str, seen: Seen, weight: float) -> Tensor:
        """How far a style's discriminator is from taking the other domain's maps for its own."""
        judge: Any = self.discriminators[style]
        return adversarial_loss(judge(seen.shares[_other(style), style]), True, seen.size_yx, weight)

    def _judge(self, seen: Seen, updater: Updater, parts: int) -> Tensor:
        """Both discriminators' errors and gradients."""
        weight = self.options["adversarial_weight"] if self.options["scale_discriminators"] else 1.0
        with updater.autocast():
            total = torch.stack([self._told_apart(style, seen, weight) for style in STYLES]).sum()
        updater.backward(total / parts)
        return total.detach()

    def _told_apart(self, style: str, seen: Seen, weight: float) -> Tensor:
        """A discriminator's errors on both domains, in one pass; real is what is of its own style's domain."""
        judge: Any = self.discriminators[style]
        pair = [seen.shares[domain, style].detach() for domain in (style, _other(style))]
        # Its norms know single samples only, so that both domains may pass at once: 4 to 10 % of a step.
        real, fake = judge(torch.cat(pair)).split([len(shares) for shares in pair])
        facts = (seen.size_yx, weight)
        return adversarial_loss(real, True, *facts) + adversarial_loss(fake, False, *facts)

    def _follow(self, step: int) -> None:
        """Averages go after what the students have become; at step 0 they are as they started."""
        averages: dict[str, Any] = dict(self.answering.items()) if step else {}
        for name, average in averages.items():
            average.update(self.student.backbones["target"] if name == "backbone" else self.student.decoders[name], step)


def _other(style: str) -> str:
    return "target" if style == "source" else "source"
