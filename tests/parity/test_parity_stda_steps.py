"""Whole training steps of ST-DASegNet in double precision: every loss, the pseudo-labels, and all weights afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recorded import Recording, renamed
from test_parity_stda import NECK, SEGFORMER
from torch import Tensor, nn

from georelay.batches.geometry import identity
from georelay.batches.streams import Batch
from georelay.methods.stdasegnet import StDaSegNetMethod, TwoStyles
from georelay.models.decoders.blocks import Decoder
from georelay.models.decoders.segformer import SegformerDecoder
from georelay.models.disentangle import DisentanglingNeck
from georelay.models.pseudo import PseudoLabels
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers
from invented import OPTIONS, TRAIN, make_plan

IGNORE = 255
CHANNELS, STRIDES = [8, 12, 16, 24], [2, 4, 4, 4]
TRAINED = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4, "lr": 1e-3, "clip": 0.0, "schedule": "constant"}
TRAINED |= {"warmup_steps": 0, "loss_at": "label", "channels_last": False}
# As recorded: thresholds and discriminators are smaller than the published ones.
AS_RECORDED = {
    "gate": True,
    "universal": True,
    "narrow": 8,
    "adversarial_weight": 0.005,
    "scale_discriminators": True,
    "discriminator": {"level": -1, "halvings": 2, "width": 4, "lr": 5e-4, "betas": [0.9, 0.99]},
    "pseudo_weight": 0.25,
    "threshold": 0.6,
    "low": 0.4,
    "class_weights": {"source": [1, 1, 1, 1.25, 1.5, 1.5], "target": [1, 1, 1.25, 1.25, 1.5, 1.5]},
    "pixel_weights": [1.01, 1.01, 1.51, 1.51, 2.01, 2.01],
    "published_table": True,
    "teacher": "decoder_only",
    "teacher_start": "random",
    "own_buffers": True,
    "decay": 0.999,
    "head_rate": 2.0,
    "decay_norms": True,
    "tested": "student",
}
DISCRIMINATOR = {f"{place}.conv.": f"convs.{place}." for place in range(3)} | {"3.": "convs.3."}
PARTS: dict[str, tuple[str, dict[str, str]]] = {
    "backbone_s": ("student.backbones.source", {}),
    "backbone_t": ("student.backbones.target", {}),
    "neck": ("student.neck", NECK),
    "head_s": ("student.decoders.source", SEGFORMER),
    "head_t": ("student.decoders.target", SEGFORMER),
    "ema_head_s": ("answering.source.network", SEGFORMER),
    "ema_head_t": ("answering.target.network", SEGFORMER),
    "disc_s": ("discriminators.source", DISCRIMINATOR),
    "disc_t": ("discriminators.target", DISCRIMINATOR),
}


class Backbone(nn.Module):
    """Four convolutions, all of whose maps are read."""

    channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        for place, (before, after, stride) in enumerate(zip([3, *CHANNELS], CHANNELS, (2, 2, 1, 1), strict=False)):
            self.add_module(f"conv{place}", nn.Conv2d(before, after, 3, stride, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [image]
        for conv in self.children():
            maps.append(conv(maps[-1]).relu())
        return maps[1:]


def decoder() -> Decoder:
    return SegformerDecoder([*CHANNELS[:-1], CHANNELS[-1] + 8], STRIDES, 12, 6, 0.0)


def recorded_weights(name: str) -> dict[str, Tensor]:
    """The recorded weights and buffers under our names."""
    arrays, state = Recording(f"stda_13_sgd_{name}").arrays, {}
    for key, array in arrays.items():
        part, rest = key.removeprefix(f"{name}.").split(".", 1)
        place, names = PARTS[part]
        state[f"{place}.{renamed(rest, names)}"] = torch.from_numpy(array).double()
    return state


@pytest.fixture
def method() -> StDaSegNetMethod:
    plan = make_plan("stdasegnet", options=AS_RECORDED, train=TRAINED) | {"classes": list("abcdef"), "ignore": IGNORE}
    student = TwoStyles({"source": Backbone(), "target": Backbone()}, DisentanglingNeck(CHANNELS, 8), decoder)
    built = StDaSegNetMethod(plan, student).double()
    left = built.load_state_dict(recorded_weights("init"), strict=False)
    assert not left.unexpected_keys and all(key.endswith("num_batches_tracked") for key in left.missing_keys)
    return built.train()


def batches(inputs: Recording, step: int) -> dict[str, Batch]:
    label = inputs[f"step{step}.label"][:, 0].long()
    images = {name: inputs[f"step{step}.img_{letter}"].double() for name, letter in (("labelled", "s"), ("target", "t"))}
    facts = (torch.ones_like(label, dtype=torch.bool), torch.arange(len(label)), identity(len(label), label.shape[-1]))
    labels = {"labelled": label, "target": torch.full_like(label, IGNORE)}
    return {name: Batch(image, labels[name], *facts) for name, image in images.items()}


def test_options_are_whole() -> None:
    assert AS_RECORDED.keys() == OPTIONS["stdasegnet"].keys()


def test_two_steps_are_the_recorded_ones(method: StDaSegNetMethod, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, answers = Recording("stda_13_sgd_inputs"), []
    original = method._answers

    def kept(*given: Any) -> PseudoLabels:
        answers.append(original(*given))
        return answers[-1]

    monkeypatch.setattr(method, "_answers", kept)
    updater = Optimisers(
        method.parameter_groups(), TRAIN | TRAINED, torch.device("cpu"), World(0, 1, 0), method.optimiser_settings()
    )
    log = {name: inputs[f"log.{name}"] for name in ("seg_total",)} | {
        "cross_entropy": inputs["log.ce_source_srcdec"] + inputs["log.ce_source_tgtdec"],
        "pseudo": inputs["log.ce_pseudo_srcdec"] + inputs["log.ce_pseudo_tgtdec"],
        "adversarial": inputs["log.adv_src_backbone"] + inputs["log.adv_tgt_backbone"],
        "discriminators": sum(inputs[f"log.disc_{side}_{kind}"] for side in "st" for kind in ("real", "fake")),
    }
    for step in range(2):
        updater.set_rates(step)
        losses = method.step([batches(inputs, step)], step, updater)
        found = {"seg_total": losses.total - losses.parts["adversarial"]} | dict(losses.parts)
        for name, recorded in log.items():
            assert float(found[name]) == pytest.approx(float(recorded[step]), abs=1e-12), (step, name)
        assert torch.equal(answers[step].label, inputs[f"step{step}.pseudo_label"][:, 0].long())
        np.testing.assert_allclose(answers[step].weight.numpy(), inputs[f"step{step}.pseudo_weight"].numpy(), atol=1e-7)
    state = method.state_dict()
    for name, recorded in recorded_weights("final").items():
        np.testing.assert_allclose(state[name].numpy(), recorded.numpy(), atol=1e-6, err_msg=name)
