"""The running average: a plain mean at first, then a decay; a network of its own."""

from __future__ import annotations

import torch
from torch import nn

from georelay.models.ema import Average


def follow(values: list[float], decay: float) -> float:
    network = nn.Linear(1, 1, bias=False)
    average = Average(network, decay)
    for step, value in enumerate(values):
        network.weight.data.fill_(value)
        average.update(network, step)
    return float(average.network.weight)


def test_the_first_steps_are_a_plain_mean() -> None:
    assert follow([1.0, 2.0, 6.0], decay=0.99) == 3.0


def test_then_the_decay_holds() -> None:
    # step 0 copies 8; then r = min(1/2, 0.25) = 0.25: 0.25 * 8 + 0.75 * 4 = 5, and 0.25 * 5 + 0.75 * 1 = 2
    assert follow([8.0, 4.0, 1.0], decay=0.25) == 2.0


def test_it_is_frozen_in_eval_mode_and_counts_alike() -> None:
    network = nn.BatchNorm2d(2)
    average = Average(network, 0.9)
    network(torch.rand(4, 2, 3, 3))
    average.train()
    average.update(network, 0)
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert average.network.num_batches_tracked == 1
    assert torch.equal(average.network.running_mean, network.running_mean)


def test_without_buffers_its_statistics_are_its_own_and_so_is_training() -> None:
    network = nn.BatchNorm2d(2)
    average = Average(network, 0.9, buffers=False).train()
    network(torch.rand(4, 2, 3, 3) + 5)
    network.weight.data.fill_(3.0)
    average.update(network, 1)
    assert average.network.training
    assert average.network.weight.tolist() == [2.0, 2.0]
    assert average.network.num_batches_tracked == 0
    average.network(torch.rand(4, 2, 3, 3) - 5)
    assert (average.network.running_mean < 0).all() and (network.running_mean > 0).all()
    assert not average.eval().network.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
