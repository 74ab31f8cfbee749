"""CutMix inside a batch: a box of each sample shows another sample, in the image and in any map of it alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from georelay.errors import UserError


@dataclass(frozen=True)
class CutMix:
    """Per sample a box (y0, y1, x0, x1) in pixels of images of `side` pixels; an empty box mixes nothing."""

    side: int
    boxes: np.ndarray

    def take(self, samples: slice) -> CutMix:
        """The boxes of some of the samples."""
        return replace(self, boxes=self.boxes[samples])

    def apply(self, maps: Tensor, other: Tensor | None = None, nearest: bool = False, span: int | None = None) -> Tensor:
        """`maps` (B, ..., h, w) that show `other` inside the boxes, by default the same maps in reversed order.

        A coarse cell that a box covers in part is blended by the covered share, or with `nearest` goes to the larger
        part. `span`: the pixels that the maps cover where that is not `side`, as after padding.
        """
        if len(maps) != len(self.boxes):
            raise ValueError(f"{len(self.boxes)} boxes for {len(maps)} maps")
        other = maps.flip(0) if other is None else other
        rows, columns = (self._covered(count, axis, span) for axis, count in enumerate(maps.shape[-2:]))
        share = _outer(rows, columns, maps.device).view(len(maps), *[1] * (maps.ndim - 3), *maps.shape[-2:])
        if nearest or _whole(rows, columns):
            return torch.where(share > 0.5, other, maps)
        # Halves overflow in the difference of large values.
        dtype = torch.promote_types(maps.dtype, torch.float32)
        return torch.lerp(maps.to(dtype), other.to(dtype), share.to(dtype)).to(maps.dtype)

    def _covered(self, count: int, axis: int, span: int | None) -> np.ndarray:
        """The share of each of `count` cells along an axis that lies in the box, (B, count)."""
        start, end = (self.boxes[:, 2 * axis + place, None] * count / (span or self.side) for place in (0, 1))
        first = np.arange(count)
        covered: np.ndarray = (np.minimum(end, first + 1) - np.maximum(start, first)).clip(0, 1)
        return covered


def _outer(rows: np.ndarray, columns: np.ndarray, device: torch.device) -> Tensor:
    y, x = (torch.from_numpy(shares.astype(np.float32)).to(device) for shares in (rows, columns))
    return y[:, :, None] * x[:, None, :]


def _whole(*shares: np.ndarray) -> bool:
    return all(bool(((share == 0) | (share == 1)).all()) for share in shares)


def draw_cutmix(
    rng: np.random.Generator,
    batch: int,
    side: int,
    probability: float,
    area: tuple[float, float],
    ratio: tuple[float, float],
    grid: int = 1,
) -> CutMix:
    """Boxes of a batch: with `probability` one of a share `area` of the image and `ratio` of height to width.

    Borders go to the nearest multiple of `grid` pixels, so that boxes cover whole cells of cached maps.
    """
    if side % grid:
        raise ValueError(f"images of {side} pixels have no grid of {grid}")
    # Of the allowed shapes the one closest to a square must hold the largest area, or a draw would never end.
    if area[1] * max(1, ratio[0], 1 / ratio[1]) > 1:
        raise UserError(f"no box of {area[1]:g} of the image has a ratio from {ratio[0]:g} to {ratio[1]:g}", "cutmix.area")
    boxes = [_box(rng, side, area, ratio) if rng.random() < probability else (0, 0, 0, 0) for _ in range(batch)]
    return CutMix(side, (np.rint(np.array(boxes).reshape(-1, 4) / grid) * grid).astype(np.int64))


def _box(rng: np.random.Generator, side: int, area: tuple[float, float], ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """A box by the rule of UniMatch and RS-MTDF: shape and corner are drawn anew until the box lies inside."""
    size = rng.uniform(*area) * side * side
    while True:
        aspect = rng.uniform(*ratio)
        width, height = int(np.sqrt(size / aspect)), int(np.sqrt(size * aspect))
        x, y = int(rng.integers(0, side)), int(rng.integers(0, side))
        if x + width <= side and y + height <= side:
            return y, y + height, x, x + width
