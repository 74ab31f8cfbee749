"""Grassland: a smooth field of cover in five levels over soils of differing brightness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from georelay.sources.synthetic.noise import grain, smooth
from georelay.sources.synthetic.sensors import Camera

LEVELS = 5


@dataclass(frozen=True)
class Meadow:
    """Knobs of the grassland, lengths in metres."""

    length: float = 900.0
    exponent: float = 5.0
    tilt: float = 0.9  # how far a scene as a whole leans to sparse or dense, in sds
    soil_length: float = 500.0
    soil_sd: float = 0.14
    vigour_sd: float = 0.10  # green leaves are greener in one place than in another
    texture: float = 0.07


def draw_meadow(rng: np.random.Generator, size: int, gsd: float, camera: Camera, meadow: Meadow) -> tuple[np.ndarray, np.ndarray]:
    """Levels [y, x] and reflectance [band, y, x] of one scene."""
    lean = meadow.tilt * rng.standard_normal()
    field = smooth(rng, size, meadow.length / gsd, meadow.exponent) * 0.85 + lean
    cover = ndtr(field / np.hypot(0.85, meadow.tilt)).astype(np.float32)
    level = np.minimum((cover * LEVELS).astype(np.uint8), LEVELS - 1)
    tufts = meadow.texture * (grain(rng, size, 0.7) + grain(rng, size, 2.0))
    green = np.clip(0.05 + 0.85 * cover + tufts, 0, 1)[None]
    soil = np.exp(meadow.soil_sd * smooth(rng, size, meadow.soil_length / gsd, 4.0) + 0.12 * rng.standard_normal())
    vigour = np.exp(meadow.vigour_sd * smooth(rng, size, meadow.soil_length / gsd, 4.0))
    bare = np.array([0.10, 0.14, 0.19, 0.26], np.float32)[:, None, None] * soil.astype(np.float32)
    leaf = np.array([0.045, 0.085, 0.055, 0.36], np.float32)[:, None, None] * np.array([1, 1, 1, 1], np.float32)[:, None, None]
    leaf = np.concatenate([leaf[:3] / vigour, leaf[3:] * vigour]) if vigour.ndim else leaf
    return level, (bare * (1 - green) + leaf * green).astype(np.float32)
