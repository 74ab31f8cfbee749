"""Discriminators on maps of any size, and how they start; the arrays are in tests/parity."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from georelay.models.adversary import Discriminator, adversarial_loss, spatial_softmax


def judge(halvings: int = 2) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(6, halvings, 4)


@pytest.mark.parametrize("halvings", [2, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (4, 4), (2, 30), (11, 12)])
def test_maps_too_small_for_the_kernels_are_judged_too(halvings: int, size: tuple[int, int]) -> None:
    made = judge(halvings)
    map_ = torch.randn(2, 6, *size, requires_grad=True)
    logits = made(spatial_softmax(map_))
    assert logits.shape[:3] == (2, 1, 1)
    adversarial_loss(logits, True, (64, 64), 1.0).backward()
    assert map_.grad is not None and map_.grad.isfinite().all()
    assert map_.grad.any() == (size != (1, 1))  # of one cell the softmax is 1, whatever it holds
    assert all(parameter.grad is not None for parameter in made.parameters())


@pytest.mark.parametrize(("halvings", "size", "logits"), [(2, (12, 13), (1, 1)), (3, (48, 48), (4, 4)), (3, (32, 28), (2, 1))])
def test_sizes_of_larger_maps(halvings: int, size: tuple[int, int], logits: tuple[int, int]) -> None:
    """48 -> 24 -> 12 -> 6 -> 5 -> 4, as published."""
    assert judge(halvings)(torch.rand(1, 6, *size)).shape[-2:] == logits


def test_a_small_map_is_put_in_the_middle_of_empty_cells() -> None:
    map_ = spatial_softmax(torch.randn(2, 6, 2, 4))
    around = torch.zeros(2, 6, 12, 12)
    around[:, :, 5:7, 4:8] = map_
    assert torch.equal(judge()(map_), judge()(around))


@pytest.mark.parametrize(("channels", "halvings", "millions"), [(512, 2, 1.18), (2048, 3, 4.86)])
def test_the_published_sizes(channels: int, halvings: int, millions: float) -> None:
    with torch.device("meta"):
        made = Discriminator(channels, halvings)
    assert sum(parameter.numel() for parameter in made.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_how_it_starts() -> None:
    """Variance 2 / ((1 + slope²) * fan_out); the last convolution as PyTorch has it, with a bias."""
    torch.manual_seed(0)
    *hidden, last = Discriminator(32, 2, 32).convs
    for conv in hidden:
        fan_out = conv.out_channels * 16
        assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (1.04 * fan_out)), rel=0.03)
        assert not conv.bias.any()
    assert last.bias.any()
    assert last.weight.abs().max() <= 1 / math.sqrt(last.in_channels * 16)


@pytest.mark.parametrize("real", [True, False])
def test_logits_are_enlarged_before_the_loss(real: bool) -> None:
    logits = torch.tensor([[[[0.0, 4.0]]]])
    fine = torch.tensor([0.0, 1.0, 3.0, 4.0])
    expected = F.softplus(-fine if real else fine).mean()
    torch.testing.assert_close(adversarial_loss(logits, real, (2, 4), 0.5), 0.5 * expected)


def test_half_precision_is_judged_in_single() -> None:
    map_ = torch.randn(1, 6, 4, 4)
    assert spatial_softmax(map_.bfloat16()).dtype == torch.float32
    assert spatial_softmax(map_.double()).dtype == torch.float64
    torch.testing.assert_close(spatial_softmax(map_).sum(dim=(2, 3)), torch.ones(1, 6))
    assert adversarial_loss(map_.bfloat16(), True, (4, 4), 1.0).dtype == torch.float32
    assert adversarial_loss(map_.double(), True, (8, 8), 1.0).dtype == torch.float64
