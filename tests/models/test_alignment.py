"""Alignment, necks and output norms against interpolation written as matrices, and their options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from georelay.models.alignment import FeatureAlignment, LevelNorms, MultiLevelNeck, fused
from georelay.models.distillation import distillation_loss


def matrix(new: int, old: int) -> np.ndarray:
    """Bilinear interpolation of one axis, cells as areas: a row for each new cell, the shares of two old ones in it."""
    shares = np.zeros((new, old))
    for place, centre in enumerate(((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)):
        low = int(centre)
        high = min(low + 1, old - 1)
        shares[place, low] += 1 - (centre - low)
        shares[place, high] += centre - low
    return shares


def reference(conv: nn.Module, map_: Tensor, upstream: Tensor) -> dict[str, Any]:
    """1x1 convolution, then interpolation, and their gradients."""
    weight, bias = conv.weight.detach().numpy()[..., 0, 0], conv.bias.detach().numpy()
    x, up = map_.detach().numpy(), upstream.numpy()
    rows, cols = (matrix(new, old) for new, old in zip(up.shape[-2:], x.shape[-2:], strict=True))
    enlarged = np.einsum("ai,bj,ncij->ncab", rows, cols, x)
    down = np.einsum("ai,bj,noab->noij", rows, cols, up)
    return {
        "out": np.einsum("oc,ncab->noab", weight, enlarged) + bias[:, None, None],
        "map": np.einsum("oc,noij->ncij", weight, down),
        "weight": np.einsum("noab,ncab->oc", up, enlarged)[..., None, None],
        "bias": up.sum((0, 2, 3)),
    }


def close(found: Tensor | None, expected: np.ndarray, atol: float = 1e-10) -> None:
    assert found is not None
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=atol, rtol=0)


@pytest.mark.parametrize(
    ("widths", "size", "inputs"),
    [
        ([6, 7, 8], 7, [(9, 5), (7, 7), (2, 3)]),
        (5, (4, 7), [(12, 12), (3, 8), (1, 1)]),
        (3, 19, [(64, 64), (32, 16), (8, 8)]),
        (3, 37, [(48, 48), (16, 24), (37, 37)]),
    ],
)
def test_alignment_is_a_matrix_of_channels_and_one_of_each_axis(widths: Any, size: Any, inputs: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    network = FeatureAlignment([2, 3, 4], widths, size).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    maps = [torch.randn(2, 2 + level, *hw, dtype=torch.float64, requires_grad=True) for level, hw in enumerate(inputs)]
    outputs = network(maps)
    ups = [torch.randn_like(output) for output in outputs]
    torch.autograd.backward(outputs, ups)
    for conv, map_, output, up in zip(network.convert, maps, outputs, ups, strict=True):
        expected = reference(conv, map_, up)
        close(output, expected["out"])
        close(map_.grad, expected["map"])
        close(conv.weight.grad, expected["weight"])
        close(conv.bias.grad, expected["bias"])


def test_every_level_may_have_a_grid_of_its_own() -> None:
    network = FeatureAlignment([2, 2], 3)
    sizes = [(5, 4), (3, 2)]
    assert [map_.shape[-2:] for map_ in network([torch.rand(1, 2, 8, 8)] * 2, sizes)] == sizes
    with pytest.raises(ValueError, match="output_size"):
        network([torch.rand(1, 2, 8, 8)] * 2)


def test_alignment_starts_small_and_without_bias() -> None:
    torch.manual_seed(0)
    (conv,) = FeatureAlignment([256], 256, 1).convert
    assert conv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not conv.bias.any()


def test_fusing_sums_and_leaves_the_levels_as_they_were() -> None:
    maps = [torch.full((1, 1, 2, 2), value) for value in (1.0, 20.0, 300.0)]
    (total,) = fused(maps)
    assert total.unique().tolist() == [321.0]
    assert [map_.unique().item() for map_ in maps] == [1.0, 20.0, 300.0]


@pytest.mark.parametrize("fuse", [False, True])
def test_gradients_of_the_whole_chain_are_those_of_its_differences(fuse: bool) -> None:
    """Backbone maps, alignment, sum, loss: against finite differences."""
    torch.manual_seed(0)
    network = FeatureAlignment([2, 3], 4, (3, 2)).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    targets = [torch.randn(2, 4, 3, 2, dtype=torch.float64) for _ in range(2)]
    maps = [torch.randn(2, 2, 5, 4), torch.randn(2, 3, 2, 2)]

    def loss(*given: Tensor) -> Tensor:
        return distillation_loss(network(given), targets, mode="official", alpha=0.3, temperature=4.0, fuse=fuse)

    assert torch.autograd.gradcheck(loss, tuple(map_.double().requires_grad_() for map_ in maps))


@pytest.mark.parametrize(("side", "sides"), [(19, [76, 38, 19, 9]), (37, [148, 74, 37, 18]), (4, [16, 8, 4, 2])])
def test_a_neck_makes_a_pyramid_of_one_grid(side: int, sides: list[int]) -> None:
    maps = MultiLevelNeck([2, 3, 4, 5], [4, 2, 1, 0.5])([torch.rand(1, width, side, side) for width in (2, 3, 4, 5)])
    assert [tuple(map_.shape[1:]) for map_ in maps] == [(width, *[s] * 2) for width, s in zip((2, 3, 4, 5), sides, strict=True)]


@pytest.mark.parametrize(("scale", "side"), [(4, 6), (2, 3), (1, 4), (0.5, 8), (0.5, 9)])
def test_a_neck_s_level_by_hand(scale: float, side: int) -> None:
    """1x1 convolution, interpolation by the factor itself (an odd side is not stretched to half of it), 3x3 convolution."""
    torch.manual_seed(0)
    neck = MultiLevelNeck([3], [scale]).double()
    for parameter in neck.parameters():
        nn.init.normal_(parameter)
    map_ = torch.randn(1, 3, side, side, dtype=torch.float64)
    lateral, conv = neck.lateral_convs[0].conv, neck.convs[0].conv
    weight, bias = lateral.weight.detach().numpy()[..., 0, 0], lateral.bias.detach().numpy()
    new = int(side * scale)
    shares = matrix(new, round(new / scale))  # of an odd side the last row and column are left out
    shares = np.pad(shares, ((0, 0), (0, side - shares.shape[1])))
    laid = np.einsum("ai,bj,ncij->ncab", shares, shares, np.einsum("oc,ncij->noij", weight, map_.numpy()))
    padded = np.pad(laid + bias[:, None, None], ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    expected = np.einsum("ockl,ncabkl->noab", conv.weight.detach().numpy(), windows) + conv.bias.detach().numpy()[:, None, None]
    (found,) = neck([map_])
    close(found, expected)


def test_a_neck_starts_as_xavier_says() -> None:
    torch.manual_seed(0)
    neck = MultiLevelNeck([64], [2])
    for conv, fan in ((neck.lateral_convs[0].conv, 64), (neck.convs[0].conv, 64 * 9)):
        bound = (6 / (2 * fan)) ** 0.5
        assert 0.98 * bound < conv.weight.abs().max() <= bound
        assert not conv.bias.any()


def test_output_norms_are_over_the_channels_of_each_cell() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, width, 3, 4) * 5 + 1 for width in (4, 6)]
    for map_, found in zip(maps, LevelNorms([4, 6])(maps), strict=True):
        expected = (map_ - map_.mean(1, keepdim=True)) / (map_.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
