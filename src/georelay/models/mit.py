"""Mix Transformers (SegFormer, Xie et al. 2021), which timm lacks: four stages of overlapping patches, with maps out of each.

Keys and values are read from a map that a strided convolution made coarser; a depthwise convolution between the two layers
of each MLP stands for positions, so that images may have any size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Widths and depths of the four stages, as published.
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "mit_b0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": ((64, 128, 320, 512), (2, 2, 2, 2)),
    "mit_b2": ((64, 128, 320, 512), (3, 4, 6, 3)),
    "mit_b3": ((64, 128, 320, 512), (3, 4, 18, 3)),
    "mit_b4": ((64, 128, 320, 512), (3, 8, 27, 3)),
    "mit_b5": ((64, 128, 320, 512), (3, 6, 40, 3)),
}
HEADS, REDUCTIONS = (1, 2, 5, 8), (8, 4, 2, 1)
KERNELS, STRIDES = (7, 3, 3, 3), (4, 2, 2, 2)
MLP_RATIO = 4
EPS = 1e-6  # of every norm, as in mmsegmentation; the first code has 1e-5 in those of patches and of coarser maps


def _cells(map_: Tensor) -> Tensor:
    return map_.flatten(2).transpose(1, 2)


def _as_map(cells: Tensor, height: int, width: int) -> Tensor:
    return cells.transpose(1, 2).reshape(len(cells), -1, height, width)


class Patches(nn.Module):
    """A map (B, C, H, W) as cells (B, h w, width), and how many there are down and across."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(width, EPS)

    def forward(self, map_: Tensor) -> tuple[Tensor, int, int]:
        """Cells, height, width."""
        patches = self.proj(map_)
        return self.norm(_cells(patches)), patches.shape[-2], patches.shape[-1]


class Attention(nn.Module):
    """Every cell attends to a map that is coarser by `reduction`."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv, self.proj = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.sr = nn.Conv2d(width, width, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(width, EPS) if reduction > 1 else None

    def forward(self, cells: Tensor, height: int, width: int) -> Tensor:
        """Cells of the same shape."""
        read = cells
        if self.sr is not None and self.norm is not None:
            least: int = self.sr.kernel_size[0]  # an image of less than 32 pixels has maps smaller than that
            over = (0, max(0, least - width), 0, max(0, least - height))
            read = self.norm(_cells(self.sr(F.pad(_as_map(cells, height, width), over))))
        key, value = self.kv(read).chunk(2, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q(cells), key, value))
        found: Tensor = self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return found


class Mlp(nn.Module):
    """Two layers with a depthwise convolution and GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = MLP_RATIO * width
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dwconv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)

    def forward(self, cells: Tensor, height: int, width: int) -> Tensor:
        """Cells of the same shape."""
        mixed: Tensor = self.fc2(F.gelu(_cells(self.dwconv(_as_map(self.fc1(cells), height, width)))))
        return mixed


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x); in training each branch is left out with chance `drop`."""

    def __init__(self, width: int, heads: int, reduction: int, drop: float) -> None:
        super().__init__()
        self.drop = drop
        self.norm1, self.norm2 = nn.LayerNorm(width, EPS), nn.LayerNorm(width, EPS)
        self.attn, self.mlp = Attention(width, heads, reduction), Mlp(width)

    def forward(self, cells: Tensor, height: int, width: int) -> Tensor:
        """Cells of the same shape."""
        cells = cells + self._kept(self.attn(self.norm1(cells), height, width))
        return cells + self._kept(self.mlp(self.norm2(cells), height, width))

    def _kept(self, branch: Tensor) -> Tensor:
        if not (self.training and self.drop):
            return branch
        kept = branch.new_empty(len(branch), 1, 1).bernoulli_(1 - self.drop)
        return branch * kept / (1 - self.drop)


class Stage(nn.Module):
    """A map to the next coarser one.

    The last norm is named without `norm`: the published recipe spares every norm from weight decay but this one, by name.
    """

    def __init__(self, channels: int, width: int, place: int, drops: Sequence[float]) -> None:
        super().__init__()
        self.embed = Patches(channels, width, KERNELS[place], STRIDES[place])
        self.blocks = nn.ModuleList(Block(width, HEADS[place], REDUCTIONS[place], drop) for drop in drops)
        self.final = nn.LayerNorm(width, EPS)

    def forward(self, map_: Tensor) -> Tensor:
        """The map (B, width, h, w)."""
        cells, height, width = self.embed(map_)
        for block in self.blocks:
            cells = block(cells, height, width)
        return _as_map(self.final(cells), height, width)


class MixTransformer(nn.Module):
    """The stages in a row; the last map is the answer. `feature_info` is what timm asks of a network."""

    def __init__(
        self, widths: Sequence[int], depths: Sequence[int], in_chans: int = 3, drop_path_rate: float = 0.0, num_classes: int = 0
    ) -> None:
        super().__init__()
        if num_classes:
            raise TypeError("a Mix Transformer has no classifier here")
        drops = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist()
        starts = [sum(depths[:place]) for place in range(len(depths))]
        channels = [in_chans, *widths]
        self.stages = nn.Sequential(
            *(
                Stage(channels[place], width, place, drops[starts[place] : starts[place] + depths[place]])
                for place, width in enumerate(widths)
            )
        )
        strides = [math.prod(STRIDES[: place + 1]) for place in range(len(widths))]
        self.feature_info = [
            {"num_chs": width, "reduction": stride, "module": f"stages.{place}"}
            for place, (width, stride) in enumerate(zip(widths, strides, strict=True))
        ]
        self.apply(_start)

    def forward(self, image: Tensor) -> Tensor:
        """The coarsest map of a normalised image (B, bands, H, W)."""
        map_: Tensor = self.stages(image)
        return map_


def _start(module: nn.Module) -> None:
    """Initial weights as published; norms keep torch's."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        receivers = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / receivers))
    if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
        nn.init.zeros_(module.bias)
