"""The geometry of the public codes: the whole tile is resized, padded right and below, then cut.

Pillow resizes, as in the semi-supervised ones: whatever it makes of bytes, down to the ties of nearest neighbours, other
libraries do not quite. Those built on mmsegmentation resize by OpenCV, which does not average what it makes smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

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
    by: str = "pillow"

    def apply(self, maps: Tensor, nearest: bool = False) -> Tensor:
        """Do to `maps` (B, C, H, W) of pixels, bytes or float32, what was done to the image; 0 in what is padded."""
        if max(maps.shape[-2:]) != self.tile:
            raise ValueError(f"maps of {maps.shape[-2]} x {maps.shape[-1]} cells are no tiles of {self.tile} pixels")
        result = maps.new_zeros((*maps.shape[:2], self.side, self.side))
        for tile, into, long, y, x in zip(maps.numpy(), result, self.long, self.top, self.left, strict=True):
            for channel, padded in zip(tile, into, strict=True):
                resized = RESIZERS[self.by](channel, *_sides(channel, int(long)), nearest)
                cut = torch.tensor(resized[y : y + self.side, x : x + self.side])
                padded[: cut.shape[0], : cut.shape[1]] = cut
        return turned(result, self.flip, self.turn)

    def elsewhere(self, at: np.ndarray, grid: int) -> Self:
        """Other cuts of the resized tiles; they start at any pixel."""
        free = np.maximum(self.long, self.side) - self.side
        top, left = (np.floor(share * (free + 1)).astype(int) for share in at)
        return replace(self, top=top, left=left)


def _sides(channel: np.ndarray, long: int) -> tuple[int, int]:
    """Height and width: the longer side becomes `long`, the other keeps their ratio."""
    height, width = (int(count * long / max(channel.shape) + 0.5) for count in channel.shape)
    return height, width


def _by_pillow(channel: np.ndarray, height: int, width: int, nearest: bool) -> np.ndarray:
    """What is made smaller is averaged, not sampled."""
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(channel).resize((width, height), method))


def _by_opencv(channel: np.ndarray, height: int, width: int, nearest: bool) -> np.ndarray:
    """Sampled between pixel centres; but nearest neighbours are those left of and above a pixel's corner."""
    if nearest:
        # One over the ratio, as there: multiplied out it may round to the other side of a whole number.
        inverse = (1 / (count / size) for count, size in zip((height, width), channel.shape, strict=True))
        rows, cols = ((np.arange(count) * step).astype(int) for count, step in zip((height, width), inverse, strict=True))
        return np.asarray(channel[np.minimum(rows, len(channel) - 1)[:, None], np.minimum(cols, channel.shape[1] - 1)])
    smooth = F.interpolate(torch.from_numpy(channel)[None, None], (height, width), mode="bilinear", align_corners=False)
    return np.asarray(smooth[0, 0].numpy())


RESIZERS = {"pillow": _by_pillow, "opencv": _by_opencv}


def draw_rescale(rng: np.random.Generator, batch: int, tile: int, augment: Mapping[str, Any]) -> Rescale:
    """The geometry of a batch; the crop may be larger than the tile, or what the whole tile is fitted into."""
    side = augment["crop"] or tile
    least, most = (max(1, int(share * tile)) for share in sorted(augment["scale"]))
    if augment["scaling"] == "fit":
        least = most = side
    long = rng.integers(least, most + 1, batch)
    free = np.maximum(long, side) - side
    top, left = (rng.integers(0, free + 1) for _ in range(2))
    flip = (rng.random(batch) < 0.5) & augment["flip"]
    turn = rng.integers(0, 4, batch) * augment["turn"]
    return Rescale(tile, side, long, top, left, flip, turn, augment["resizing"])


def draw_move(rng: np.random.Generator, batch: int, tile: int, augment: Mapping[str, Any], grid: int) -> Move:
    """The geometry of a batch by the rule that the settings name."""
    if augment["scaling"] == "window":
        return draw_geometry(rng, batch, tile, augment, grid)
    return draw_rescale(rng, batch, tile, augment)
