"""HFD-Net's decoder: every alignment starts as the plain sum, learns from the first step on, and moves what it should."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.errors import UserError
from georelay.models.backbones import define_missing_operators
from georelay.models.decoders import hfam
from georelay.models.decoders.hfam import ALIGNMENTS, DeformableSum, HfamDecoder, WarpedSum
from georelay.models.warp import warp

define_missing_operators()
CHANNELS, STRIDES = [6, 8, 10, 12], [4, 8, 16, 32]
SIZES = [(13, 9), (7, 5), (4, 3), (2, 2)]
MOVING = ("flow", "biflow", "deformable")


def convolved(map_: Tensor, offset: Tensor, weight: Tensor, padding: int, mask: Tensor) -> Tensor:
    """Modulated deformable convolution from its definition: each weight of the kernel reads the map where it is sent to.

    Offsets are (dy, dx) by weight, row by row; beyond the map there are zeros.
    """
    total = torch.zeros_like(map_)
    ring = 8
    wide = F.pad(map_, (ring,) * 4)
    for place in range(9):
        row, column = place // 3 - padding, place % 3 - padding
        flow = F.pad(offset[:, 2 * place : 2 * place + 2].flip(1), (ring,) * 4)
        flow = flow + flow.new_tensor([column, row]).view(1, 2, 1, 1)
        read = warp(wide, flow)[..., ring:-ring, ring:-ring] * mask[:, place : place + 1]
        total = total + F.conv2d(read, weight[:, :, place // 3, place % 3, None, None])
    return total


@pytest.fixture(autouse=True)
def operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The definition in place of torchvision's operator where that does not load."""
    if not hasattr(torch.ops.torchvision, "deform_conv2d"):
        monkeypatch.setattr(hfam, "deformable_operator", lambda: convolved)


def build(alignment: str, levels: int = 4) -> HfamDecoder:
    torch.manual_seed(0)
    return HfamDecoder(CHANNELS[:levels], STRIDES[:levels], 8, 3, 0.1, alignment)


def maps(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, width, *size) for width, size in zip(CHANNELS, sizes, strict=False)]


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_every_alignment_starts_as_the_plain_sum(alignment: str, levels: int) -> None:
    plain, after_plain = build("none", levels), torch.rand(3)
    made, after = build(alignment, levels), torch.rand(3)
    assert torch.equal(after, after_plain), "whatever is drawn next is drawn alike"
    shared = plain.state_dict()
    own = made.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in shared.items())
    assert all(name.startswith("alignments.") for name in own.keys() - shared.keys())
    assert bool(own.keys() - shared.keys()) == (alignment != "none" and levels > 1)
    given = maps()[:levels]
    torch.testing.assert_close(made.eval()(given), plain.eval()(given), atol=1e-6, rtol=0)
    doubles = [map_.double() for map_ in given]  # in single precision places on a map are rounded: a level is 3e-6 off
    for first, second in zip(made.double().levels(doubles), plain.double().levels(doubles), strict=True):
        torch.testing.assert_close(first, second, atol=1e-12, rtol=0)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("sizes", [SIZES, [(9, 9), (9, 9), (1, 1)], [(1, 5), (1, 3)], [(7, 6)]])
def test_levels_lie_on_the_grids_of_the_maps(alignment: str, sizes: list[tuple[int, int]]) -> None:
    made, given = build(alignment, len(sizes)).train(), maps(sizes)
    levels = made.levels(given)
    assert [tuple(level.shape) for level in levels] == [(2, 8, *size) for size in sizes]
    assert made(given).shape == (2, 3, *sizes[0]) and (made.stride, made.strides) == (4, STRIDES[: len(sizes)])
    made.eval()
    torch.testing.assert_close(made.embed(given), made.gather(made.levels(given)))
    torch.testing.assert_close(made.levels(given)[-1], made.laterals[-1](given[-1]), msg="the coarsest is not smoothed")


def test_the_sum_goes_from_coarse_to_fine() -> None:
    """Constant maps stay constant when they are resized, so the sums can be told: units are cut down to their input."""
    made = build("none", 3).eval()
    made.laterals, made.smooths = torch.nn.ModuleList([torch.nn.Identity()] * 3), torch.nn.ModuleList([torch.nn.Identity()] * 2)
    given = [torch.full((1, 8, *size), value) for size, value in zip(SIZES, (1.0, 10.0, 100.0), strict=False)]
    assert [level.round(decimals=3).unique().tolist() for level in made.levels(given)] == [[111.0], [110.0], [100.0]]


