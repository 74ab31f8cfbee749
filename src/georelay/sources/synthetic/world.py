"""The land: what covers each pixel, how high it is, how wet and how green. Sensors turn it into images.

A world is drawn top down: districts and roads, streets and houses, fields, then water, then trees. Roads bridge
rivers, houses keep off both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from georelay.sources.synthetic.layout import (
    FIELDS,
    FOREST,
    TOWN,
    Districts,
    Ground,
    Houses,
    Layout,
    draw_districts,
    settle,
    survey,
)
from georelay.sources.synthetic.noise import grain, smooth, table

BARE, GRASS, CROP, TREE, WATER, BUILDING, ROAD = range(7)

LOOKUP = 4096  # entries of the per-parcel tables; parcels that share one are far apart
FAR = 1e6  # metres: "no water here"


@dataclass(frozen=True)
class World:
    """The land of one scene, arrays [y, x]."""

    gsd: float
    cover: np.ndarray  # uint8: BARE ... ROAD
    variant: np.ndarray  # uint8: which kind of roof, road or soil
    parcel: np.ndarray  # int32: things that share a colour share a number below LOOKUP
    height: np.ndarray  # float32: metres above the ground
    wetness: np.ndarray  # float32: 0 dry to 1 wet
    vegetation: np.ndarray  # float32: share of the ground under green leaves
    rows: np.ndarray  # float32: metres across the rows of crops


def draw_world(rng: np.random.Generator, size: int, gsd: float, layout: Layout) -> World:
    """One world of `size` x `size` pixels."""
    districts = draw_districts(rng, size * gsd, layout)
    ground = survey(rng, size, gsd, districts, layout)
    use = districts.use[ground.site]
    shore = _shore(rng, size, gsd, layout, use)
    houses = settle(rng, ground, districts, layout, gsd, shore)
    field, border = _fields(ground, districts, use)
    cover, parcel = _fields_cover(rng, field, border, use, layout)
    _gardens(rng, cover, parcel, houses, use)
    crowns = _crowns(rng, size, gsd)
    canopy = crowns + _tree_wish(rng, size, gsd, use, border, shore, field, layout)
    return _assemble(rng, gsd, ground, houses, shore, cover, parcel, canopy, crowns)


def _shore(rng: np.random.Generator, size: int, gsd: float, layout: Layout, use: np.ndarray) -> np.ndarray:
    """Distance to the nearest river or pond in metres, negative on water."""
    ticks = (np.arange(size, dtype=np.float32) + 0.5) * gsd
    x, y = ticks[None], ticks[:, None]
    extent, shore = size * gsd, np.full((size, size), FAR, np.float32)
    for _ in range(rng.binomial(max(1, round(extent / 1024)), layout.rivers)):
        shore = np.minimum(shore, _river(rng, x, y, extent, layout))
    wobble = smooth(rng, size, 26.0 / gsd, 8.0)
    for _ in range(rng.poisson(layout.ponds * max(1.0, (extent / 256) ** 2 / 4))):
        centre, radius = rng.uniform(0, extent, 2), rng.uniform(9, 24)
        shore = np.minimum(shore, np.hypot(x - centre[0], y - centre[1]) - radius * (1 + 0.2 * wobble))
    return shore.astype(np.float32)


def _river(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, extent: float, layout: Layout) -> np.ndarray:
    """A line that meanders across the scene; dividing by its slope keeps the river evenly wide."""
    angle, (at_x, at_y) = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8, 2) * extent
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across = cosine * (x - at_x) + sine * (y - at_y)
    along = cosine * (y - at_y) - sine * (x - at_x)
    half = rng.uniform(*layout.river) / 2
    slope = np.zeros_like(along)
    for length in rng.uniform([16, 34], [28, 62]) * half:  # meanders grow with the river
        turns, phase = along * np.float32(2 * np.pi / length), np.float32(rng.uniform(0, 2 * np.pi))
        across = across - np.float32(0.1 * length) * np.sin(turns + phase)
        slope -= np.float32(0.2 * np.pi) * np.cos(turns + phase)
    distance: np.ndarray = np.abs(across) / np.sqrt(1 + slope**2) - half
    return distance


def _fields(ground: Ground, districts: Districts, use: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of each pixel's field, and the distance to the field's border in metres."""
    pitch = districts.field.astype(np.float32)[ground.site]
    pitch_u, pitch_v = pitch[..., 0], pitch[..., 1]
    column = np.floor(ground.u / pitch_u)
    # Rows of fields are shifted against each other, as ploughland is, instead of forming a chess board.
    shifted = ground.v + 0.37 * pitch_v * column
    row = np.floor(shifted / pitch_v)
    u, v = ground.u / pitch_u - column, shifted / pitch_v - row
    border = np.minimum(np.minimum(u, 1 - u) * pitch_u, np.minimum(v, 1 - v) * pitch_v)
    border = np.where(use == FIELDS, np.minimum(border, ground.edge), ground.edge)
    number = (ground.site * 7919 + column.astype(np.int32) * 101 + row.astype(np.int32) * 1009) % LOOKUP
    return np.where(use == FIELDS, number, ground.site % LOOKUP), border


