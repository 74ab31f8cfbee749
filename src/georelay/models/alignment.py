"""From a backbone's stages to a teacher's grid and width (KTDA's FAM), and from one grid to a pyramid (its neck)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.decoders.blocks import resized

STD = 0.02  # of the weights that KTDA draws


class FeatureAlignment(nn.Module):
    """FAM: y_i = bilinear(W_i * x_i + b_i), a 1x1 convolution of each level and the common grid.

    `out_channels` is one width for all levels or one each; `output_size` a side, (height, width), or None where the
    caller names the size of each level's grid. Parameters are `convert.<level>.{weight,bias}`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int | Sequence[int],
        output_size: int | tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.widths = [out_channels] * len(in_channels) if isinstance(out_channels, int) else list(out_channels)
        self.output_size = (output_size, output_size) if isinstance(output_size, int) else output_size
        self.convert = nn.ModuleList(nn.Conv2d(count, width, 1) for count, width in zip(in_channels, self.widths, strict=True))
        for conv in self.convert:
            draw_normal(conv)

    def forward(self, maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]] | None = None) -> list[Tensor]:
        """One map a level, on grids of `output_size` or, level by level, of `sizes`."""
        if sizes is None:
            if self.output_size is None:
                raise ValueError("neither output_size nor sizes are given")
            sizes = [self.output_size] * len(maps)
        return [_converted(*level) for level in zip(self.convert, maps, sizes, strict=True)]


def _converted(conv: nn.Module, map_: Tensor, size: tuple[int, int]) -> Tensor:
    # Both are linear, one over channels, one over cells, and the shares of a cell add up to 1: their order is free, so
    # the convolution is done where there are fewer cells (64 x 64 to 19 x 19: a twelfth of the work).
    if size[0] * size[1] < map_.shape[-2] * map_.shape[-1]:
        result: Tensor = conv(resized(map_, size))
        return result
    return resized(conv(map_), size)


def fused(maps: Sequence[Tensor]) -> list[Tensor]:
    """All levels in one map, their sum."""
    total = maps[0]
    for map_ in maps[1:]:
        total = total + map_
    return [total]


def draw_normal(layer: nn.Module) -> None:
    """Weights of a layer from a normal distribution that is cut at 2, no bias."""
    nn.init.trunc_normal_(layer.weight, std=STD)  # type: ignore[arg-type]
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class MultiLevelNeck(nn.Module):
    """A pyramid of maps that share one grid: 1x1 convolution, bilinear scaling, 3x3 convolution.

    Every level has its own scale and keeps its width; sides are rounded down. Parameters are
    `lateral_convs.<level>.conv` and `convs.<level>.conv`.
    """

    def __init__(self, channels: Sequence[int], scales: Sequence[float]) -> None:
        super().__init__()
        self.scales = list(scales)
        self.lateral_convs = nn.ModuleList(_bare(count, 1) for count in channels)
        self.convs = nn.ModuleList(_bare(count, 3) for count in channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One map a level."""
        levels = zip(self.lateral_convs, self.convs, maps, self.scales, strict=True)
        return [conv(_scaled(lateral, map_, scale)) for lateral, conv, map_, scale in levels]


def _bare(channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    unit = nn.Sequential()
    unit.add_module("conv", conv)
    return unit


def _scaled(lateral: nn.Module, map_: Tensor, scale: float) -> Tensor:
    result: Tensor
    if scale == 1:
        result = lateral(map_)
    elif scale < 1:  # fewer cells first, as above
        result = lateral(F.interpolate(map_, scale_factor=scale, mode="bilinear", align_corners=False))
    else:
        result = F.interpolate(lateral(map_), scale_factor=scale, mode="bilinear", align_corners=False)
    return result


class LevelNorms(nn.Module):
    """A LayerNorm over the channels of each level, as KTDA has behind every stage of its ConvNeXt."""

    def __init__(self, channels: Sequence[int], eps: float = 1e-6) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(count, eps=eps) for count in channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One map a level."""
        return [norm(map_.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for norm, map_ in zip(self.norms, maps, strict=True)]
