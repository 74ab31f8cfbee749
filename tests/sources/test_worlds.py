"""The land and its sensors, against geometry that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.spatial import cKDTree

from georelay.sources.synthetic import clouds, sensors
from georelay.sources.synthetic.grass import Meadow, draw_meadow
from georelay.sources.synthetic.layout import Districts, Layout, edges
from georelay.sources.synthetic.noise import smooth, stream
from georelay.sources.synthetic.sensors import Radar, Sun, cast_shadow, scan
from georelay.sources.synthetic.world import BARE, BUILDING, ROAD, WATER, World, draw_world


@lru_cache
def land() -> World:
    return draw_world(stream(0, "land"), 192, 1.0, Layout(rivers=1.0))


def flat(size: int = 64, cover: int = BARE) -> World:
    same = np.zeros((size, size), np.float32)
    return World(1.0, np.full((size, size), cover, np.uint8), np.zeros((size, size), np.uint8),
                 np.zeros((size, size), np.int32), same, same + 0.4, same, same)  # fmt: skip


def test_streams_depend_on_their_whole_key() -> None:
    draws = {stream(*key).random() for key in ((1, "a", 0), (1, "a", 1), (1, "b", 0), (2, "a", 0))}
    assert len(draws) == 4
    assert stream(1, "a", 0).random() == stream(1, "a", 0).random()


def test_smooth_fields_are_standard_and_smoother_with_length() -> None:
    short, long = (smooth(stream(3, "f"), 128, length, 6.0) for length in (8.0, 64.0))
    for field in (short, long):
        assert abs(field.mean()) < 1e-3
        assert field.std() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(long)).mean() < 0.5 * np.abs(np.diff(short)).mean()


def test_roads_are_evenly_wide() -> None:
    # Two sites 40 m apart: the edge is the line x = 20 however far up one looks, and a third site far off changes nothing.
    sites = np.array([[0.0, 0.0], [40.0, 0.0], [0.0, 4000.0]])
    nothing = np.zeros(3)
    half = np.full((3, 3), 5.0, np.float32)
    districts = Districts(cKDTree(sites), sites, nothing, nothing, nothing, nothing, nothing, half)
    x, y = np.array([10.0, 14.9, 15.1, 22.0, 22.0]), np.array([0.0, 70.0, 70.0, -300.0, 0.0])
    site, edge, road = edges(districts, x, y)
    assert site.tolist() == [0, 0, 0, 1, 1]
    assert edge == pytest.approx([10, 5.1, 4.9, 2, 2], abs=1e-2)
    assert road.tolist() == [False, False, True, True, True]


def test_houses_stand_whole_and_off_roads_and_water() -> None:
    world = land()
    house = world.cover == BUILDING
    assert house.any()
    for kind in (ROAD, WATER):
        touching = np.zeros_like(house)
        touching[1:] |= (world.cover == kind)[:-1] & house[1:]
        touching[:, 1:] |= (world.cover == kind)[:, :-1] & house[:, 1:]
        assert not touching.any()


def test_land_is_consistent() -> None:
    world = land()
    assert world.height[world.cover == BUILDING].min() > 2
    assert (world.height[(world.cover == ROAD) | (world.cover == WATER)] == 0).all()
    assert (world.wetness[world.cover == WATER] == 1).all()
    assert world.vegetation[world.cover == BUILDING].max() == 0
    for field in (world.wetness, world.vegetation):
        assert 0 <= field.min() <= field.max() <= 1


@pytest.mark.parametrize(("azimuth", "rows", "cols"), [(180, -1, 0), (90, 0, -1), (270, 0, 1)])
def test_a_tower_of_10_m_under_a_sun_of_45_degrees_shades_10_m(azimuth: int, rows: int, cols: int) -> None:
    height = np.zeros((41, 41), np.float32)
    height[20, 20] = 10
    shade = cast_shadow(height, Sun(np.deg2rad(azimuth), np.deg2rad(45)), 1.0)
    shaded = {(int(r) - 20, int(c) - 20) for r, c in zip(*np.nonzero(shade > 0.5), strict=True)}
    assert shaded == {(rows * step, cols * step) for step in range(1, 10)}


def test_shadow_length_is_in_metres() -> None:
    height = np.zeros((21, 41), np.float32)
    height[10, 20] = 10
    shade = cast_shadow(height, Sun(np.deg2rad(270), np.deg2rad(45)), 2.0)
    assert np.count_nonzero(shade > 0.4) == 4  # 2, 4, 6 and 8 m; at 10 m the ray touches the ground


def test_optical_pixels_are_never_nodata_and_bands_are_chosen_by_name() -> None:
    camera = sensors.Camera(bands=("nir", "red"))
    image = sensors.photograph(stream(1, "e"), land(), camera)
    assert (image.shape, image.dtype, int(image.min()) >= 1) == ((2, 192, 192), np.uint16, True)
    dark = sensors.expose(stream(1, "e"), np.zeros((4, 8, 8), np.float32), replace(camera, haze=(0.0, 0.0)))
    assert dark.min() == 1


def test_water_is_dark_and_leaves_are_bright_in_the_infrared() -> None:
    world = land()
    red, nir = sensors.photograph(stream(1, "e"), world, sensors.Camera(bands=("red", "nir"))).astype(float)
    green = world.vegetation > 0.75
    assert np.median(nir[world.cover == WATER]) < 0.3 * np.median(nir[green])
    assert np.median(((nir - red) / (nir + red))[green]) > 0.5


def test_speckle_has_the_looks_it_should() -> None:
    power = 10 ** (scan(stream(2, "s"), flat(200), Radar(looks=3.0, margin=0.0)) / 10)
    for band in power:
        assert band.var() / band.mean() ** 2 == pytest.approx(1 / 3, rel=0.05)


def test_a_wall_throws_radar_shadow_away_and_leans_towards_the_sensor() -> None:
    world = flat(64)
    world.height[:, 30] = 8.0
    world.cover[:, 30] = BUILDING
    radar = Radar(looks=500.0, incidence=(45.0, 45.0), margin=0.0)
    vv = scan(stream(2, "w"), world, radar)[0].mean(0)
    # At 45 degrees both are as long as the wall is high: answers from column 22, darkness in 31 to 37.
    plain = np.median(vv[:15])
    assert vv[22] > plain + 3
    assert (vv[31:37] < plain - 6).all()
    assert abs(vv[45] - plain) < 1


def test_a_swath_margin_is_nodata_in_both_bands() -> None:
    image = scan(stream(5, "m"), flat(64), Radar(margin=1.0))
    missing = image[0] == sensors.SAR_NODATA
    assert 0 < missing.mean() < 0.6
    assert ((image[1] == sensors.SAR_NODATA) == missing).all()
    assert (scan(stream(5, "m"), flat(64), Radar(margin=0.0)) != sensors.SAR_NODATA).all()


def test_cloud_shadows_are_the_clouds_moved_away_from_the_sun() -> None:
    weather = clouds.Weather(base=(100.0, 100.0), cover=(0.0, 0.0))
    sky = clouds.draw_sky(stream(4, "c"), 96, 10.0, Sun(np.deg2rad(180), np.deg2rad(45)), weather)
    # 100 m of height at 45 degrees is 100 m, 10 pixels, to the north.
    assert sky.shade[:-10].tolist() == sky.opacity[10:].tolist()
    assert set(np.unique(sky.label)) == {clouds.CLEAR, clouds.SHADOW, clouds.THIN, clouds.THICK}
    assert sky.opacity[sky.label == clouds.THICK].min() >= weather.thick_from
    assert sky.opacity[sky.label <= clouds.SHADOW].max() < weather.thin_from
    assert sky.shade[sky.label == clouds.CLEAR].max() < weather.shadow_from


def test_grass_gets_greener_level_by_level() -> None:
    levels, indices = zip(*(_ndvi(index) for index in range(12)), strict=True)
    level, ndvi = np.concatenate(levels), np.concatenate(indices)
    means = [ndvi[level == step].mean() for step in range(5)]
    assert means == sorted(means)
    assert np.bincount(level, minlength=5).min() > 0.08 * level.size


def _ndvi(index: int) -> tuple[np.ndarray, np.ndarray]:
    level, image = draw_meadow(stream(6, "g", index), 64, 10.0, Meadow())
    return level.ravel(), ((image[3] - image[2]) / (image[3] + image[2])).ravel()
