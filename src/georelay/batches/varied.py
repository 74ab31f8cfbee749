"""Crops drawn again where one class covers too much of them, as mmsegmentation's RandomCrop does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from georelay.batches.geometry import Move

REDRAWS = 10  # the last one stays, whatever it holds


def varied(
    move: Move, label: Tensor, share: float, ignore: int, rng: np.random.Generator, batch: int, samples: slice, grid: int
) -> Move:
    """The move of the `samples` of a batch of `batch`, elsewhere in the tile where the crop holds one class alone or has
    `share` or more of a class. `label` (B, 1, H, W) is of the tiles, `ignore` in gaps.
    """
    poor = np.flatnonzero(_one_sided(move, label, share, ignore))
    for _ in range(REDRAWS):
        if not len(poor):
            break
        other = move.elsewhere(rng.random((2, batch))[:, samples], grid)
        move = replace(move, **{name: _put(getattr(move, name), getattr(other, name), poor) for name in ("top", "left")})
        poor = poor[_one_sided(move.take(poor), label[torch.from_numpy(poor)], share, ignore)]
    return move


def _one_sided(move: Move, label: Tensor, share: float, ignore: int) -> np.ndarray:
    # What lies beyond the tile is 0 in what is moved: there a class is one more than its number.
    found = move.apply(torch.where(label == ignore, 0, label + 1).to(torch.uint8), nearest=True).flatten(1)
    counts = np.stack([np.bincount(crop, minlength=ignore + 1)[1:] for crop in found.numpy()])
    return np.asarray((np.count_nonzero(counts, axis=1) < 2) | (counts.max(1) >= share * counts.sum(1)))


def _put(old: np.ndarray, new: np.ndarray, places: np.ndarray) -> np.ndarray:
    result = old.copy()
    result[places] = new[places]
    return result
