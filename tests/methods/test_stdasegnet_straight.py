"""ST-DASegNet's steps against the same written out straight in double precision, for both ways of answering."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.batches.geometry import identity
from georelay.batches.streams import Batch
from georelay.methods.stdasegnet import StDaSegNetMethod, TwoStyles
from georelay.models.decoders.blocks import Decoder
from georelay.models.decoders.segformer import SegformerDecoder
from georelay.models.disentangle import DisentanglingNeck
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers
from invented import TRAIN, make_plan

STEPS, CLASSES, IGNORE, SIDE = 3, 4, 255, 24
CHANNELS, STRIDES = [6, 10], [2, 4]
RATE, DECAY, JUDGED = 2e-2, 5e-4, 1e-3
CLASS_WEIGHTS, PIXEL_WEIGHTS = {"source": [1, 1.25, 1.5, 1], "target": [1.5, 1, 1, 1.25]}, [1.01, 1.51, 1.01, 2.01]
OPTIONS: dict[str, Any] = {
    "discriminator": {"level": -1, "halvings": 1, "width": 4, "lr": JUDGED, "betas": [0.9, 0.99]},
    "narrow": 4,
    "threshold": 0.3,
    "low": 0.28,
    "class_weights": CLASS_WEIGHTS,
    "pixel_weights": PIXEL_WEIGHTS,
    "decay": 0.6,
}
TRAINED = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": DECAY, "lr": RATE, "clip": 0.0, "schedule": "constant"}
TRAINED |= {"warmup_steps": 0, "loss_at": "label"}
Nets = dict[str, Any]


class Backbone(nn.Module):
    """Two convolutions, the second with statistics: running them once more would show."""

    channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, CHANNELS[0], 3, 2, 1), nn.Conv2d(*CHANNELS, 3, 2, 1)
        self.norm = nn.BatchNorm2d(CHANNELS[1])

    def forward(self, image: Tensor) -> list[Tensor]:
        fine = self.first(image).relu()
        return [fine, self.norm(self.second(fine)).relu()]


def decoder() -> Decoder:
    return SegformerDecoder([CHANNELS[0], CHANNELS[1] + 4], STRIDES, 8, CLASSES, 0.0)


def method(teacher: str) -> StDaSegNetMethod:
    torch.manual_seed(5)
    plan = make_plan("stdasegnet", options=OPTIONS | {"teacher": teacher}, train=TRAINED)
    plan |= {"classes": list("abcd"), "ignore": IGNORE}
    student = TwoStyles({"source": Backbone(), "target": Backbone()}, DisentanglingNeck(CHANNELS, 4), decoder)
    built = StDaSegNetMethod(plan, student).double()
    with torch.no_grad():
        for values in built.parameters():
            values.add_(0.3 * torch.randn_like(values))  # answers that differ, and averages unlike what they follow
    return built.train()


def entropy(logits: Tensor, label: Tensor, style: str, weight: Tensor | None = None) -> Tensor:
    weights = torch.tensor(CLASS_WEIGHTS[style]).double()
    fine = F.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)
    error = F.cross_entropy(fine, label, weight=weights, ignore_index=IGNORE, reduction="none")
    return (error if weight is None else error * weight).mean()


def called(judge: nn.Module, map_: Tensor, real: float) -> Tensor:
    logits = judge(map_.flatten(2).softmax(dim=-1).view_as(map_))
    fine = F.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return 0.005 * F.binary_cross_entropy_with_logits(fine, torch.full_like(fine, real))


def follow(answering: nn.Module, own: nn.Module, step: int) -> None:
    keep = min(1 - 1 / (step + 1), OPTIONS["decay"])
    with torch.no_grad():
        for mine, theirs in zip(answering.parameters(), own.parameters(), strict=True):
            mine.copy_(keep * mine + (1 - keep) * theirs)


def answers(nets: Nets, teacher: str, x_t: Tensor, parted: tuple[Any, Any]) -> Tensor:
    """Logits of the target: of averaged decoders, or of the target's averaged backbone and decoder beside the source's own."""
    if teacher == "decoder_only":
        return (nets["E_s"](parted[0]) + nets["E_t"](parted[1])) / 2
    anew = nets["N"](nets["B_s"](x_t), nets["E_B"](x_t))
    return (nets["H_s"](anew[0]) + nets["E_H"](anew[1])) / 2


def straight_step(nets: Nets, optimisers: list[Any], teacher: str, step: int, x_s: Tensor, label: Tensor, x_t: Tensor) -> Tensor:
    """Section by section as the public code has it; names are those of the paper."""
    averages = {"E_s": "H_s", "E_t": "H_t"} if teacher == "decoder_only" else {"E_B": "B_t", "E_H": "H_t"}
    for name, own in averages.items():
        if step:
            follow(nets[name], nets[own], step)
    for optimiser in optimisers:
        optimiser.zero_grad()
    ss, ts, st, tt = nets["B_s"](x_s), nets["B_s"](x_t), nets["B_t"](x_s), nets["B_t"](x_t)
    n_s, n_t = nets["N"](ss, st), nets["N"](ts, tt)
    p_ss, p_ts, p_st, p_tt = nets["H_s"](n_s[0]), nets["H_s"](n_t[0]), nets["H_t"](n_s[1]), nets["H_t"](n_t[1])
    with torch.no_grad():
        fine = F.interpolate(answers(nets, teacher, x_t, n_t), (SIDE, SIDE), mode="bilinear", align_corners=False)
        sure, said = fine.softmax(dim=1).max(dim=1)
        share = (sure >= OPTIONS["threshold"]).double().mean()
        weight = torch.where(sure >= OPTIONS["low"], share * torch.tensor(PIXEL_WEIGHTS).double()[said], 0.5 * share)
    total = entropy(p_ss, label, "source") + entropy(p_st, label, "target")
    total = total + 0.25 * (entropy(p_ts, said, "source", weight) + entropy(p_tt, said, "target", weight))
    total = total + called(nets["D_s"], ts[-1], 1.0) + called(nets["D_t"], st[-1], 1.0)
    total.backward()
    main, judges = optimisers
    main.step()
    judges.zero_grad()
    for judge, real, other in (("D_s", ss, ts), ("D_t", tt, st)):
        (called(nets[judge], real[-1].detach(), 1.0) + called(nets[judge], other[-1].detach(), 0.0)).backward()
    judges.step()
    return total.detach()


def named(built: StDaSegNetMethod, teacher: str) -> Nets:
    student: Any = built.student
    kept: Any = built.answering
    nets = {f"B_{s[0]}": student.backbones[s] for s in ("source", "target")} | {"N": student.neck}
    nets |= {f"H_{s[0]}": student.decoders[s] for s in ("source", "target")}
    nets |= {f"D_{s[0]}": built.discriminators[s] for s in ("source", "target")}
    names = {"E_s": "source", "E_t": "target"} if teacher == "decoder_only" else {"E_B": "backbone", "E_H": "target"}
    return nets | {name: kept[ours].network for name, ours in names.items()}


@pytest.mark.parametrize("teacher", ["decoder_only", "single_target"])
def test_steps_written_out_straight(teacher: str) -> None:
    built = method(teacher)
    nets = named(deepcopy(built), teacher)
    learners = [parameter for name in ("B_s", "B_t", "N", "H_s", "H_t") for parameter in nets[name].parameters()]
    judges = [parameter for name in ("D_s", "D_t") for parameter in nets[name].parameters()]
    optimisers = [
        torch.optim.SGD(learners, lr=RATE, momentum=0.9, weight_decay=DECAY),
        torch.optim.Adam(judges, lr=JUDGED, betas=(0.9, 0.99)),
    ]
    facts = (TRAIN | TRAINED, torch.device("cpu"), World(0, 1, 0), built.optimiser_settings())
    updater = Optimisers(built.parameter_groups(), *facts)
    draw = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        x_s, x_t = (torch.randn(2, 3, SIDE, SIDE, generator=draw, dtype=torch.float64) for _ in range(2))
        label = torch.randint(0, CLASSES, (2, SIDE, SIDE), generator=draw)
        label[0, :3] = IGNORE
        marks = (torch.ones_like(label, dtype=torch.bool), torch.arange(2), identity(2, SIDE))
        unknown = torch.full_like(label, IGNORE)
        updater.set_rates(step)
        batches = {"labelled": Batch(x_s, label, *marks), "target": Batch(x_t, unknown, *marks)}
        losses = built.step([batches], step, updater)
        straight = straight_step(nets, optimisers, teacher, step, x_s, label, x_t)
        assert float(losses.total) == pytest.approx(float(straight), rel=1e-6)  # weights of pixels are float32, as published
        assert 0.1 < float(losses.parts["sure"]) < 1
    for name, network in named(built, teacher).items():
        for key, value in network.state_dict().items():
            np.testing.assert_allclose(value, nets[name].state_dict()[key], atol=2e-6, rtol=0, err_msg=f"{name}.{key}")
