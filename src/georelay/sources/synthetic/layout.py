"""The plan of the land: districts between main roads, each with a street or field grid of its own.

Districts are the cells of a gently warped Voronoi diagram. The distance to a cell's edge is the distance to a
bisector, (d2^2 - d1^2) / 2|p2 - p1|, which keeps roads evenly wide up to the junctions; the difference d2 - d1, the
usual short cut, swells there. Everything is in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from georelay.sources.synthetic.noise import smooth, table

FIELDS, TOWN, FOREST = 0, 1, 2


@dataclass(frozen=True)
class Layout:
    """Knobs of a landscape, lengths in metres, shares from 0 to 1."""

    district: float = 115.0
    town: float = 0.4
    forest: float = 0.14
    turned: float = 1.0  # 0: all street grids point one way, 1: each its own
    warp: float = 7.0
    road: tuple[float, float] = (7.0, 11.0)
    street: float = 5.0
    lot: tuple[float, float] = (17.0, 21.0)
    lots_in_row: int = 4
    built: float = 0.9
    large: float = 0.25  # share of town districts with large, flat-roofed buildings
    storeys: tuple[float, float] = (3.5, 8.0)
    field: tuple[float, float] = (75.0, 42.0)
    crop: float = 0.42
    bare: float = 0.3
    garden_trees: float = 0.16
    hedges: float = 0.3
    rivers: float = 0.6
    river: tuple[float, float] = (7.0, 15.0)
    ponds: float = 1.6


@dataclass(frozen=True)
class Districts:
    """Sites of the districts and what each is, arrays over sites."""

    tree: cKDTree
    sites: np.ndarray  # [site, (x, y)]
    use: np.ndarray
    angle: np.ndarray
    lot: np.ndarray  # [site, (along the street, away from it)]
    field: np.ndarray
    large: np.ndarray
    half_road: np.ndarray  # [site, site], half the width of the road between two; 0 is none


@dataclass(frozen=True)
class Ground:
    """Every pixel's place in the plan, arrays [y, x]."""

    x: np.ndarray  # warped ground coordinates
    y: np.ndarray
    site: np.ndarray
    u: np.ndarray  # coordinates in the district's own grid
    v: np.ndarray
    edge: np.ndarray  # distance to the district's edge
    road: np.ndarray  # on a main road


def draw_districts(rng: np.random.Generator, extent: float, layout: Layout) -> Districts:
    """Jittered sites over the scene and a margin around it."""
    pitch = layout.district
    ticks = np.arange(-1.5 * pitch, extent + 2.5 * pitch, pitch)
    x, y = (axis.ravel() for axis in np.meshgrid(ticks, ticks))
    sites = np.stack([x, y], 1) + rng.uniform(-0.38, 0.38, (x.size, 2)) * pitch
    count = len(sites)
    chance = rng.random(count)
    use = np.where(chance < layout.town, TOWN, np.where(chance < layout.town + layout.forest, FOREST, FIELDS))
    large = (rng.random(count) < layout.large) & (use == TOWN)
    lot = np.array(layout.lot) * rng.uniform(0.85, 1.2, (count, 2)) * np.where(large, 2.1, 1.0)[:, None]
    field = np.array(layout.field) * rng.uniform(0.7, 1.35, (count, 2))
    angle = rng.uniform(0, np.pi / 2) + layout.turned * rng.uniform(-np.pi / 4, np.pi / 4, count)
    roads = _half_roads(rng, use, layout)
    return Districts(cKDTree(sites, leafsize=8), sites, use, angle, lot, field, large, roads)


def _half_roads(rng: np.random.Generator, use: np.ndarray, layout: Layout) -> np.ndarray:
    count = len(use)
    width = rng.uniform(*layout.road, (count, count)) / 2
    width = np.triu(width, 1) + np.triu(width, 1).T
    quiet = (use != TOWN)[:, None] & (use != TOWN)[None]
    absent = np.triu(rng.random((count, count)) < 0.45, 1)
    width[quiet] *= 0.75
    width[quiet & (absent | absent.T)] = 0
    return width.astype(np.float32)


