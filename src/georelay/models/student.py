"""The student: a backbone and a decoder, and how its logits become those of every pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from georelay.errors import UserError
from georelay.models.alignment import MultiLevelNeck
from georelay.models.backbones import Backbone
from georelay.models.decoders.blocks import Decoder, resized, whole
from georelay.models.decoders.deeplab import DeeplabDecoder
from georelay.models.decoders.dpt import DptDecoder
from georelay.models.decoders.fpn import FpnDecoder
from georelay.models.decoders.hfam import ALIGNMENTS, HfamDecoder
from georelay.models.decoders.segformer import SegformerDecoder
from georelay.models.decoders.uper import UperDecoder
from georelay.models.positions import OWN_RULE
from georelay.models.taps import TapBackbone

DECODERS: dict[str, Callable[..., Decoder]] = {
    "fpn": FpnDecoder,
    "segformer": SegformerDecoder,
    "uper": UperDecoder,
    "dpt": DptDecoder,
    "deeplab": DeeplabDecoder,
    **{f"hfam-{alignment}": partial(HfamDecoder, alignment=alignment) for alignment in ALIGNMENTS},
}


class Student(nn.Module):
    """Image (B, bands, H, W) to logits (B, classes, about H / stride, about W / stride).

    `backbone` is whatever answers an image with maps, finest first; stride None: the logits span the image exactly.
    """

    def __init__(self, backbone: Any, decoder: Decoder, neck: MultiLevelNeck | None = None) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.neck, self.decoder = neck or nn.Identity(), decoder
        self.stride: float | None = decoder.stride

    def forward(self, image: Tensor) -> Tensor:
        """Logits at the student's own stride."""
        return self.classify(self.embed(image))

    def embed(self, image: Tensor) -> Tensor:
        """What the classifier reads, at the student's own stride."""
        return self.decoder.embed(self.neck(self.backbone(image)))

    def classify(self, features: Tensor) -> Tensor:
        """Logits of what `embed` gave; together they are `forward`."""
        return self.decoder.read(features)


def build_student(model: Mapping[str, Any], in_channels: int, classes: int) -> Student:
    """A student with random weights, as the plan's `settings.model` describes it."""
    backbone = build_backbone(model, in_channels)
    return Student(backbone, *build_head(model, backbone.channels, backbone.strides, classes))


def build_backbone(model: Mapping[str, Any], in_channels: int) -> Backbone | TapBackbone:
    """The backbone of a plan's `settings.model`; a transformer with norms or positions of its own is tapped."""
    name, stages, arguments = model["backbone"], model["stages"], model["arguments"]
    if model["normed"] or model["positions"] != OWN_RULE:
        return TapBackbone(name, stages, model["normed"], model["positions"], in_channels, arguments)
    return Backbone(name, stages, in_channels, arguments)


def build_head(
    model: Mapping[str, Any], channels: Sequence[int], strides: Sequence[float], classes: int
) -> tuple[Decoder, MultiLevelNeck | None]:
    """The decoder of a plan's `settings.model` for maps of these widths and strides, and the neck before it, if any."""
    scales = model["neck"]
    if scales and len(scales) != len(channels):
        raise UserError(f"{len(scales)} scales for {len(channels)} levels", "model.neck", "give one a level, or none")
    neck = MultiLevelNeck(channels, scales) if scales else None
    finer = [whole(stride / scale) for stride, scale in zip(strides, scales or [1] * len(strides), strict=True)]
    return DECODERS[model["decoder"]](channels, finer, model["width"], classes, model["dropout"]), neck


def full_size(logits: Tensor, stride: float | None, size_yx: tuple[int, int]) -> Tensor:
    """Logits of every pixel. A grid that overhangs the image on the right and at the bottom is cut there."""
    if stride == 1:
        return logits[..., : size_yx[0], : size_yx[1]]
    if stride is None:
        return resized(logits, size_yx)
    if isinstance(stride, int):
        fine = F.interpolate(logits, scale_factor=stride, mode="bilinear", align_corners=False)
    else:
        fine = resized(logits, (round(logits.shape[-2] * stride), round(logits.shape[-1] * stride)))
    return fine[..., : size_yx[0], : size_yx[1]]
