"""Feature extractors: any timm network, any number of bands, maps at several strides. The only module importing timm."""

from __future__ import annotations

from typing import Any, Sequence

import torch
from torch import Tensor, nn

from georelay.errors import UserError, suggestion
from georelay.models.eager import define_missing_operators, without_compiler

with without_compiler():
    define_missing_operators()
    import timm

# Vision transformers are built for one image size; these make them take any. Other networks refuse the words.
ANY_SIZE = {"dynamic_img_size": True, "dynamic_img_pad": True}


class Backbone(nn.Module):
    """A timm network that answers an image with a list of maps, finest first.

    `channels[i]` and `strides[i]` describe map i. Maps of an image that a stride does not divide overhang its right
    and bottom edge. A vision transformer gives maps of one stride.
    """

    def __init__(self, name: str, stages: Sequence[int], in_channels: int) -> None:
        super().__init__()
        self.net = _create(name, stages, in_channels)
        self.channels: list[int] = self.net.feature_info.channels()
        self.strides: list[int] = self.net.feature_info.reduction()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps of a normalised image (B, bands, H, W)."""
        maps: list[Tensor] = self.net(image)
        return maps


def _create(name: str, stages: Sequence[int], in_channels: int) -> Any:
    if not timm.is_model(name):
        raise UserError(f'unknown backbone "{name}"', "model.backbone", suggestion(name, timm.list_models()))
    options = {"pretrained": False, "features_only": True, "in_chans": in_channels, "out_indices": tuple(stages)}
    try:
        return _any_size(name, options)
    except (IndexError, AssertionError) as error:
        known = _stage_count(name)
        raise UserError(f"{name} has stages 0 to {known - 1}, not {list(stages)}", "model.stages") from error
    except (RuntimeError, AttributeError) as error:
        raise UserError(f"{name} cannot give feature maps ({error})", "model.backbone", "choose another timm network") from error


def _any_size(name: str, options: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, **options, **ANY_SIZE)
    except TypeError:
        return timm.create_model(name, **options)


def _stage_count(name: str) -> int:
    """How many maps a network can give; nothing is computed on the meta device."""
    with torch.device("meta"):
        return len(timm.create_model(name).feature_info)