def survey(rng: np.random.Generator, size: int, gsd: float, districts: Districts, layout: Layout) -> Ground:
    """Place every pixel of a scene in the plan."""
    length = 1.6 * layout.district / gsd
    ticks = (np.arange(size, dtype=np.float32) + 0.5) * gsd
    x = ticks[None] + layout.warp * smooth(rng, size, length, 8.0)
    y = ticks[:, None] + layout.warp * smooth(rng, size, length, 8.0)
    site, edge, road = edges(districts, x, y)
    u, v = local(districts, site, x, y)
    return Ground(x, y, site, u, v, edge, road)


def edges(districts: Districts, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each point: its district, the distance to the district's edge, and whether a main road covers it."""
    points = np.stack([x.ravel(), y.ravel()], 1)
    distance, index = districts.tree.query(points, k=3)
    square, near = distance.astype(np.float32) ** 2, index[:, 0]
    edge, road = np.full(len(points), np.inf, np.float32), np.zeros(len(points), bool)
    for other in (1, 2):
        apart = np.linalg.norm(districts.sites[near] - districts.sites[index[:, other]], axis=1)
        bisector = (square[:, other] - square[:, 0]) / (2 * apart.astype(np.float32))
        road |= bisector < districts.half_road[near, index[:, other]]
        edge = np.minimum(edge, bisector)
    return near.reshape(x.shape), edge.reshape(x.shape), road.reshape(x.shape)


def local(districts: Districts, site: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in the turned grid of each point's district."""
    origin = districts.sites.astype(np.float32)
    cosine, sine = np.cos(districts.angle).astype(np.float32), np.sin(districts.angle).astype(np.float32)
    dx, dy = x - origin[site, 0], y - origin[site, 1]
    return dx * cosine[site] + dy * sine[site], dy * cosine[site] - dx * sine[site]


@dataclass(frozen=True)
class Houses:
    """Where houses stand, arrays [y, x]: -1 or the house's number, and the distance from its ridge and end (0 to 1)."""

    number: np.ndarray
    ridge: np.ndarray
    street: np.ndarray  # on a street of the district's grid
    lot: np.ndarray  # number of the lot, for gardens
    height: np.ndarray  # per house
    flat: np.ndarray  # per house


def settle(rng: np.random.Generator, ground: Ground, districts: Districts, layout: Layout, gsd: float, wet: np.ndarray) -> Houses:
    """Streets, lots and houses of the town districts; `wet` is the distance to water in metres."""
    town = districts.use[ground.site] == TOWN
    lot, row = districts.lot.astype(np.float32), layout.lots_in_row
    pitch_u, pitch_v = layout.street + row * lot[:, 0], layout.street + 2 * lot[:, 1]
    block_u, in_u = _divided(ground.u, pitch_u[ground.site])
    block_v, in_v = _divided(ground.v, pitch_v[ground.site])
    street = town & ((in_u < layout.street) | (in_v < layout.street))
    lot_u, in_u = _divided(in_u - layout.street, lot[ground.site, 0])
    lot_v, in_v = _divided(in_v - layout.street, lot[ground.site, 1])
    reach = int(1.1 * layout.district / lot.min()) + 2 * row
    index_u = np.clip(block_u * row + np.clip(lot_u, 0, row - 1) + reach, 0, 2 * reach - 1)
    index_v = np.clip(block_v * 2 + np.clip(lot_v, 0, 1) + reach, 0, 2 * reach - 1)
    plots = _Plots(rng, districts, layout, reach)
    plots.keep &= plots.dry(ground, gsd, wet, districts, layout)
    number = (ground.site * 2 * reach + index_u) * 2 * reach + index_v
    across = np.abs(in_u - plots.centre_u.ravel()[number]) / plots.half_u.ravel()[number]
    along = np.abs(in_v - plots.centre_v.ravel()[number]) / plots.half_v.ravel()[number]
    inside = town & ~street & plots.keep.ravel()[number] & (across < 1) & (along < 1)
    house = np.where(inside, number, -1)
    return Houses(house, along, street, number, plots.height.ravel(), plots.flat.ravel())


def _divided(value: np.ndarray, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index = np.floor(value / pitch)
    return index.astype(np.int32), value - index * pitch


class _Plots:
    """A house for every lot of every district, arrays [site, lot along, lot across]; `keep` says which are built."""

    def __init__(self, rng: np.random.Generator, districts: Districts, layout: Layout, reach: int) -> None:
        self.reach, self.row = reach, layout.lots_in_row
        shape = (len(districts.sites), 2 * reach, 2 * reach)
        lot_u, lot_v = (districts.lot[:, axis].astype(np.float32)[:, None, None] for axis in (0, 1))
        self.half_u = lot_u * (0.28 + 0.14 * table(rng, *shape))
        self.half_v = lot_v * (0.19 + 0.13 * table(rng, *shape))
        self.centre_u = lot_u * (0.47 + 0.06 * table(rng, *shape))
        back = (np.arange(2 * reach) - reach) % 2 == 1  # the second row of a block faces the street behind it
        setback = 2.0 + self.half_v + 2.0 * table(rng, *shape)
        self.centre_v = np.where(back, lot_v - setback, setback)
        low, high = layout.storeys
        large = districts.large[:, None, None]
        self.height = (low + (high - low) * table(rng, *shape)) * np.where(large, 1.35, 1.0).astype(np.float32)
        self.flat = np.broadcast_to(large, shape) | (table(rng, *shape) < 0.2)
        self.keep = table(rng, *shape) < layout.built
        self.keep &= (districts.use == TOWN)[:, None, None]

    def dry(self, ground: Ground, gsd: float, wet: np.ndarray, districts: Districts, layout: Layout) -> np.ndarray:
        """Houses that stand whole within their district, off the main roads and away from water."""
        site, i, j, u, v = self._placed(districts, layout)
        cosine, sine = np.cos(districts.angle[site]), np.sin(districts.angle[site])
        x = districts.sites[site, 0] + u * cosine - v * sine
        y = districts.sites[site, 1] + u * sine + v * cosine
        reach = np.hypot(self.half_u[site, i, j], self.half_v[site, i, j])
        near, edge, _ = edges(districts, x, y)
        good = (near == site) & (edge > 0.8 * reach + layout.road[1] / 2)
        good &= _unwarped(ground, gsd, x, y, wet) > reach + 2
        result = np.zeros_like(self.keep)
        result[site, i, j] = good
        return result

    def _placed(self, districts: Districts, layout: Layout) -> tuple[np.ndarray, ...]:
        """Indices of the plots that may lie in their district, and the houses' centres in its grid."""
        site, i, j = np.nonzero(self.keep)
        lot = districts.lot[site]
        a, b = i - self.reach, j - self.reach
        u = (a // self.row) * (layout.street + self.row * lot[:, 0]) + layout.street + (a % self.row) * lot[:, 0]
        v = (b // 2) * (layout.street + 2 * lot[:, 1]) + layout.street + (b % 2) * lot[:, 1]
        u, v = u + self.centre_u[site, i, j], v + self.centre_v[site, i, j]
        near = np.hypot(u, v) < 1.1 * layout.district
        return site[near], i[near], j[near], u[near], v[near]


def _unwarped(ground: Ground, gsd: float, x: np.ndarray, y: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` at points given in warped coordinates; one step back along the warp is near enough."""
    size = values.shape[0]
    row, col = (np.clip((axis / gsd).astype(int), 0, size - 1) for axis in (y, x))
    x, y = x - ground.x[row, col] + (col + 0.5) * gsd, y - ground.y[row, col] + (row + 0.5) * gsd
    row, col = (np.clip((axis / gsd).astype(int), 0, size - 1) for axis in (y, x))
    found: np.ndarray = values[row, col]
    return found
