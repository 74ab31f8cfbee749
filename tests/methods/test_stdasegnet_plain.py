"""Our step of ST-DASegNet against the plain one that the benchmark compares with: the same losses and weights, in float64."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from steps.plain_stda import PlainStep

from georelay.batches.streams import open_stream
from georelay.methods.base import Batches
from georelay.methods.stdasegnet import StDaSegNetMethod
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers
from georelay.train.run import build_method
from invented import InventedStore, make_plan

STEPS = 3
CLOSE = 1e-6  # our weights of pixels are float32, as published
STORE = InventedStore()
COARSE = {"stages": [1, 2, 3], "decoder": "segformer"}  # maps so small that discriminators pad them to one logit
FINE = {"stages": [1, 2], "decoder": "segformer"}
TRANSFORMER = {"backbone": "mit_b0", "stages": [0, 1], "decoder": "segformer"}
TRAIN = {"batch": 2, "lr": 1e-3, "clip": 0.0, "loss_at": "label", "schedule": "constant", "warmup_steps": 0}
# Thresholds between which untrained answers lie, so that every branch of the weights is taken.
OPTIONS: dict[str, Any] = {
    "threshold": 0.45,
    "low": 0.35,
    "class_weights": {"source": [1.0, 1.25, 1.0, 1.5], "target": [1.25, 1.0, 1.5, 1.0]},
    "pixel_weights": [1.01, 1.51, 1.01, 2.01],
    "head_rate": 2.0,
    "decay": 0.6,
    "decay_norms": False,
}


def build(model: dict[str, Any], optimizer: str, teacher: str, halvings: int = 1) -> StDaSegNetMethod:
    facts = {"level": -1, "halvings": halvings, "width": 4, "lr": 1e-3, "betas": [0.9, 0.99]}
    options = OPTIONS | {"teacher": teacher, "discriminator": facts}
    plan = make_plan("stdasegnet", model=model, train=TRAIN | {"optimizer": optimizer}, options=options)
    method = build_method(plan, 0, Path())
    assert isinstance(method, StDaSegNetMethod)
    for decoder in (*method.student.decoders.values(), *(average.network for average in method.answering.values())):
        if hasattr(decoder, "classify"):  # it starts near zero, where all classes are equally likely
            torch.nn.init.normal_(decoder.classify.weight, std=1.0)
    return method.double().train()


def batches(method: StDaSegNetMethod, step: int) -> Batches:
    drawn = {name: open_stream(STORE, method.plan, name, 0).batch(step, 0, 1) for name in method.streams}
    return {name: replace(batch, image=batch.image.double()) for name, batch in drawn.items()}


@pytest.mark.parametrize(
    ("model", "optimizer", "teacher", "halvings", "anew"),
    [
        (COARSE, "adamw", "decoder_only", 1, False),
        (COARSE, "sgd", "decoder_only", 1, True),
        (FINE, "sgd", "single_target", 0, True),
        (TRANSFORMER, "adamw", "single_target", 1, False),
    ],
)
def test_three_steps_of_both_agree(model: dict[str, Any], optimizer: str, teacher: str, halvings: int, anew: bool) -> None:
    torch.set_num_threads(1)
    method = build(model, optimizer, teacher, halvings)
    plan, theirs = method.plan, deepcopy(method)
    plain = PlainStep(theirs, plan["ignore"], plan["settings"]["train"], anew)
    updater = Optimisers(
        method.parameter_groups(), plan["settings"]["train"], torch.device("cpu"), World(0, 1, 0), method.optimiser_settings()
    )
    for step in range(STEPS):
        updater.set_rates(step)
        losses = method.step([batches(method, step)], step, updater)
        assert 0 < losses.parts["sure"] < 1, "thresholds must tell pixels apart"
        found = {"total": losses.total, **losses.parts}
        for name, value in plain.step(batches(theirs, step), step).items():
            assert found[name].item() == pytest.approx(value.item(), rel=CLOSE), (step, name)
    mine_all, other_all = (dict(each.named_parameters() if anew else each.state_dict()) for each in (method, theirs))
    for name, mine in mine_all.items():  # statistics of BatchNorm, too, where nothing passes twice
        other = other_all[name]
        torch.testing.assert_close(mine, other, rtol=CLOSE, atol=1e-5, msg=name)  # Adam makes much of little
