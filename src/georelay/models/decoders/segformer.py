"""The SegFormer head: every level to one width and the finest grid, concatenated, fused by 1x1 convolutions.

Written from its description (Xie et al., NeurIPS 2021, section 3.2), as the public segmentation libraries build it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

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
        features: Tensor = self.fusion(torch.cat([resize(level, levels[0]) for level in levels], dim=1))
        return features
