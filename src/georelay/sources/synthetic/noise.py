"""Random numbers of the worlds: keyed streams, smooth fields, and per-thing tables.

Every scene draws from Philox streams keyed by what it is (seed, scenery, domain, split, index, purpose), so it looks
the same whatever else is drawn, in whatever order.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter


def stream(seed: int, *key: str | int) -> np.random.Generator:
    """The random generator of one purpose; words in the key count by their CRC."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))


def smooth(rng: np.random.Generator, size: int, length: float, exponent: float = 4.0) -> np.ndarray:
    """A periodic field [size, size], mean 0 and sd 1, flat above `length` pixels, power law with `exponent` below."""
    white = rng.standard_normal((size, size), dtype=np.float32)
    field = irfft2(rfft2(white) * _filter(size, length, exponent), s=(size, size))
    standard: np.ndarray = ((field - field.mean()) / field.std()).astype(np.float32)
    return standard


@lru_cache(maxsize=64)
def _filter(size: int, length: float, exponent: float) -> np.ndarray:
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    amplitude: np.ndarray = (1 + (2 * np.pi * frequency * length / 4) ** 2) ** (-exponent / 4)
    single: np.ndarray = amplitude.astype(np.float32)
    return single


def grain(rng: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    """White noise blurred by `sigma` pixels, sd 1: crowns, clods, tufts."""
    white = rng.standard_normal((size, size), dtype=np.float32)
    if sigma <= 0:
        return white
    field = gaussian_filter(white, sigma, mode="wrap", truncate=3.0)
    standard: np.ndarray = field / field.std()
    return standard


def table(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Uniform numbers to look up by the index of a thing."""
    return rng.random(shape, dtype=np.float32)