@pytest.mark.parametrize("alignment", ["concat", *MOVING])
def test_alignments_learn_from_the_first_step_on(alignment: str) -> None:
    """What starts at zero has a gradient at once; what stands before it has one a step later."""
    made = build(alignment).train()
    steps = torch.optim.SGD(made.parameters(), 0.1)
    for step in range(2):
        steps.zero_grad()
        F.cross_entropy(made(maps()), torch.randint(3, (2, *SIZES[0]))).backward()
        found = {name: parameter.grad for name, parameter in made.named_parameters()}
        assert all(gradient is not None for gradient in found.values())
        for name, gradient in found.items():
            reduces = ".fine." in name or ".coarse." in name
            assert bool(gradient.any()) or (reduces and step == 0) or name == "fusion.norm.weight", name
        steps.step()


@pytest.mark.parametrize(("both", "expected"), [(False, (0, 1)), (True, (2, 1))])
def test_which_levels_are_moved(both: bool, expected: tuple[int, int]) -> None:
    """The coarse one by the first two channels (x, y); the fine one, if at all, by the next two."""
    made, (fine, coarse) = WarpedSum(4, both), torch.randn(2, 1, 4, 6, 7)
    made.flow.out.bias.data[:2] = torch.tensor([1.0, 0.0])
    made.flow.out.bias.data[2:] = torch.tensor([0.0, 2.0][: 2 * both])
    inner = made(fine, coarse)[..., :4, :6]
    down, right = expected
    torch.testing.assert_close(inner, fine[..., down : down + 4, :6] + coarse[..., :4, right : right + 6], atol=1e-5, rtol=0)


def test_deformable_weights_read_where_they_are_sent() -> None:
    """(dy, dx) for each weight of the kernel, and twice the sigmoid of its last channels as its share."""
    made, (fine, coarse) = DeformableSum(4), torch.randn(2, 1, 4, 6, 7)
    bias = made.offset.out.bias.data
    bias[8], bias[9], bias[18 + 4] = 2.0, 1.0, torch.tensor(3.0).log()  # of the middle one
    moved = (made(fine, coarse) - fine)[..., :4, :6]
    torch.testing.assert_close(moved, 1.5 * coarse[..., 2:, 1:], atol=1e-5, rtol=0)


def test_the_definition_is_a_convolution_where_nothing_is_sent_away() -> None:
    torch.manual_seed(0)
    map_, weight = torch.randn(2, 4, 5, 6), torch.randn(4, 4, 3, 3)
    found = convolved(map_, torch.zeros(2, 18, 5, 6), weight, 1, torch.ones(2, 9, 5, 6))
    torch.testing.assert_close(found, F.conv2d(map_, weight, padding=1), atol=1e-5, rtol=1e-5)


def test_half_precision_starts_as_the_plain_sum_too() -> None:
    given = maps()
    with torch.autocast("cpu", torch.bfloat16):
        plain = build("none").eval()(given)
        for alignment in MOVING:
            torch.testing.assert_close(build(alignment).eval()(given), plain, atol=1e-2, rtol=0)


def test_the_size_of_a_resnet_50_s() -> None:
    """5.33 million weights, of which the flows have 0.2."""
    counts = {}
    for alignment in ("none", "flow"):
        with torch.device("meta"):
            made = HfamDecoder([256, 512, 1024, 2048], STRIDES, 256, 2, 0.1, alignment)
        counts[alignment] = sum(parameter.numel() for parameter in made.parameters()) / 1e6
    assert counts["flow"] == pytest.approx(5.33, abs=0.005)
    assert counts["flow"] - counts["none"] == pytest.approx(0.21, abs=0.005)


def test_without_torchvision_s_operator_the_deformable_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the stand-in
    real: Callable[[], Any] = hfam.deformable_operator
    if hasattr(torch.ops.torchvision, "deform_conv2d"):
        assert real().__module__.startswith("torchvision")
        return
    with pytest.raises(UserError, match=r"model\.decoder: torchvision has no deformable convolution .*\n.* hfam-flow"):
        build("deformable")
