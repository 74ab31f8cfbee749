"""Optimisers: groups, clipping and rates, against one step by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from georelay.methods.base import Group
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers
from invented import TRAIN


def stepped(gradient: list[float], groups: int = 1, **changes: Any) -> list[float]:
    """Parameters that start at 1 after one step; with two groups the second has ten times the rate and no decay."""
    train = TRAIN | {"schedule": "constant", "warmup_steps": 0, "lr": 0.1, "weight_decay": 0.0, "clip": 0.0} | changes
    parameters = [nn.Parameter(torch.ones(())) for _ in gradient]
    own = [Group(parameters)] if groups == 1 else [Group(parameters[:1]), Group(parameters[1:], lr_scale=10.0, weight_decay=0.0)]
    updater = Optimisers({"main": own}, train, torch.device("cpu"), World(0, 1, 0))
    updater.set_rates(0)
    updater.backward(sum(parameter * slope for parameter, slope in zip(parameters, gradient, strict=True)))
    updater.apply("main")
    assert all(parameter.grad is None for parameter in parameters)
    return [parameter.item() for parameter in parameters]


def test_sgd_by_hand() -> None:
    assert stepped([3.0, -1.0], optimizer="sgd") == pytest.approx([1 - 0.3, 1 + 0.1])


def test_adamw_moves_by_the_rate_and_decays_apart() -> None:
    assert stepped([3.0, -1.0], weight_decay=0.5) == pytest.approx([0.95 - 0.1, 0.95 + 0.1], abs=1e-5)


def test_clipping_bounds_the_norm() -> None:
    # (3, 4) has norm 5 and becomes (0.6, 0.8)
    assert stepped([3.0, 4.0], optimizer="sgd", clip=1.0) == pytest.approx([1 - 0.06, 1 - 0.08], abs=1e-5)


def test_groups_have_their_own_rate_and_decay() -> None:
    assert stepped([1.0, 1.0], groups=2, optimizer="sgd", weight_decay=1.0) == pytest.approx([1 - 0.1 * 2, 1 - 1.0 * 1])
