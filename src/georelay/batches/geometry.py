"""The random geometry of a batch, kept as an object: what was done to the image can be done to any map of the same tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.errors import UserError


@dataclass(frozen=True)
class Geometry:
    """Per sample: a window of the tile, resampled to `side` pixels, then mirrored, then turned.

    `window` is the window's side in tile pixels: `side` where nothing is scaled. All arrays have one entry a sample.
    """

    tile: int
    side: int
    top: np.ndarray
    left: np.ndarray
    window: np.ndarray
    flip: np.ndarray
    turn: np.ndarray

    def take(self, samples: slice) -> Geometry:
        """The geometry of some of the samples."""
        kept = {name: getattr(self, name)[samples] for name in ("top", "left", "window", "flip", "turn")}
        return replace(self, **kept)

    @property
    def scaled(self) -> bool:
        """Whether any window is resampled."""
        return bool((self.window != self.side).any())

    def apply(self, maps: Tensor, stride: int = 1, nearest: bool = False) -> Tensor:
        """Do to `maps` (B, C, tile / stride, tile / stride) what was done to the image.

        Exact for flips, turns and crops on the map's grid; a window off that grid is resampled.
        """
        if self.tile % stride or maps.shape[-1] * stride != self.tile:
            raise ValueError(f"maps of {maps.shape[-1]} cells at stride {stride} do not cover tiles of {self.tile}")
        return self._turned(self._cropped(maps, stride, nearest))

    def _cropped(self, maps: Tensor, stride: int, nearest: bool) -> Tensor:
        if self.side == self.tile and not self.scaled:
            return maps
        starts = np.stack([self.top, self.left, np.full_like(self.top, self.side)])
        if self.scaled or (starts % stride).any():
            return self._resampled(maps, self.side // stride, nearest)
        cells = self.side // stride
        corners = zip((self.top // stride).tolist(), (self.left // stride).tolist(), strict=True)
        return torch.stack(
            [map_[:, y : y + cells, x : x + cells] for map_, (y, x) in zip(maps, map(_whole, corners), strict=True)]
        )

    def _resampled(self, maps: Tensor, cells: int, nearest: bool) -> Tensor:
        # Shares of the tile's side, -1 to 1 from edge to edge: the same numbers serve every stride.
        centre_y, centre_x = ((start + self.window / 2) * 2 / self.tile - 1 for start in (self.top, self.left))
        ratio, zero = self.window / self.tile, np.zeros_like(self.window)
        theta = np.stack([ratio, zero, centre_x, zero, ratio, centre_y], axis=1).reshape(-1, 2, 3)
        size = [maps.shape[0], maps.shape[1], cells, cells]
        dtype = maps.dtype if maps.is_floating_point() else torch.float32
        grid = F.affine_grid(torch.from_numpy(theta).to(maps.device, dtype), size, align_corners=False)
        mode = "nearest" if nearest else "bilinear"
        moved = F.grid_sample(maps.to(grid.dtype), grid, mode=mode, padding_mode="border", align_corners=False)
        return moved.to(maps.dtype)

    def _turned(self, maps: Tensor) -> Tensor:
        result = torch.empty_like(maps)
        for place, (source, flip, turn) in enumerate(zip(maps, self.flip.tolist(), self.turn.tolist(), strict=True)):
            mirrored = source.flip(-1) if flip else source
            result[place] = mirrored.rot90(turn, (-2, -1)) if turn else mirrored
        return result


def _whole(corner: tuple[float, float]) -> tuple[int, int]:
    return int(corner[0]), int(corner[1])


def draw_geometry(rng: np.random.Generator, batch: int, tile: int, augment: Mapping[str, Any], grid: int) -> Geometry:
    """The geometry of a batch. Windows start on multiples of `grid` pixels, so that cached maps can be cut alike."""
    side = augment["crop"] or tile
    if side > tile or side % grid:
        raise UserError(f"crop {side} must be a multiple of {grid} and at most the tile, {tile}", "augment.crop")
    low, high = augment["scale"]
    # A window never leaves the tile: what is scaled down below the crop's side is not, and nothing is padded.
    window = np.minimum(side / rng.uniform(low, high, batch), tile) if (low, high) != (1, 1) else np.full(batch, float(side))
    free = np.floor((tile - window) / grid)
    top, left = (np.floor(rng.random(batch) * (free + 1)) * grid for _ in range(2))
    flip = (rng.random(batch) < 0.5) & augment["flip"]
    turn = rng.integers(0, 4, batch) * augment["turn"]
    return Geometry(tile, side, top, left, window, flip, turn)


def identity(batch: int, tile: int) -> Geometry:
    """The geometry that changes nothing."""
    zero = np.zeros(batch)
    return Geometry(tile, tile, zero, zero, np.full(batch, float(tile)), zero.astype(bool), zero.astype(int))