def _fields_cover(
    rng: np.random.Generator, field: np.ndarray, border: np.ndarray, use: np.ndarray, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    chance = table(rng, LOOKUP)
    kind = np.where(chance < layout.crop, CROP, np.where(chance < layout.crop + layout.bare, BARE, GRASS))
    cover = np.where(use == FIELDS, kind[field], GRASS).astype(np.uint8)
    # Every third field or so is bordered by a farm track, the others by grass.
    edge = (use == FIELDS) & (border < 1.3)
    track = table(rng, LOOKUP) < 0.35
    cover[edge] = np.where(track[field[edge]], BARE, GRASS)
    return cover, field.astype(np.int32)


def _gardens(rng: np.random.Generator, cover: np.ndarray, parcel: np.ndarray, houses: Houses, use: np.ndarray) -> None:
    """Lots: lawn, or now and then a bare yard."""
    town = use == TOWN
    number = (houses.lot * 31) % LOOKUP
    yard = table(rng, LOOKUP) < 0.22
    cover[town] = np.where(yard[number[town]], BARE, GRASS)
    parcel[town] = number[town]


def _crowns(rng: np.random.Generator, size: int, gsd: float) -> np.ndarray:
    """Bumps as wide as tree crowns, sd 1."""
    wide, narrow = (grain(rng, size, sigma / gsd) for sigma in (2.6, 1.3))
    return (0.85 * wide + 0.5 * narrow).astype(np.float32)


def _tree_wish(
    rng: np.random.Generator,
    size: int,
    gsd: float,
    use: np.ndarray,
    border: np.ndarray,
    shore: np.ndarray,
    field: np.ndarray,
    layout: Layout,
) -> np.ndarray:
    """How much a place wants trees: -3 hardly any, 0 half, 3 closed forest."""
    stands = smooth(rng, size, 70.0 / gsd, 6.0)
    base = np.array([-3.1, -2.6 + 6 * layout.garden_trees, 2.4], np.float32)  # FIELDS, TOWN, FOREST
    wish = base[use] + np.where(use == FOREST, 0.9 * stands - 2.2 * np.exp(-border / 5), 0.6 * stands)
    hedge = (table(rng, LOOKUP) < layout.hedges)[field] & (use == FIELDS)
    wish = np.where(hedge & (border < 2.2), 1.4 + stands, wish)
    bank = np.exp(-np.maximum(shore, 0) / 6)
    return np.where(use == FOREST, wish, wish + 2.4 * bank * (use == FIELDS)).astype(np.float32)


def _assemble(
    rng: np.random.Generator,
    gsd: float,
    ground: Ground,
    houses: Houses,
    shore: np.ndarray,
    cover: np.ndarray,
    parcel: np.ndarray,
    canopy: np.ndarray,
    crowns: np.ndarray,
) -> World:
    house, road = houses.number >= 0, ground.road
    road = road | (houses.street & (ground.edge > 0))
    water = (shore < 0) & ~ground.road & ~house  # main roads bridge rivers, streets end at them
    trees = (canopy > 0) & ~water & ~house & ~ground.road
    trees &= ~road | (crowns > 1.2)  # a few crowns reach over a street
    cover = cover.copy()
    for mask, kind in ((road, ROAD), (water, WATER), (trees, TREE), (house, BUILDING)):
        cover[mask] = kind
    parcel = np.where(house, (houses.number * 17 + 5) % LOOKUP, parcel).astype(np.int32)
    parcel[cover == ROAD] = 0
    parcel[cover == WATER] = 1
    parcel[cover == TREE] = 2
    height = _height(rng, cover, houses, canopy, crowns)
    wetness = _wetness(rng, shore, cover, gsd)
    vegetation = _vegetation(rng, cover, parcel, wetness, crowns, gsd)
    variant = _variant(rng, cover, parcel, ground)
    return World(gsd, cover, variant, parcel, height, wetness, vegetation, ground.v)


def _height(rng: np.random.Generator, cover: np.ndarray, houses: Houses, canopy: np.ndarray, crowns: np.ndarray) -> np.ndarray:
    number = np.maximum(houses.number, 0)
    roof = houses.height[number] * np.where(houses.flat[number], 1.0, 1.15 - 0.4 * houses.ridge)
    # Crowns are domes: low where a clump just begins, so single bushes cast no shadow of a tall tree.
    tall = 2 + rng.uniform(6, 10) * np.sqrt(np.clip(canopy / 2.2, 0, 1)) + 1.8 * crowns
    herbs = np.array([0.0, 0.15, 0.8, 0.0, 0.0, 0.0, 0.0], np.float32)[cover]
    height = np.where(cover == BUILDING, roof, np.where(cover == TREE, np.maximum(tall, 1.5), herbs))
    return height.astype(np.float32)


def _wetness(rng: np.random.Generator, shore: np.ndarray, cover: np.ndarray, gsd: float) -> np.ndarray:
    field = 0.35 + 0.16 * smooth(rng, cover.shape[0], 110.0 / gsd, 6.0) + 0.5 * np.exp(-np.maximum(shore, 0) / 9)
    field[cover == WATER] = 1.0
    wetness: np.ndarray = np.clip(field, 0, 1).astype(np.float32)
    return wetness


def _vegetation(
    rng: np.random.Generator, cover: np.ndarray, parcel: np.ndarray, wetness: np.ndarray, crowns: np.ndarray, gsd: float
) -> np.ndarray:
    """Green share: crops and meadows overlap on purpose, only rows, borders and texture tell some of them apart."""
    low = np.array([0.0, 0.35, 0.42, 0.82, 0.0, 0.0, 0.0], np.float32)
    span = np.array([0.16, 0.45, 0.55, 0.14, 0.0, 0.0, 0.0], np.float32)
    share = low[cover] + span[cover] * table(rng, LOOKUP)[parcel]
    patch = smooth(rng, cover.shape[0], 30.0 / gsd, 4.5)
    living = span[cover] > 0
    share += living * (0.06 * patch + 0.25 * (wetness - 0.4) * (cover != TREE))
    share += np.where(cover == TREE, 0.05 * crowns, 0)
    vegetation: np.ndarray = np.clip(share, 0, 1).astype(np.float32)
    return vegetation


def _variant(rng: np.random.Generator, cover: np.ndarray, parcel: np.ndarray, ground: Ground) -> np.ndarray:
    roof = rng.choice(5, LOOKUP, p=[0.34, 0.26, 0.14, 0.14, 0.12]).astype(np.uint8)
    soil = rng.choice(2, LOOKUP).astype(np.uint8)
    surface = np.where(ground.road, 0, rng.integers(0, 2)).astype(np.uint8)
    return np.where(cover == BUILDING, roof[parcel], np.where(cover == ROAD, surface, soil[parcel])).astype(np.uint8)


def ambient(height: np.ndarray, sigma: float) -> np.ndarray:
    """How much of the sky a place sees, 0 to 1: low beside high things."""
    above = np.maximum(gaussian_filter(height, sigma, truncate=3.0) - height, 0)
    seen: np.ndarray = 1 / (1 + 0.08 * above)
    return seen
