"""UPerNet's decoder: pooled context on the coarsest map, a pyramid summed downwards, all levels joined at the finest.

Written from its description (Xiao et al., ECCV 2018, section 3.1), as the public segmentation libraries build it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.decoders.blocks import ConvUnit, Decoder, classifier, resize

POOLS = (1, 2, 3, 6)  # sides of the grids of the pooled context


class UperDecoder(Decoder):
    """Feature maps, finest first, to class logits at the finest stride."""

    def __init__(self, channels: Sequence[int], strides: Sequence[float], width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.stride = strides[0]
        self.psp_modules = nn.ModuleList(ConvUnit(channels[-1], width, 1) for _ in POOLS)
        self.bottleneck = ConvUnit(channels[-1] + len(POOLS) * width, width, 3)
        self.lateral_convs = nn.ModuleList(ConvUnit(count, width, 1) for count in channels[:-1])
        self.fpn_convs = nn.ModuleList(ConvUnit(width, width, 3) for _ in channels[:-1])
        self.fpn_bottleneck = ConvUnit(len(channels) * width, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = classifier(width, classes)

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """What the classifier reads (B, width, the finest map's size)."""
        levels = [lateral(map_) for lateral, map_ in zip(self.lateral_convs, maps[:-1], strict=True)]
        levels.append(self.context(maps[-1]))
        for place in reversed(range(len(levels) - 1)):
            levels[place] = levels[place] + resize(levels[place + 1], levels[place])
        # The coarsest level had its 3x3 unit in the context.
        smooth = [unit(level) for unit, level in zip(self.fpn_convs, levels[:-1], strict=True)] + levels[-1:]
        features: Tensor = self.fpn_bottleneck(torch.cat([resize(level, smooth[0]) for level in smooth], dim=1))
        return features

    def context(self, coarsest: Tensor) -> Tensor:
        """The coarsest map with its means over grids of several sizes."""
        pooled = [unit(F.adaptive_avg_pool2d(coarsest, side)) for side, unit in zip(POOLS, self.psp_modules, strict=True)]
        result: Tensor = self.bottleneck(torch.cat([coarsest, *(resize(map_, coarsest) for map_ in pooled)], dim=1))
        return result
