"""Feature extractors: any timm network, any number of bands, maps at several strides. The only module importing timm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.errors import UserError, suggestion
from georelay.models.eager import define_missing_operators, without_compiler

with without_compiler():
    define_missing_operators()
    import timm

# Vision transformers are built for one image size; this makes them take any. Other networks refuse the word.
ANY_SIZE: dict[str, Any] = {"dynamic_img_size": True}


class Backbone(nn.Module):
    """A timm network that answers an image with a list of maps, finest first.

    `channels[i]` and `strides[i]` describe map i. An image that the largest stride does not divide is padded on the
    right and at the bottom, whatever the network would do, and its maps overhang it there. A vision transformer gives
    maps of one stride.
    """

    def __init__(self, name: str, stages: Sequence[int], in_channels: int) -> None:
        super().__init__()
        self.net = _create(name, stages, in_channels)
        self.channels: list[int] = self.net.feature_info.channels()
        self.strides: list[int] = self.net.feature_info.reduction()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps of a normalised image (B, bands, H, W)."""
        over_y, over_x = (-size % self.strides[-1] for size in image.shape[-2:])
        maps: list[Tensor] = self.net(F.pad(image, (0, over_x, 0, over_y)) if over_y or over_x else image)
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
        model: Any = timm.create_model(name)
        return len(model.feature_info)
