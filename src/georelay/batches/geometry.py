"""The random geometry of a batch, kept as an object: what was done to the image can be done to any map of the same tile."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.errors import UserError


@dataclass(frozen=True)
class Move(ABC):
    """What was done to the tiles of a batch. All arrays have one entry a sample."""

    def take(self, samples: slice | np.ndarray) -> Self:
        """What was done to some of the samples."""
        return replace(self, **{name: drawn[samples] for name, drawn in vars(self).items() if isinstance(drawn, np.ndarray)})

    @abstractmethod
    def elsewhere(self, at: np.ndarray, grid: int) -> Self:
        """The same with other first rows and columns: `at` (2, samples) says where, as shares 0 ... 1 of what is free."""

    @abstractmethod
    def apply(self, maps: Tensor, nearest: bool = False) -> Tensor:
        """Do to `maps` (B, C, cells, cells) of the same tiles what was done to the image."""


@dataclass(frozen=True)
class Geometry(Move):
    """Per sample: a window of the tile, resampled to `side` pixels, then mirrored, then turned.

    `window` is the window's side in tile pixels: `side` where nothing is scaled.
    """

    tile: int
    side: int
    top: np.ndarray
    left: np.ndarray
    window: np.ndarray
    flip: np.ndarray
    turn: np.ndarray

    def apply(self, maps: Tensor, nearest: bool = False) -> Tensor:
        """Do to `maps` (B, C, cells, cells), which cover the tile, what was done to the image.

        Exact for flips, turns and crops between cells; any other window is resampled, to about as many cells a pixel.
        """
        if maps.shape[-2] != maps.shape[-1]:
            raise ValueError(f"maps of {maps.shape[-2]} x {maps.shape[-1]} cells do not cover square tiles")
        return turned(self._cropped(maps, nearest), self.flip, self.turn)

    def elsewhere(self, at: np.ndarray, grid: int) -> Self:
        """Other windows of the same sizes, which start on multiples of `grid` pixels."""
        free = np.floor((self.tile - self.window) / grid)
        top, left = (np.floor(share * (free + 1)) * grid for share in at)
        return replace(self, top=top, left=left)

    def _cropped(self, maps: Tensor, nearest: bool) -> Tensor:
        cells = maps.shape[-1]
        exact, count = self._between(cells), max(1, round(self.side * cells / self.tile))
        if not exact.any():
            return self._resampled(maps, count, nearest)
        if exact.all() and count == cells:
            return maps
        result = maps.new_empty((*maps.shape[:2], count, count))
        # Sample by sample: what becomes of a tile depends neither on its neighbours nor on the number of ranks.
        for place in np.flatnonzero(exact).tolist():
            y, x = (int(start[place]) * cells // self.tile for start in (self.top, self.left))
            result[place] = maps[place, :, y : y + count, x : x + count]
        if not exact.all():
            off = np.flatnonzero(~exact)
            result[off] = self.take(off)._resampled(maps[off], count, nearest)
        return result

    def _between(self, cells: int) -> np.ndarray:
        """The samples whose window is not scaled and has all its borders between cells."""
        borders = np.stack([self.top, self.left, np.full_like(self.top, self.side)]) * cells
        kept: np.ndarray = (self.window == self.side) & (borders % self.tile == 0).all(axis=0)
        return kept

    def _resampled(self, maps: Tensor, count: int, nearest: bool) -> Tensor:
        # Shares of the tile's side, -1 to 1 from edge to edge: the same numbers serve cells of every size.
        centre_y, centre_x = ((start + self.window / 2) * 2 / self.tile - 1 for start in (self.top, self.left))
        ratio, zero = self.window / self.tile, np.zeros_like(self.window)
        theta = np.stack([ratio, zero, centre_x, zero, ratio, centre_y], axis=1).reshape(-1, 2, 3)
        size = [maps.shape[0], maps.shape[1], count, count]
        dtype = torch.promote_types(maps.dtype, torch.float32)  # halves have too few digits to place and mix cells
        grid = F.affine_grid(torch.from_numpy(theta).to(maps.device, dtype), size, align_corners=False)
        mode = "nearest" if nearest else "bilinear"
        moved = F.grid_sample(maps.to(dtype), grid, mode=mode, padding_mode="border", align_corners=False)
        return moved.to(maps.dtype)


def turned(maps: Tensor, flips: np.ndarray, turns: np.ndarray) -> Tensor:
    """Each of `maps` mirrored or not, then turned by quarters, anticlockwise."""
    result = torch.empty_like(maps)
    for place, (source, flip, turn) in enumerate(zip(maps, flips.tolist(), turns.tolist(), strict=True)):
        mirrored = source.flip(-1) if flip else source
        result[place] = mirrored.rot90(turn, (-2, -1)) if turn else mirrored
    return result


def common_grid(tile: int, cells: Iterable[int]) -> int:
    """The smallest distance in pixels that is whole in every map of so many cells; cells of no whole pixels do not count."""
    return math.lcm(*(tile // count for count in cells if tile % count == 0))


def crop_side(tile: int, augment: Mapping[str, Any], grid: int) -> int:
    """The side of what is cut from a tile."""
    side: int = augment["crop"] or tile
    if side > tile or side % grid:
        hint = "stored maps of teachers are cut between cells; `teacher_view: online` cuts anywhere" if grid > 1 else ""
        raise UserError(f"crop {side} must be a multiple of {grid} and at most the tile, {tile}", "augment.crop", hint)
    return side


def draw_geometry(rng: np.random.Generator, batch: int, tile: int, augment: Mapping[str, Any], grid: int) -> Geometry:
    """The geometry of a batch. Windows start on multiples of `grid` pixels, so that cached maps can be cut alike."""
    side = crop_side(tile, augment, grid)
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
