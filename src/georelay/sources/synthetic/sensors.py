"""Sensors: how a world looks to an optical camera and to a side-looking radar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from georelay.sources.synthetic.noise import grain, table
from georelay.sources.synthetic.world import BUILDING, CROP, LOOKUP, TREE, WATER, World, ambient

BANDS = ("blue", "green", "red", "nir")
SCALE = 1e-4  # reflectance per digital number
SAR_NODATA = -9999.0

# Reflectance without leaves [cover][variant][band], and of the leaves [cover][band]; after common spectral libraries.
_SOIL = [[0.09, 0.13, 0.18, 0.25], [0.07, 0.105, 0.165, 0.22]]
_ROOF = [[0.07, 0.09, 0.19, 0.24], [0.12, 0.13, 0.14, 0.16], [0.06, 0.065, 0.07, 0.09]]
_ROOF += [[0.34, 0.36, 0.37, 0.37], [0.11, 0.13, 0.16, 0.20]]
_ASPHALT = [[0.095, 0.105, 0.115, 0.14], [0.14, 0.155, 0.17, 0.20]]
_WATER = [[0.045, 0.05, 0.032, 0.016]]
_GROUND = [_SOIL, _SOIL, _SOIL, _SOIL, _WATER, _ROOF, _ASPHALT]
GROUND = np.array([(kinds * 5)[:5] for kinds in _GROUND], np.float32)
LEAF = np.zeros((7, 4), np.float32)
LEAF[0] = LEAF[1] = [0.042, 0.085, 0.055, 0.37]  # weeds, grass
LEAF[2] = [0.038, 0.082, 0.048, 0.41]  # crops
LEAF[3] = [0.022, 0.05, 0.030, 0.33]  # crowns hold shade
# Scatter of single pixels, by cover.
TEXTURE = np.array([0.07, 0.07, 0.06, 0.10, 0.03, 0.03, 0.05], np.float32)


@dataclass(frozen=True)
class Camera:
    """An optical sensor and its sky."""

    bands: tuple[str, ...] = BANDS
    gain: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)  # in the order of BANDS
    gain_sd: tuple[float, float] = (0.06, 0.025)  # from scene to scene: all bands together, each band alone
    haze: tuple[float, float] = (0.0, 0.03)
    sun: tuple[float, float] = (35.0, 60.0)  # elevation in degrees
    azimuth: tuple[float, float] = (120.0, 220.0)
    psf: float = 0.65
    noise: float = 0.006
    parcel_sd: float = 0.22


@dataclass(frozen=True)
class Radar:
    """A side-looking SAR with vv and vh, in dB, calibrated."""

    looks: float = 2.0
    parcel_sd: float = 2.0  # dB, between things of one kind
    incidence: tuple[float, float] = (33.0, 43.0)
    floor_db: float = -27.0
    margin: float = 0.33  # share of scenes that the swath covers only in part


@dataclass(frozen=True)
class Sun:
    """Where the light of a scene comes from; azimuth clockwise from north."""

    azimuth: float
    elevation: float

    @property
    def away(self) -> tuple[float, float]:
        """Unit vector (rows, columns) in which shadows fall."""
        return float(np.cos(self.azimuth)), float(-np.sin(self.azimuth))


def draw_sun(rng: np.random.Generator, camera: Camera) -> Sun:
    """The sun of one scene."""
    return Sun(np.deg2rad(rng.uniform(*camera.azimuth)), np.deg2rad(rng.uniform(*camera.sun)))


def reflectance(rng: np.random.Generator, world: World, camera: Camera) -> np.ndarray:
    """Reflectance [band, y, x] of the sunlit land, in the order of BANDS."""
    size = world.cover.shape[0]
    ground, leaf = GROUND[world.cover, world.variant], LEAF[world.cover]
    green = world.vegetation[..., None]
    image = (ground * (1.15 - 0.45 * world.wetness)[..., None]) * (1 - green) + leaf * green
    # Fields differ mostly in brightness: independent bands would make them pink.
    tone = camera.parcel_sd * (0.85 * rng.standard_normal((LOOKUP, 1)) + 0.35 * rng.standard_normal((LOOKUP, 4)))
    image *= np.exp(tone).astype(np.float32)[world.parcel]
    rough = TEXTURE[world.cover] * (0.8 * grain(rng, size, 0.8) + 0.7 * grain(rng, size, 2.0))
    image *= (1 + rough + _rows(rng, world))[..., None]
    return np.ascontiguousarray(np.moveaxis(image, -1, 0))


def _rows(rng: np.random.Generator, world: World) -> np.ndarray:
    """Brightness of crop rows; rows finer than two pixels and a half are not seen."""
    spacing = (2.4 + 2.2 * table(rng, LOOKUP))[world.parcel]
    depth = (0.10 * table(rng, LOOKUP))[world.parcel] * (spacing > 2.5 * world.gsd)
    waves: np.ndarray = (world.cover == CROP) * depth * np.sin(2 * np.pi * world.rows / spacing)
    return waves


def sunlight(world: World, sun: Sun) -> np.ndarray:
    """Direct light on each pixel, 0 in cast shadow, about 1 in the sun."""
    lit = _relief(world, sun)
    light: np.ndarray = lit * (1 - cast_shadow(world.height, sun, world.gsd))
    return light


def _relief(world: World, sun: Sun) -> np.ndarray:
    slope_y, slope_x = np.gradient(world.height, world.gsd)
    down, right = sun.away
    towards = np.clip(-(slope_y * down + slope_x * right), -1.5, 1.5) * -1.0
    steep = np.where(world.cover == TREE, 0.22, np.where(world.cover == BUILDING, 0.5, 0.1))
    lit: np.ndarray = np.clip(1 + steep * towards / np.tan(sun.elevation), 0.35, 1.5).astype(np.float32)
    return lit


def cast_shadow(height: np.ndarray, sun: Sun, gsd: float) -> np.ndarray:
    """1 where something towards the sun is higher than the ray of light, softened over a pixel."""
    drop = np.tan(sun.elevation) * gsd
    ray = np.zeros_like(height)
    for step in range(1, int(height.max() / drop) + 1):
        row, col = (round(part * step) for part in sun.away)
        ray = np.maximum(ray, _moved(height, row, col) - step * drop)
    shade: np.ndarray = np.clip((ray - height) / max(drop, 1e-6), 0, 1).astype(np.float32)
    return shade


def _moved(array: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """The array moved down and right; what comes in from outside is 0."""
    result = np.zeros_like(array)
    height, width = array.shape
    down, up = max(rows, 0), max(-rows, 0)
    right, left = max(cols, 0), max(-cols, 0)
    if down + up < height and right + left < width:
        result[down : height - up, right : width - left] = array[up : height - down, left : width - right]
    return result


def illuminate(image: np.ndarray, world: World, direct: np.ndarray) -> np.ndarray:
    """Direct and sky light on the land; the sky is bluer, so shadows are."""
    sky = np.array([0.36, 0.28, 0.23, 0.17], np.float32)[:, None, None]
    lit: np.ndarray = image * (sky * ambient(world.height, 2.0 / world.gsd + 0.5) + (1 - sky) * direct)
    return lit


def expose(rng: np.random.Generator, image: np.ndarray, camera: Camera) -> np.ndarray:
    """What the camera delivers: haze, point spread, gain and noise, as uint16 [band, y, x]; 0 stays free for nodata."""
    haze = rng.uniform(*camera.haze) * np.array([1.0, 0.75, 0.55, 0.25])
    together, alone = camera.gain_sd
    gain = np.array(camera.gain) * np.exp(together * rng.standard_normal() + alone * rng.standard_normal(len(BANDS)))
    size, bands = image.shape[-1], [BANDS.index(name) for name in camera.bands]
    counts = np.empty((len(bands), size, size), np.uint16)
    for target, band in enumerate(bands):
        seen = gaussian_filter(image[band], camera.psf, truncate=3.0) * np.float32(gain[band]) + np.float32(haze[band])
        seen += np.float32(camera.noise) * rng.standard_normal((size, size), dtype=np.float32)
        counts[target] = np.clip(np.rint(seen / SCALE), 1, 65535)
    return counts


def photograph(rng: np.random.Generator, world: World, camera: Camera) -> np.ndarray:
    """A cloudless optical scene, uint16 [band, y, x]."""
    sun = draw_sun(rng, camera)
    return expose(rng, illuminate(reflectance(rng, world, camera), world, sunlight(world, sun)), camera)


# Backscatter in dB (vv, vh) by cover, and how much leaves and water in the soil add.
_SIGMA = np.array([[-13.8, -22.4], [-13, -20.6], [-12.2, -19.2], [-8.5, -13.5], [-21, -30], [-5, -14], [-17, -26]], np.float32)
_LEAVES = np.array([[2.0, 3.0], [1.5, 2.5], [2.5, 4.0], [1.0, 1.0], [0, 0], [0, 0], [0, 0]], np.float32)
_WATER_IN_SOIL = np.array([[4.0, 2.5], [3.0, 1.5], [2.0, 1.0], [0.5, 0.5], [0, 0], [0, 0], [0, 0]], np.float32)
_WALL = np.array([26.0, 2.4], np.float32)  # double bounce per metre of wall at a pixel, relative to ground power


def scan(rng: np.random.Generator, world: World, radar: Radar) -> np.ndarray:
    """A SAR scene in dB, float32 [vv/vh, y, x], looking from the left; SAR_NODATA beyond the swath."""
    incidence = np.deg2rad(rng.uniform(*radar.incidence))
    power = _backscatter(rng, world, radar)
    power += _WALL[:, None, None] * power.mean((1, 2), keepdims=True) * _walls(world)
    # Crowns let part of the wave through: they shade and lean as if they were lower.
    height = np.where(world.cover == TREE, 0.5 * world.height, world.height)
    power *= ~_hidden(height, world.gsd, incidence)
    power = _laid_over(power, height, world.gsd, incidence)
    power += 10 ** (radar.floor_db / 10)
    power *= rng.standard_gamma(radar.looks, power.shape, dtype=np.float32) / np.float32(radar.looks)
    decibel: np.ndarray = (10 * np.log10(np.maximum(power, 1e-5))).astype(np.float32)
    decibel[:, ~_swath(rng, world.cover.shape[0], radar)] = SAR_NODATA
    return decibel


def _backscatter(rng: np.random.Generator, world: World, radar: Radar) -> np.ndarray:
    decibel = _SIGMA[world.cover] + _LEAVES[world.cover] * (world.vegetation[..., None] - 0.5)
    decibel += _WATER_IN_SOIL[world.cover] * (world.wetness[..., None] - 0.4)
    decibel += np.float32(radar.parcel_sd) * rng.standard_normal((LOOKUP, 1), dtype=np.float32)[world.parcel]
    wind = rng.uniform(-2.0, 3.0)
    decibel[world.cover == WATER] += np.float32(wind)
    return np.ascontiguousarray(np.moveaxis(10 ** (decibel / 10), -1, 0)).astype(np.float32)


def _walls(world: World) -> np.ndarray:
    """Height of the walls that face the radar, at the ground before them."""
    rise = np.zeros_like(world.height)
    built = np.where(world.cover == BUILDING, world.height, 0)
    rise[:, :-1] = np.maximum(built[:, 1:] - built[:, :-1], 0) * (world.cover[:, :-1] != BUILDING)
    return rise / 6.0


def _hidden(height: np.ndarray, gsd: float, incidence: float) -> np.ndarray:
    """Where something nearer to the radar stands in the way of the ray."""
    column = np.arange(height.shape[1], dtype=np.float32) * gsd / np.float32(np.tan(incidence))
    hidden: np.ndarray = np.maximum.accumulate(height + column, axis=1) > height + column + 0.5
    return hidden


def _laid_over(power: np.ndarray, height: np.ndarray, gsd: float, incidence: float) -> np.ndarray:
    """High things answer early and fall on what lies before them, towards the radar."""
    rows, cols = height.shape
    shift = np.rint(height / np.tan(incidence) / gsd).astype(np.int64)
    landing = np.maximum(np.arange(cols) - shift, 0) + np.arange(rows)[:, None] * cols
    flat = landing.ravel()
    sums = [np.bincount(flat, band.ravel(), rows * cols) for band in power]
    return np.stack(sums).reshape(power.shape).astype(np.float32)


def _swath(rng: np.random.Generator, size: int, radar: Radar) -> np.ndarray:
    """Pixels inside the swath: all, or all but a slanted wedge on one side."""
    present, side, slant, depth = rng.random(4)
    if present >= radar.margin:
        return np.ones((size, size), bool)
    row, col = np.arange(size)[:, None], np.arange(size)[None]
    edge = size * (0.06 + 0.22 * depth) + (row - size / 2) * (0.1 + 0.3 * slant) * (1 if slant > 0.5 else -1)
    inside: np.ndarray = col >= edge if side < 0.5 else col < size - edge
    return inside
