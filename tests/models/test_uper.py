"""UPerNet's decoder and the auxiliary head at any number of levels and any size, and strides behind a neck."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from georelay.errors import UserError
from georelay.models.alignment import MultiLevelNeck
from georelay.models.decoders.blocks import whole
from georelay.models.decoders.fcn import FcnHead
from georelay.models.decoders.uper import POOLS, UperDecoder
from georelay.models.student import build_head, build_student, full_size
from invented import MODEL as INVENTED

MODEL: dict[str, Any] = INVENTED | {"stages": [1, 2, 3, 4], "decoder": "uper"}


def decoder(channels: list[int], strides: list[int]) -> UperDecoder:
    torch.manual_seed(0)
    return UperDecoder(channels, strides, 8, 3, 0.0).eval()


def maps(channels: list[int], *sizes: tuple[int, int]) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, width, *size) for width, size in zip(channels, sizes, strict=True)]


def test_one_level_is_context_and_the_last_unit() -> None:
    made, (map_,) = decoder([5], [16]), maps([5], (7, 6))
    assert not made.lateral_convs and not made.fpn_convs
    torch.testing.assert_close(made([map_]), made.classify(made.fpn_bottleneck(made.context(map_))))
    assert made([map_]).shape == (2, 3, 7, 6)


@pytest.mark.parametrize("sizes", [((13, 9), (7, 5), (4, 3)), ((12, 12), (6, 6), (3, 3)), ((9, 9), (9, 9), (1, 1))])
def test_logits_lie_on_the_finest_grid(sizes: tuple[tuple[int, int], ...]) -> None:
    channels = [3, 4, 5]
    made = decoder(channels, [4, 8, 16])
    assert made.stride == 4
    assert made(maps(channels, *sizes)).shape == (2, 3, *sizes[0])


def test_context_holds_the_map_and_its_means() -> None:
    """Means of a constant are that constant, whatever the grid, and of one sign as often as the other 0."""
    made = decoder([1], [4])
    seen: list[Tensor] = []
    made.bottleneck.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for unit in made.psp_modules:
        unit.conv.weight.data.fill_(1.0)
    balanced = torch.tensor([1.0, -1.0]).repeat(18).view(1, 1, 6, 6)
    for map_ in (torch.full((1, 1, 6, 6), 3.0), balanced):
        made.context(map_)
    scale = (1 + made.psp_modules[0].norm.eps) ** 0.5
    assert seen[0].shape[1] == 1 + 8 * len(POOLS)
    torch.testing.assert_close(seen[0] * torch.tensor([1.0] + [scale] * 32).view(1, 33, 1, 1), torch.full((1, 33, 6, 6), 3.0))
    assert torch.equal(seen[1][:, :1], balanced)
    for first in (1, 17):  # one cell, and three a side: as many of one sign as of the other in each
        assert not seen[1][:, first : first + 8].any()
    torch.testing.assert_close(seen[1][:, 25] * scale, balanced[:, 0].clamp(min=0))


def test_coarse_levels_reach_the_finest_one() -> None:
    """Through the sums from coarse to fine, not only where all are joined."""
    channels = [3, 4, 5]
    made, given = decoder(channels, [4, 8, 16]), [map_.requires_grad_() for map_ in maps(channels, (8, 8), (4, 4), (2, 2))]
    seen: list[Tensor] = []
    made.fpn_convs[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    made(given)
    seen[0].sum().backward()
    assert all(map_.grad is not None and map_.grad.any() for map_ in given)


def test_every_weight_is_used() -> None:
    channels = [3, 4, 5]
    made = decoder(channels, [4, 8, 16]).train()
    made(maps(channels, (8, 8), (4, 4), (2, 2))).pow(2).sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_the_auxiliary_head_keeps_the_grid() -> None:
    head = FcnHead(5, 7, 3, 0.0)
    assert head(torch.rand(2, 5, 9, 4)).shape == (2, 3, 9, 4)
    assert head.convs.conv.weight.shape == (7, 5, 3, 3)


@pytest.mark.parametrize("name", ["fpn", "segformer", "uper", "deeplab", "hfam-none", "hfam-flow", "hfam-biflow"])
@pytest.mark.parametrize(
    ("strides", "scales", "stride"),
    [
        ([16, 16, 16, 16], [4, 2, 1, 0.5], 4),
        ([14, 14, 14, 14], [4, 2, 1, 0.5], 3.5),
        ([4, 8, 16, 32], [1, 1, 1, 1], 4),
        ([8, 16], [1, 0.5], 8),
    ],
)
def test_a_neck_makes_strides_finer(name: str, strides: list[int], scales: list[float], stride: float) -> None:
    widths = [4] * len(strides)
    made, neck = build_head(MODEL | {"decoder": name, "neck": scales}, widths, strides, 3)
    assert isinstance(neck, MultiLevelNeck)
    assert (made.stride, type(made.stride)) == (stride, type(stride))
    cells = [112 // own for own in strides]
    finer = neck([torch.rand(2, 4, count, count) for count in cells])
    logits = made(finer)
    assert logits.shape[-1] * made.stride == 112
    assert full_size(logits, made.stride, (112, 112)).shape == (2, 3, 112, 112)


def test_a_pyramid_of_one_stride_is_refined_only_where_no_neck_did() -> None:
    options = ([4, 4], [16, 16], 3)
    with_neck, _ = build_head(MODEL | {"decoder": "fpn", "neck": [4, 2]}, *options)
    without, neck = build_head(MODEL | {"decoder": "fpn"}, *options)
    assert neck is None
    assert (with_neck.enlarge, without.enlarge) == (1, 4)
    assert (with_neck.stride, without.stride) == (4, 4)


def test_a_scale_too_few_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.neck: 1 scales for 2 levels"):
        build_head(MODEL | {"neck": [1]}, [4, 4], [4, 8], 3)


@pytest.mark.parametrize("neck", [[], [2, 1, 1, 0.5]])
@pytest.mark.parametrize("size", [(64, 64), (65, 47)])
def test_a_student_with_it_gives_every_pixel_logits(neck: list[float], size: tuple[int, int]) -> None:
    student = build_student(MODEL | {"neck": neck}, 2, 7).eval()
    assert student.stride == (2 if neck else 4)
    logits = student(torch.rand(2, 2, *size))
    assert full_size(logits, student.stride, size).shape == (2, 7, *size)


def test_a_fractional_stride_spans_whole_pixels() -> None:
    """Four cells of 3.5 pixels: 14 pixels, the first with its centre at 1.75."""
    fine = full_size(torch.tensor([[[[0.0, 7.0, 14.0, 21.0]]]]).expand(1, 1, 4, 4), 3.5, (14, 13))
    assert fine.shape == (1, 1, 14, 13)
    centres = torch.arange(13) + 0.5
    torch.testing.assert_close(fine[0, 0, 5], ((centres - 1.75) * 2).clamp(0, 21))


def test_no_stride_means_that_logits_span_the_image() -> None:
    assert full_size(torch.rand(1, 2, 5, 3), None, (17, 11)).shape == (1, 2, 17, 11)
    fine = full_size(torch.tensor([[[[0.0, 3.0]]]]), None, (1, 3))
    torch.testing.assert_close(fine[0, 0, 0], torch.tensor([0.0, 1.5, 3.0]))


def test_whole_strides_are_integers() -> None:
    assert [(value, type(value)) for value in map(whole, (4.0, 3.5, 8))] == [(4, int), (3.5, float), (8, int)]
