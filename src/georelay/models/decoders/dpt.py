"""The DPT head: tokens of four depths reassembled into a pyramid, then fused from coarse to fine by residual units.

Written from its description (Ranftl et al., ICCV 2021), as the public code of UniMatch V2 and RS-MTDF arranges it: no
normalisation, all resizing with corners aligned, the last of it up to whole pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.decoders.blocks import Decoder

SHARES = (0.75, 1.5, 3, 6)  # channels of the four levels as multiples of the width, in the small and base configuration


class DptDecoder(Decoder):
    """Four maps of one stride, shallowest first, to class logits of every pixel."""

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[float],
        width: int,
        classes: int,
        dropout: float,
        levels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if len(channels) != len(SHARES) or len(set(strides)) > 1:
            raise ValueError(f"a DPT head reads {len(SHARES)} maps of one stride, not strides {list(strides)}")
        inner = [int(share * width) for share in SHARES] if levels is None else list(levels)
        self.stride = 1
        self.projects = nn.ModuleList(nn.Conv2d(count, own, 1) for count, own in zip(channels, inner, strict=True))
        self.resizes = nn.ModuleList(
            [
                nn.ConvTranspose2d(inner[0], inner[0], 4, stride=4),
                nn.ConvTranspose2d(inner[1], inner[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(inner[3], inner[3], 3, stride=2, padding=1),
            ]
        )
        self.narrow = nn.ModuleList(nn.Conv2d(count, width, 3, padding=1, bias=False) for count in inner)
        self.fusions = nn.ModuleList(FusionBlock(width, side=level < len(inner) - 1) for level in range(len(inner)))
        self.smooth = nn.Conv2d(width, width, 3, padding=1)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = PixelClassifier(width, classes, strides[0])

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """What the classifier reads, eight cells to one of the maps' along each axis."""
        stages = zip(self.projects, self.resizes, self.narrow, maps, strict=True)
        levels = [narrow(resize(project(map_))) for project, resize, narrow, map_ in stages]
        top: Tensor | None = None
        for place in reversed(range(len(levels))):
            finer = levels[place - 1].shape[-2:] if place else [2 * side for side in levels[0].shape[-2:]]
            top = self.fusions[place](levels[place], top, finer)
        return F.relu(self.smooth(top))


class FusionBlock(nn.Module):
    """A level and what came from the coarser ones, added, refined, and brought to the next finer grid."""

    def __init__(self, width: int, side: bool) -> None:
        super().__init__()
        self.side = ResidualUnit(width) if side else None  # the coarsest level has nothing to be added to
        self.merge = ResidualUnit(width)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, level: Tensor, above: Tensor | None, size_yx: Sequence[int]) -> Tensor:
        """A map of the given size."""
        joined = level if above is None or self.side is None else above + self.side(level)
        fine = F.interpolate(self.merge(joined), size=list(size_yx), mode="bilinear", align_corners=True)
        result: Tensor = self.out(fine)
        return result


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, map_: Tensor) -> Tensor:
        """A map of the same shape."""
        changed: Tensor = self.conv2(F.relu(self.conv1(F.relu(map_))))
        return map_ + changed


class PixelClassifier(nn.Conv2d):
    """The last 1x1 convolution, and its logits for every pixel."""

    def __init__(self, width: int, classes: int, stride: float) -> None:
        super().__init__(width, classes, 1)
        self.pixels = stride / 8  # of a cell

    def forward(self, map_: Tensor) -> Tensor:
        """Logits (B, classes, H, W)."""
        size = [round(side * self.pixels) for side in map_.shape[-2:]]
        return F.interpolate(super().forward(map_), size=size, mode="bilinear", align_corners=True)
