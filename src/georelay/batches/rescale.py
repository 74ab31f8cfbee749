"""The geometry of the public semi-supervised codes: the whole tile is resized, padded right and below, then cut.

Pillow resizes, as there: whatever it makes of bytes, down to the ties of nearest neighbours, other libraries do not quite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from georelay.batches.geometry import Move, draw_geometry, turned


@dataclass(frozen=True)
class Rescale(Move):
    """Per sample: the tile with its longer side of `tile` pixels brought to `long`, padded to `side` pixels where it is
    smaller, cut from `top` and `left` on, then mirrored, then turned.
    """

    tile: int
    side: int
    long: np.ndarray
    top: np.ndarray
    left: np.ndarray
    flip: np.ndarray
    turn: np.ndarray

    def apply(self, maps: Tensor, nearest: bool = False) -> Tensor:
        """Do to `maps` (B, C, H, W) of pixels, bytes or float32, what was done to the image; 0 in what is padded."""
        if max(maps.shape[-2:]) != self.tile:
            raise ValueError(f"maps of {maps.shape[-2]} x {maps.shape[-1]} cells are no tiles of {self.tile} pixels")
        result = maps.new_zeros((*maps.shape[:2], self.side, self.side))
        for tile, into, long, y, x in zip(maps.numpy(), result, self.long, self.top, self.left, strict=True):
            for channel, padded in zip(tile, into, strict=True):
                cut = torch.tensor(_resized(channel, int(long), nearest)[y : y + self.side, x : x + self.side])
                padded[: cut.shape[0], : cut.shape[1]] = cut
        return turned(result, self.flip, self.turn)


def _resized(channel: np.ndarray, long: int, nearest: bool) -> np.ndarray:
    """The longer side becomes `long`, the other keeps their ratio; what is made smaller is averaged, not sampled."""
    height, width = (int(count * long / max(channel.shape) + 0.5) for count in channel.shape)
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(channel).resize((width, height), method))


def draw_rescale(rng: np.random.Generator, batch: int, tile: int, augment: Mapping[str, Any]) -> Rescale:
    """The geometry of a batch; the crop may be larger than the tile."""
    side = augment["crop"] or tile
    least, most = (max(1, int(share * tile)) for share in sorted(augment["scale"]))
    long = rng.integers(least, most + 1, batch)
    free = np.maximum(long, side) - side
    top, left = (rng.integers(0, free + 1) for _ in range(2))
    flip = (rng.random(batch) < 0.5) & augment["flip"]
    turn = rng.integers(0, 4, batch) * augment["turn"]
    return Rescale(tile, side, long, top, left, flip, turn)


def draw_move(rng: np.random.Generator, batch: int, tile: int, augment: Mapping[str, Any], grid: int) -> Move:
    """The geometry of a batch by the rule that the settings name."""
    if augment["scaling"] == "image":
        return draw_rescale(rng, batch, tile, augment)
    return draw_geometry(rng, batch, tile, augment, grid)
