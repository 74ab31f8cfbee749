"""DeepLabV3+'s decoder: context of the coarsest map at several dilations, joined with the finest map.

Written from its description (Chen et al., ECCV 2018, section 3), separable, as the public segmentation libraries build it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.decoders.blocks import ConvUnit, Decoder, classifier, resize


class DeeplabDecoder(Decoder):
    """Feature maps, finest first, to class logits at the finest stride; it reads the first and the last."""

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[float],
        width: int,
        classes: int,
        dropout: float,
        dilations: Sequence[int] = (12, 24, 36),
        fine_width: int = 48,
    ) -> None:
        super().__init__()
        self.stride = strides[0]
        self.pooled = ConvUnit(channels[-1], width, 1)
        self.branches = nn.ModuleList(
            [ConvUnit(channels[-1], width, 1), *(_separable(channels[-1], width, dilation) for dilation in dilations)]
        )
        self.bottleneck = ConvUnit((2 + len(dilations)) * width, width, 3)
        self.fine = ConvUnit(channels[0], fine_width, 1)
        self.refine = nn.Sequential(_separable(width + fine_width, width), _separable(width, width))
        self.dropout = nn.Dropout2d(dropout)
        self.classify = classifier(width, classes)

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """What the classifier reads (B, width, the finest map's size)."""
        context = resize(self.context(maps[-1]), maps[0])
        features: Tensor = self.refine(torch.cat([context, self.fine(maps[0])], dim=1))
        return features

    def context(self, coarsest: Tensor) -> Tensor:
        """The coarsest map, its mean, and its surroundings near and far."""
        mean = resize(self.pooled(F.adaptive_avg_pool2d(coarsest, 1)), coarsest)
        result: Tensor = self.bottleneck(torch.cat([mean, *(branch(coarsest) for branch in self.branches)], dim=1))
        return result


def _separable(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    unit = nn.Sequential()
    unit.add_module("depthwise", ConvUnit(in_channels, in_channels, 3, dilation=dilation, groups=in_channels))
    unit.add_module("pointwise", ConvUnit(in_channels, out_channels, 1))
    return unit
