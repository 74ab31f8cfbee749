"""Backbones and decoders through one interface: any bands, any size, one stride or several."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from georelay.errors import UserError
from georelay.models.backbones import Backbone
from georelay.models.decoders.fpn import FpnDecoder
from georelay.models.student import DECODERS, Student, build_student, full_size
from georelay.settings.student import Model
from invented import MODEL


def build(bands: int = 4, **changes: Any) -> Student:
    model = MODEL | {"stages": [1, 2, 3, 4], "width": 16}
    return build_student(model | changes, bands, 7)


def test_a_convolutional_backbone_gives_its_strides() -> None:
    backbone = Backbone("test_resnet", [1, 2, 3, 4], 4)
    maps = backbone(torch.rand(2, 4, 64, 64))
    assert backbone.strides == [4, 8, 16, 32]
    assert [map_.shape[1] for map_ in maps] == backbone.channels
    assert [64 // map_.shape[-1] for map_ in maps] == backbone.strides


@pytest.mark.parametrize("decoder", ["fpn", "segformer", "deeplab", "hfam-none", "hfam-concat", "hfam-flow", "hfam-biflow"])
@pytest.mark.parametrize(
    ("backbone", "stages"), [("test_resnet", [1, 2, 3, 4]), ("test_vit", [1, 3, 5]), ("test_convnext", [0, 2])]
)
@pytest.mark.parametrize("size", [(64, 64), (65, 47)])
def test_every_pixel_gets_logits(decoder: str, backbone: str, stages: list[int], size: tuple[int, int]) -> None:
    student = build(bands=2, decoder=decoder, backbone=backbone, stages=stages)
    logits = student(torch.rand(2, 2, *size))
    assert logits.shape[-1] * student.stride >= size[1]
    assert full_size(logits, student.stride, size).shape == (2, 7, *size)


def test_settings_name_every_decoder() -> None:
    assert set(get_args(Model.model_fields["decoder"].annotation)) == set(DECODERS)


def test_a_transformer_s_map_is_refined() -> None:
    assert build(backbone="test_vit", stages=[1, 3]).stride == 4


def test_the_pyramid_adds_coarse_to_fine() -> None:
    """Constant maps stay constant under bilinear resizing, so the sum can be told."""
    decoder = FpnDecoder([1, 1], [4, 8], 1, 2, 0.0)
    for lateral, factor in zip(decoder.laterals, (10.0, 1.0), strict=True):
        lateral.weight.data.fill_(factor)
        lateral.bias.data.zero_()
    fused = decoder.fuse([torch.full((1, 1, 4, 4), 2.0), torch.full((1, 1, 2, 2), 3.0)])
    assert fused.unique().tolist() == [23.0]


def test_full_size_interpolates_cells_as_areas_and_cuts_what_overhangs() -> None:
    fine = full_size(torch.tensor([[[[0.0, 4.0]]]]), 2, (2, 3))
    assert fine[0, 0].tolist() == [[0.0, 1.0, 3.0]] * 2


def test_a_misspelt_backbone_is_corrected() -> None:
    with pytest.raises(UserError, match='did you mean "test_resnet"'):
        build(backbone="test_resnte")


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_a_stage_that_does_not_exist_is_refused(backbone: str) -> None:
    with pytest.raises(UserError, match=f"{backbone} has stages 0 to"):
        build(backbone=backbone, stages=[1, 40])


def test_a_transformer_may_be_tapped_as_its_public_code_does() -> None:
    """Normed levels, positions by DINOv2's rule, gradients down to the position table; timm's weight names stay."""
    changes: dict[str, Any] = {"backbone": "test_vit", "stages": [0, 1, 2, 3], "normed": [0, 1, 2, 3], "positions": "dinov2"}
    torch.manual_seed(0)
    student = build(decoder="dpt", **changes)
    image = torch.randn(2, 4, 80, 70)
    maps = student.backbone(image)
    assert [tuple(map_.shape[2:]) for map_ in maps] == [(5, 5)] * 4
    for map_ in maps:  # the norm has weight 1 and bias 0
        torch.testing.assert_close(map_.mean(1), torch.zeros(2, 5, 5), atol=1e-5, rtol=0)
    logits = student(image)
    assert student.stride == 1 and logits.shape == (2, 7, 80, 80)
    logits.sum().backward()
    assert student.backbone.net.pos_embed.grad.abs().sum() > 0
    names = [name for name, parameter in student.named_parameters() if parameter.grad is None]
    assert not names
    assert {f"inside.net.{name}" for name in student.backbone.net.state_dict()} == set(student.backbone.state_dict())
