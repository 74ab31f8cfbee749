"""Grassland: a smooth field of cover in five levels over soils of differing brightness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from georelay.sources.synthetic.noise import grain, smooth

LEVELS = 5

_SOIL = np.array([0.10, 0.14, 0.19, 0.26], np.float32)[:, None, None]
_LEAF = np.array([0.045, 0.085, 0.055, 0.36], np.float32)[:, None, None]
# Vigorous leaves absorb more visible light and scatter more infrared.
_VIGOUR = np.array([-1.0, -0.7, -1.0, 1.0], np.float32)[:, None, None]


@dataclass(frozen=True)
class Meadow:
    """Knobs of the grassland, lengths in metres."""

    length: float = 1100.0
    exponent: float = 6.0
    tilt: float = 0.7  # how far a scene as a whole leans to sparse or dense, in sds of the cover within a scene
    soil_length: float = 850.0
    soil_sd: float = 0.14  # brightness of the soil, within a scene and again between scenes
    vigour_sd: float = 0.13
    texture: float = 0.05  # scatter of the cover of single pixels


def draw_meadow(rng: np.random.Generator, size: int, gsd: float, meadow: Meadow) -> tuple[np.ndarray, np.ndarray]:
    """Levels [y, x] and reflectance [band, y, x] of one scene."""
    field = smooth(rng, size, meadow.length / gsd, meadow.exponent) + np.float32(meadow.tilt * rng.standard_normal())
    # The normal distribution function makes all five levels equally common over many scenes.
    cover = ndtr(field / np.float32(np.hypot(1.0, meadow.tilt)))
    level = np.minimum((cover * LEVELS).astype(np.uint8), LEVELS - 1)
    tufts = meadow.texture * (grain(rng, size, 0.7) + grain(rng, size, 2.0))
    green = np.clip(0.05 + 0.85 * cover + tufts, 0, 1)
    soil, vigour = (sd * _patches(rng, size, meadow.soil_length / gsd) for sd in (meadow.soil_sd, meadow.vigour_sd))
    image = _SOIL * np.exp(soil) * (1 - green) + _LEAF * np.exp(_VIGOUR * vigour) * green
    return level, image.astype(np.float32)


def _patches(rng: np.random.Generator, size: int, length: float) -> np.ndarray:
    """What differs within a scene, and as much again from scene to scene."""
    return smooth(rng, size, length, 4.5) + np.float32(rng.standard_normal())
