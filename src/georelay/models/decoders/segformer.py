"""The SegFormer head: every level to one width and the finest grid, concatenated, fused by 1x1 convolutions.

Written from its description (Xie et al., NeurIPS 2021, section 3.2), as the public segmentation libraries build it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.decoders.blocks import ConvUnit, Decoder, classifier, resize


class SegformerDecoder(Decoder):
    """Feature maps, finest first, to class logits at the finest stride."""

    def __init__(self, channels: Sequence[int], strides: Sequence[float], width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.stride = strides[0]
        self.levels = nn.ModuleList(ConvUnit(count, width, 1) for count in channels)
        self.fusion = ConvUnit(width * len(channels), width, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = classifier(width, classes)

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """What the classifier reads (B, width, the finest map's size)."""
        levels = [unit(map_) for unit, map_ in zip(self.levels, maps, strict=True)]
        # Each level's part of the convolution where there are fewer cells: the same sum as of all levels resized and joined.
        # A training step of ST-DASegNet with MiT-B1 at 256 pixels took 1.3 times as long in that order.
        fusion: Any = self.fusion
        parts: Sequence[Tensor] = fusion.conv.weight.chunk(len(levels), dim=1)
        mixed = [F.conv2d(level, part) for level, part in zip(levels, parts, strict=True)]
        features: Tensor = fusion.act(fusion.norm(sum(resize(map_, mixed[0]) for map_ in mixed)))
        return features
