"""Which tiles a step sees: permutations without repetition, keyed by seed, stream and epoch, so that nothing is stored."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

KEPT_ORDERS = 8  # permutations remembered: a batch touches one or two epochs of each of a few streams


def generator(seed: int, purpose: str, number: int) -> np.random.Generator:
    """A random stream of its own for each (seed, purpose, number)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return np.random.Generator(np.random.Philox(key=[int.from_bytes(digest, "little"), number]))


def positions(count: int, batch: int, step: int, seed: int, stream: str) -> np.ndarray:
    """Positions (in 0 .. count - 1) of the tiles of a step; an epoch is left only when all its tiles were seen."""
    places = np.arange(step * batch, (step + 1) * batch)
    epochs, within = np.divmod(places, count)
    return np.array([_order(count, seed, stream, int(epoch))[place] for epoch, place in zip(epochs, within, strict=True)])


@lru_cache(maxsize=KEPT_ORDERS)
def _order(count: int, seed: int, stream: str, epoch: int) -> np.ndarray:
    return generator(seed, f"order/{stream}", epoch).permutation(count)
