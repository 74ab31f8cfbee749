"""A step of ST-DASegNet written down from its description, as it comes: nothing is shared but networks and their weights.

Backbones, decoders and layers are those of a `StDaSegNetMethod`, which is not asked for anything else: gate, universal
part, discriminators, pseudo-labels, losses, averages and the order of a step are spelt out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.batches.streams import Batch
from georelay.methods.stdasegnet import STYLES, StDaSegNetMethod
from georelay.models.decoders.segformer import SegformerDecoder

Maps = list[Tensor]


def gated(gate: Any, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Selection between two styles, channel by channel."""
    squeezed = gate.squeeze((own + other).flatten(2).mean(-1))
    share = torch.sigmoid(gate.expand_own(squeezed) - gate.expand_other(squeezed))[:, :, None, None]
    return own * share, other * (1 - share)


def universal(part: Any, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Channel attention of either style to both fused, by inverted energies."""
    fused = F.relu(part.fuse((own + other) / 2)).flatten(2)

    def attended(cells: Tensor) -> Tensor:
        energy = torch.bmm(cells, fused.transpose(1, 2))
        return torch.softmax(energy.max(dim=-1, keepdim=True).values - energy, dim=-1)

    cells, cells_other = own.flatten(2), other.flatten(2)
    matrix = (attended(cells) + attended(cells_other)) / 2
    return (
        F.relu(part.narrow_own(torch.bmm(matrix, cells).view_as(own))),
        F.relu(part.narrow_other(torch.bmm(matrix, cells_other).view_as(other))),
    )


def parted(neck: Any, own: Maps, other: Maps) -> tuple[Maps, Maps]:
    """The neck: every stage gated, the universal part behind the last one."""
    pairs = [gated(gate, *maps) for gate, *maps in zip(neck.gates, own, other, strict=True)]
    extra = universal(neck.universal, own[-1], other[-1])
    first, second = [[pair[side] for pair in pairs[:-1]] + [torch.cat([pairs[-1][side], extra[side]], 1)] for side in (0, 1)]
    return first, second


def spread(map_: Tensor) -> Tensor:
    """Every channel of every sample as a distribution over its cells."""
    return torch.softmax(map_.reshape(*map_.shape[:2], -1), dim=-1).reshape(map_.shape)


def judged(judge: Any, map_: Tensor) -> Tensor:
    """A discriminator's logits; small maps get empty cells around them, as ours do."""
    lacking = [max(0, judge.least - side) for side in (map_.shape[3], map_.shape[2])]
    map_ = F.pad(map_, [part for missing in lacking for part in (missing // 2, missing - missing // 2)])
    map_ = F.leaky_relu(judge.convs[0](map_), 0.2)
    for conv in judge.convs[1:-1]:
        map_ = F.leaky_relu(nn.InstanceNorm2d(conv.out_channels)(conv(map_)), 0.2)
    return judge.convs[-1](map_)


def read(decoder: Any, maps: Maps) -> Tensor:
    """A decoder's logits; SegFormer's joins all levels on the finest grid before it mixes them."""
    if not isinstance(decoder, SegformerDecoder):
        return decoder(maps)
    levels = [unit(map_) for unit, map_ in zip(decoder.levels, maps, strict=True)]
    return decoder.read(decoder.fusion(torch.cat([enlarged(level, levels[0]) for level in levels], dim=1)))


def enlarged(map_: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(map_, size=like.shape[-2:], mode="bilinear", align_corners=False)


def followed(mine: nn.Module, theirs: nn.Module, keep: float) -> None:
    """An average of weights, one after another."""
    for average, weight in zip(mine.parameters(), theirs.parameters(), strict=True):
        average.data = keep * average.data + (1 - keep) * weight.data


class PlainStep:
    """Seven optimisers as torch has them by default, teachers with their graphs, forwards of one domain at a time.

    `anew`: teachers and discriminators do not take the maps that the students' losses were made of, but let the
    backbones see the images once more; the public code does take them.
    """

    def __init__(self, method: StDaSegNetMethod, ignore: int, train: Mapping[str, Any], anew: bool) -> None:
        self.options, self.student, self.judges, self.anew = method.options, method.student, method.discriminators, anew
        self.answering = {name: average.network for name, average in method.answering.items()}
        self.ignore = ignore
        self.optimisers = [self._optimiser(part, train) for part in self._students()]
        facts = self.options["discriminator"]
        self.of_judges = [torch.optim.Adam(judge.parameters(), facts["lr"], facts["betas"]) for judge in self.judges.values()]

    def _students(self) -> list[nn.Module]:
        return [*self.student.backbones.values(), self.student.neck, *self.student.decoders.values()]

    def _optimiser(self, part: nn.Module, train: Mapping[str, Any]) -> torch.optim.Optimizer:
        rate = train["lr"] * (self.options["head_rate"] if part in self.student.decoders.values() else 1)
        named, decay = list(part.named_parameters()), train["weight_decay"]
        if train["optimizer"] == "sgd":
            return torch.optim.SGD([weight for _, weight in named], rate, train["momentum"], weight_decay=decay)
        spared = part in self.student.backbones.values() and not self.options["decay_norms"]
        facts = [{"params": [w], "weight_decay": 0.0 if spared and "norm" in name else decay} for name, w in named]
        return torch.optim.AdamW(facts, rate, tuple(train["betas"]))

    def step(self, batches: Mapping[str, Batch], step: int) -> dict[str, Tensor]:
        """One whole step; its losses, unweighted."""
        source, target = batches["labelled"], batches["target"]
        self._follow(step)
        for optimiser in (*self.optimisers, *self.of_judges):
            optimiser.zero_grad()
        self.judges.requires_grad_(False)
        seen = self._seen(source.image, target.image)
        later = self._seen(source.image, target.image) if self.anew else seen  # with the weights of now
        losses, kept = self._students_losses(seen, source, target)
        losses["total"].backward()
        for optimiser in self.optimisers:
            optimiser.step()
        del kept  # the teachers' graph
        self.judges.requires_grad_(True)
        still = {key: spread(maps[-1]).detach() for key, maps in later.items()}
        return losses | {"discriminators": self._discriminators(still, source.image)}

    def _seen(self, source: Tensor, target: Tensor) -> dict[str, Maps]:
        """Maps by domain and style: four passes."""
        backbones = self.student.backbones
        return {
            "ss": list(backbones["source"](source)),
            "ts": list(backbones["source"](target)),
            "st": list(backbones["target"](source)),
            "tt": list(backbones["target"](target)),
        }

    def _students_losses(self, seen: dict[str, Maps], source: Batch, target: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """What backbones, neck and decoders minimise, and the teachers' logits with all that hangs on them."""
        heads, weights = self.student.decoders, self.options["class_weights"]
        of_source = parted(self.student.neck, seen["ss"], seen["st"])
        of_target = parted(self.student.neck, seen["ts"], seen["tt"])
        logits = [[read(heads[style], maps) for style, maps in zip(STYLES, pair, strict=True)] for pair in (of_source, of_target)]
        answers = self._answers(target.image, of_target)
        label, sure = self._pseudo(answers.detach())
        true, told = (
            [self._error(found, goal, weights[style], pixels) for style, found in zip(STYLES, pair, strict=True)]
            for pair, goal, pixels in zip(logits, (source.label, label), (None, sure), strict=True)
        )
        wanted = [
            self._judged(style, spread(seen[key][-1]), 1.0, source.image) for style, key in (("source", "ts"), ("target", "st"))
        ]
        losses = {"cross_entropy": sum(true), "pseudo": sum(told), "adversarial": sum(wanted)}
        total = losses["cross_entropy"] + self.options["pseudo_weight"] * losses["pseudo"] + losses["adversarial"]
        return {"total": total} | losses, answers  # type: ignore[return-value]

    def _error(self, logits: Tensor, label: Tensor, weights: list[float] | None, pixels: Tensor | None) -> Tensor:
        """Cross-entropy at every pixel, weighted by class and pixel, over all pixels."""
        table = None if weights is None else logits.new_tensor(weights)
        fine = enlarged(logits, label)
        errors = F.cross_entropy(fine, label.long(), table, reduction="none", ignore_index=self.ignore)
        return (errors if pixels is None else errors * pixels).mean()

    def _answers(self, image: Tensor, of_target: tuple[Maps, Maps]) -> Tensor:
        backbones, heads, teachers = self.student.backbones, self.student.decoders, self.answering
        if self.options["teacher"] == "decoder_only":
            if self.anew:
                of_target = parted(self.student.neck, list(backbones["source"](image)), list(backbones["target"](image)))
            answers = read(teachers["source"], of_target[0]) + read(teachers["target"], of_target[1])
        else:
            own, other = parted(self.student.neck, list(backbones["source"](image)), list(teachers["backbone"](image)))
            answers = read(heads["source"], own) + read(teachers["target"], other)
        return enlarged(answers / 2, image)

    def _pseudo(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Classes, and weights by the batch, by the pixel and by the class."""
        chance, label = torch.softmax(logits, dim=1).max(dim=1)
        share = (chance >= self.options["threshold"]).sum().item() / chance.numel()
        weight = torch.full_like(chance, share)
        if self.options["low"] is not None and self.options["pixel_weights"] is not None:
            for number, factor in enumerate(self.options["pixel_weights"]):
                weight[label == number] = share * factor
            weight[chance < self.options["low"]] = 0.5 * share
        return label, weight

    def _judged(self, style: str, shares: Tensor, wanted: float, image: Tensor) -> Tensor:
        fine = enlarged(judged(self.judges[style], shares), image)
        return self.options["adversarial_weight"] * F.binary_cross_entropy_with_logits(fine, torch.full_like(fine, wanted))

    def _discriminators(self, still: dict[str, Tensor], image: Tensor) -> Tensor:
        """Both discriminators, each on what is real to it and then on what is not."""
        found = []
        cases = (("source", "ss", "ts"), ("target", "tt", "st"))
        for (style, real, fake), optimiser in zip(cases, self.of_judges, strict=True):
            for key, wanted in ((real, 1.0), (fake, 0.0)):
                error = self._judged(style, still[key], wanted, image)
                error.backward()
                found.append(error.detach())
            optimiser.step()
        return torch.stack(found).sum()

    def _follow(self, step: int) -> None:
        keep = min(1 - 1 / (step + 1), self.options["decay"])
        for name, teacher in self.answering.items() if step else ():
            followed(teacher, self.student.backbones["target"] if name == "backbone" else self.student.decoders[name], keep)
