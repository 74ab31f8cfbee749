"""What teachers are taught on: five kinds of land, and beside each image the physics that it was made of.

The layers are no task's classes: reflectance of the ground before light and air, direct light, how green, how wet, and
where one thing borders on another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from georelay.sources.synthetic.clouds import Weather, cover_up, draw_sky
from georelay.sources.synthetic.grass import Meadow, draw_meadow
from georelay.sources.synthetic.layout import Layout
from georelay.sources.synthetic.sensors import BANDS, Camera, draw_sun, expose, illuminate, reflectance, sunlight
from georelay.sources.synthetic.world import draw_world

LAYERS = (*(f"ground {band}" for band in BANDS), "light", "greenness", "wetness", "border")
LAYER_SCALE = 1e-4
BORDER = 1.5  # pixels over which a border is blurred
DRY = 0.35  # wetness of meadows, where no water is drawn


@dataclass(frozen=True)
class Land:
    """A kind of land: how it is laid out, and whether clouds pass over it; None is grassland without a layout."""

    layout: Layout | None
    cloudy: bool = False


def draw_lesson(rng: np.random.Generator, land: Land, size: int, gsd: float, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """An image as the camera delivers it, and its layers as uint16 in units of `LAYER_SCALE`, both [band, y, x]."""
    if land.layout is None:
        _, ground = draw_meadow(rng, size, gsd, Meadow())
        still = np.zeros((size, size), np.float32)
        return expose(rng, ground, camera), _encoded(ground, still + 1, still + DRY, still)
    world = draw_world(rng, size, gsd, land.layout)
    sun = draw_sun(rng, camera)
    light, ground = sunlight(world, sun), reflectance(rng, world, camera)
    if not land.cloudy:
        return expose(rng, illuminate(ground, world, light), camera), _encoded(
            ground, light, world.wetness, _border(world.parcel)
        )
    sky = draw_sky(rng, size, gsd, sun, Weather())
    light = light * sky.light
    image = expose(rng, cover_up(rng, illuminate(ground, world, light), sky), camera)
    return image, _encoded(ground, light, world.wetness, _border(world.parcel))


def _border(parcel: np.ndarray) -> np.ndarray:
    """0 inside a thing and more the nearer its border: 0.27 on a straight one, up to 1 where many meet."""
    edge = np.zeros(parcel.shape, np.float32)
    edge[:, 1:] += parcel[:, 1:] != parcel[:, :-1]
    edge[1:] += parcel[1:] != parcel[:-1]
    blurred: np.ndarray = gaussian_filter(np.minimum(edge, 1), BORDER)
    return blurred


def _encoded(ground: np.ndarray, light: np.ndarray, wetness: np.ndarray, border: np.ndarray) -> np.ndarray:
    red, nir = ground[BANDS.index("red")], ground[BANDS.index("nir")]
    greenness = 0.5 + 0.5 * (nir - red) / (nir + red)  # the usual index, brought to 0 ... 1
    layers = np.stack([*ground, light, greenness, wetness, border])
    return np.clip(np.rint(layers / LAYER_SCALE), 0, 65535).astype(np.uint16)
