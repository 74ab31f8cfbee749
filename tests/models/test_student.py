"""Backbones and decoders through one interface: any bands, any size, one stride or several."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from georelay.errors import UserError
from georelay.models.backbones import Backbone
from georelay.models.decoders.fpn import FpnDecoder
from georelay.models.student import Student, build_student, full_size


def build(bands: int = 4, **changes: Any) -> Student:
    model = {"backbone": "test_resnet", "arguments": {}, "stages": [1, 2, 3, 4], "neck": [], "decoder": "fpn"}
    model |= {"width": 16, "dropout": 0.0}
    return build_student(model | changes, bands, 7)


def test_a_convolutional_backbone_gives_its_strides() -> None:
    backbone = Backbone("test_resnet", [1, 2, 3, 4], 4)
    maps = backbone(torch.rand(2, 4, 64, 64))
    assert backbone.strides == [4, 8, 16, 32]
    assert [map_.shape[1] for map_ in maps] == backbone.channels
    assert [64 // map_.shape[-1] for map_ in maps] == backbone.strides


@pytest.mark.parametrize("decoder", ["fpn", "segformer"])
@pytest.mark.parametrize(
    ("backbone", "stages"), [("test_resnet", [1, 2, 3, 4]), ("test_vit", [1, 3, 5]), ("test_convnext", [0, 2])]
)
@pytest.mark.parametrize("size", [(64, 64), (65, 47)])
def test_every_pixel_gets_logits(decoder: str, backbone: str, stages: list[int], size: tuple[int, int]) -> None:
    student = build(bands=2, decoder=decoder, backbone=backbone, stages=stages)
    logits = student(torch.rand(2, 2, *size))
    assert logits.shape[-1] * student.stride >= size[1]
    assert full_size(logits, student.stride, size).shape == (2, 7, *size)


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
