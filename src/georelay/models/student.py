"""The student: a backbone and a decoder, and how its logits become those of every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.backbones import Backbone
from georelay.models.decoders.fpn import FpnDecoder
from georelay.models.decoders.segformer import SegformerDecoder

DECODERS: dict[str, type[FpnDecoder] | type[SegformerDecoder]] = {"fpn": FpnDecoder, "segformer": SegformerDecoder}


class Student(nn.Module):
    """Image (B, bands, H, W) to logits (B, classes, about H / stride, about W / stride)."""

    def __init__(self, backbone: Backbone, decoder: FpnDecoder | SegformerDecoder) -> None:
        super().__init__()
        self.backbone, self.decoder = backbone, decoder
        self.stride = decoder.stride

    def forward(self, image: Tensor) -> Tensor:
        """Logits at the student's own stride."""
        logits: Tensor = self.decoder(self.backbone(image))
        return logits

    def embed(self, image: Tensor) -> Tensor:
        """What the classifier reads, at the student's own stride."""
        return self.decoder.embed(self.backbone(image))

    def classify(self, features: Tensor) -> Tensor:
        """Logits of what `embed` gave; together they are `forward`."""
        logits: Tensor = self.decoder.classify(self.decoder.dropout(features))
        return logits


def build_student(model: Mapping[str, Any], in_channels: int, classes: int) -> Student:
    """A student with random weights, as the plan's `settings.model` describes it."""
    backbone = Backbone(model["backbone"], model["stages"], in_channels, model["arguments"])
    decoder = DECODERS[model["decoder"]](backbone.channels, backbone.strides, model["width"], classes, model["dropout"])
    return Student(backbone, decoder)


def full_size(logits: Tensor, stride: int, size_yx: tuple[int, int]) -> Tensor:
    """Logits of every pixel. A grid that overhangs the image on the right and at the bottom is cut there."""
    if stride == 1:
        return logits[..., : size_yx[0], : size_yx[1]]
    fine = F.interpolate(logits, scale_factor=stride, mode="bilinear", align_corners=False)
    return fine[..., : size_yx[0], : size_yx[1]]
