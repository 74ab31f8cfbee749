"""Clouds: thick and thin ones over a land, and the shadows they cast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from georelay.sources.synthetic.noise import smooth
from georelay.sources.synthetic.sensors import Sun

CLEAR, SHADOW, THIN, THICK = range(4)


@dataclass(frozen=True)
class Weather:
    """Knobs of the cloud field, lengths in metres; the thresholds define the classes."""

    length: float = 1100.0
    exponent: float = 3.9
    cover: tuple[float, float] = (-0.5, 1.0)  # threshold of the cloud field, in sds: low is overcast
    veil: tuple[float, float] = (-0.3, 1.4)  # the same for thin cirrus
    # Lower than most clouds are, so that a cloud and its shadow share a tile.
    base: tuple[float, float] = (200.0, 480.0)
    thick_from: float = 0.62  # opacity
    thin_from: float = 0.10
    shadow_from: float = 0.30
    darkness: tuple[float, float] = (0.45, 0.75)  # share of direct light that a dense cloud takes


@dataclass(frozen=True)
class Sky:
    """The clouds of one scene, arrays [y, x]."""

    opacity: np.ndarray
    shade: np.ndarray  # opacity of the cloud between the sun and the ground
    light: np.ndarray  # direct light that is left
    label: np.ndarray


def draw_sky(rng: np.random.Generator, size: int, gsd: float, sun: Sun, weather: Weather) -> Sky:
    """Clouds drawn on a wider canvas, so that shadows also fall from clouds outside the picture."""
    reach = rng.uniform(*weather.base) / np.tan(sun.elevation) / gsd
    pad = int(np.ceil(min(reach, size / 3)))
    opacity = _opacity(rng, size + 2 * pad, gsd, weather)
    row, col = (round(min(reach, size / 3) * part) for part in sun.away)
    seen = opacity[pad : pad + size, pad : pad + size]
    shade = opacity[pad - row : pad - row + size, pad - col : pad - col + size]
    light = 1 - np.float32(rng.uniform(*weather.darkness)) * shade
    return Sky(seen, shade, light, _label(seen, shade, weather))


def _opacity(rng: np.random.Generator, size: int, gsd: float, weather: Weather) -> np.ndarray:
    heaps = smooth(rng, size, weather.length / gsd, weather.exponent) - np.float32(rng.uniform(*weather.cover))
    veil = smooth(rng, size, 2.0 * weather.length / gsd, 4.2) - np.float32(rng.uniform(*weather.veil))
    depth = 1.8 * np.clip(heaps, 0, None) + 0.28 * np.clip(veil, 0, 1.2)
    return (1 - np.exp(-1.25 * depth)).astype(np.float32)


def _label(opacity: np.ndarray, shade: np.ndarray, weather: Weather) -> np.ndarray:
    label = np.where(shade >= weather.shadow_from, SHADOW, CLEAR)
    label[opacity >= weather.thin_from] = THIN
    label[opacity >= weather.thick_from] = THICK
    return label.astype(np.uint8)


def cover_up(rng: np.random.Generator, land: np.ndarray, sky: Sky) -> np.ndarray:
    """The land seen through the clouds: white, a little uneven, less so in the infrared."""
    white = np.array([0.52, 0.50, 0.49, 0.47], np.float32)[:, None, None] * np.float32(rng.uniform(0.85, 1.15))
    relief = 1 + np.float32(0.10) * smooth(rng, land.shape[-1], 40.0, 3.6)
    seen: np.ndarray = land * (1 - sky.opacity) + white * relief * sky.opacity
    return seen
