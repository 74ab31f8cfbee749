"""The corpus of the embedded teachers: its layers are what they claim, and no task has anything of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from georelay.sources.receipt import SPLITS
from georelay.sources.synthetic.corpus import BORDER, DRY, LAYER_SCALE, LAYERS, _border
from georelay.sources.synthetic.noise import stream
from georelay.sources.synthetic.scenes import GAP, SCENERIES, draw_scene, scene_transform
from georelay.sources.synthetic.sensors import BANDS
from georelay.sources.synthetic.world import BUILDING, ROAD, WATER, World, draw_world

SEED, SIZE, GSD = 11, 96, 2.0
KINDS = [place.name for place in SCENERIES["corpus"].domains]
BUILT = [name for name in KINDS if name != "meadow"]
FAR = 100_000.0  # metres: nothing that is smooth in a task reaches so far


@lru_cache
def lesson(kind: str, index: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The image in reflectance, and its layers in their own units by name."""
    images, _ = draw_scene("corpus", SEED, kind, "train", index, SIZE, GSD)
    return images["optical"] * 1e-4, dict(zip(LAYERS, images["layers"] * LAYER_SCALE, strict=True))


@lru_cache
def world(kind: str, index: int = 0) -> World:
    """The land behind a lesson: what its random numbers draw first."""
    place = next(place for place in SCENERIES["corpus"].domains if place.name == kind)
    assert place.land is not None and place.land.layout is not None
    rng = stream(SEED, "corpus", kind, "train", index, "lesson")
    return draw_world(rng, SIZE, GSD * place.coarser, place.land.layout)


@pytest.mark.parametrize("kind", KINDS)
def test_greenness_is_the_usual_index_of_the_ground(kind: str) -> None:
    _, layers = lesson(kind)
    red, nir = layers["ground red"], layers["ground nir"]
    bright = red + nir > 0.05  # there one unit of the layers is less than 0.001 of the index
    assert bright.mean() > 0.5
    expected = (1 + (nir - red) / (nir + red)) / 2
    assert np.abs(layers["greenness"] - expected)[bright].max() < 2e-3
    assert layers["greenness"].min() >= 0 and layers["greenness"].max() <= 1


@pytest.mark.parametrize("kind", BUILT)
def test_borders_are_where_one_thing_ends_and_nowhere_else(kind: str) -> None:
    border, parcel = lesson(kind)[1]["border"], world(kind).parcel
    changes = np.zeros(parcel.shape, bool)
    changes[:, 1:] |= parcel[:, 1:] != parcel[:, :-1]
    changes[1:] |= parcel[1:] != parcel[:-1]
    reach = int(4 * BORDER + 0.5)  # where scipy cuts the blur off
    near = binary_dilation(changes, np.ones((3, 3)), iterations=reach)
    assert (border[~near] == 0).all()
    assert border[changes].min() >= 0.06, "a border of one pixel alone keeps 1 / (2 pi 1.5^2)"
    assert border[changes].mean() > border[~changes].mean() and border.max() <= 1


def test_a_straight_border_has_the_profile_of_its_blur() -> None:
    """One line of ones, blurred: exp(-d^2 / 2 s^2) / (s sqrt(2 pi)), 0.27 on the line itself."""
    parcel = np.zeros((9, 41), np.int32)
    parcel[:, 20:] = 7
    profile = np.exp(-((np.arange(41) - 20) ** 2) / (2 * BORDER**2)) / (BORDER * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(_border(parcel), np.tile(profile, (9, 1)), atol=1e-3)


@pytest.mark.parametrize("kind", BUILT)
def test_wetness_is_that_of_the_land(kind: str) -> None:
    wetness, cover = lesson(kind)[1]["wetness"], world(kind).cover
    assert np.abs(wetness - world(kind).wetness).max() <= LAYER_SCALE
    assert (wetness[cover == WATER] == 1).all()


def test_light_is_low_in_cast_shadow_and_about_one_in_the_open() -> None:
    for kind in ("country", "old-town", "new-town"):
        light, cover = lesson(kind)[1]["light"], world(kind).cover
        assert light.min() < 0.1 and 0.8 < np.median(light[cover == ROAD]) < 1.2
        assert light.max() <= 1.5 and 0.3 < light[cover == BUILDING].mean() < 1.5


def test_clouds_darken_the_region_and_no_other_land() -> None:
    """In the open of cloudless land most pixels are fully lit; under clouds few are."""
    open_land = [lesson(kind, index)[1]["light"] for kind in ("country", "new-town") for index in range(4)]
    region = [lesson("region", index)[1]["light"] for index in range(4)]
    assert min(np.median(light) for light in open_land) > 0.8
    assert min(np.quantile(light, 0.1) for light in region) < 0.7
    assert np.mean([np.median(light) for light in region]) < np.mean([np.median(light) for light in open_land])


def test_the_layers_that_a_meadow_lacks_are_constant() -> None:
    for index in range(3):
        _, layers = lesson("meadow", index)
        constants = {name: np.unique(layers[name]).tolist() for name in ("light", "wetness", "border")}
        assert constants == {"light": [pytest.approx(1)], "wetness": [pytest.approx(DRY)], "border": [0]}
        assert all(layers[f"ground {band}"].std() > 1e-3 for band in BANDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_is_the_ground_behind_light_and_air(kind: str) -> None:
    """Not the layer itself, and yet of it: fully lit ground comes through each band, but for clouds."""
    image, layers = lesson(kind)
    lit = (layers["light"] > 0.9) & (layers["light"] < 1.1)
    for band, seen in zip(BANDS, image, strict=True):
        ground = layers[f"ground {band}"]
        assert np.abs(seen - ground).max() > 1e-3
        if kind != "region":
            assert np.corrcoef(seen[lit], ground[lit])[0, 1] > 0.5, band


def test_labels_say_which_land_it_is() -> None:
    for code, kind in enumerate(KINDS):
        images, label = draw_scene("corpus", SEED, kind, "test", 1, 32, GSD)
        assert (label == code).all() and SCENERIES["corpus"].classes[code][0] == kind
        assert images["layers"].dtype == np.uint16 and images["layers"].shape == (len(LAYERS), 32, 32)


def test_the_same_scene_has_the_same_bytes_and_others_differ() -> None:
    def content(seed: int, kind: str, split: str, index: int) -> bytes:
        images, label = draw_scene("corpus", seed, kind, split, index, 32, GSD)
        return images["optical"].tobytes() + images["layers"].tobytes() + label.tobytes()

    keys = [(seed, kind, split, index) for seed in (1, 2) for kind in KINDS for split in ("train", "test") for index in (0, 1)]
    drawn = {key: content(*key) for key in keys}
    assert len(set(drawn.values())) == len(keys)
    assert all(content(*key) == drawn[key] for key in reversed(keys))


# Drawn by the code from before there was a corpus: means of the quarters of each band, and pixels of each class.
BEFORE = {
    ("clouds", 101, 10.0): (
        [
            [[2103.169, 2636.179], [2517.48, 1185.052]],
            [[2075.85, 2658.475], [2544.086, 1429.371]],
            [[1870.848, 2582.556], [2368.779, 1472.439]],
            [[2889.959, 3178.1], [3484.131, 2450.12]],
        ],
        [1646, 256, 1325, 869],
    ),
    ("landcover", 103, 1.0): (
        [
            [[371.391, 522.87], [385.546, 408.825]],
            [[412.985, 696.043], [471.893, 528.776]],
            [[301.39, 729.466], [395.508, 481.45]],
            [[298.195, 1426.948], [996.011, 1354.271]],
        ],
        [145, 208, 870, 195, 2678],
    ),
}


@pytest.mark.parametrize("key", list(BEFORE))
def test_scenes_of_tasks_are_what_they_were_without_a_corpus(key: tuple[str, int, float]) -> None:
    """Means and not digests: another processor may round a few pixels the other way."""
    name, seed, gsd = key
    quarters, classes = BEFORE[key]
    images, label = draw_scene(name, seed, "main", "train", 3, 64, gsd)
    found = images["optical"].reshape(4, 2, 32, 2, 32).mean((2, 4))
    np.testing.assert_allclose(found, quarters, atol=0.1)
    assert np.abs(np.bincount(label.ravel(), minlength=len(classes)) - classes).max() <= 2


def footprints(name: str) -> list[tuple[str, np.ndarray]]:
    """Left, bottom, right, top of 40 scenes a split and place, with a name of the place."""
    boxes, gsd = [], 10.0 if name in ("clouds", "grass") else 1.0
    for place in SCENERIES[name].domains:
        for split in SPLITS:
            for index in range(40):
                pixel, _, left, _, _, top = scene_transform(place, split, index, 256, gsd)
                boxes.append((place.name, np.array([left, top - 256 * pixel, left + 256 * pixel, top])))
    return boxes


def apart(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance along the farther axis between each two boxes."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    distance: np.ndarray = (low - high).max(-1)
    return distance


def test_the_corpus_lies_far_from_every_task() -> None:
    corpus = np.array([box for _, box in footprints("corpus")])
    for name in set(SCENERIES) - {"corpus"}:
        assert apart(corpus, np.array([box for _, box in footprints(name)])).min() > FAR, name


def test_its_lands_lie_far_from_each_other_and_its_scenes_keep_their_distance() -> None:
    names, boxes = zip(*footprints("corpus"), strict=True)
    distance = apart(np.array(boxes), np.array(boxes))
    same = np.array(names)[:, None] == np.array(names)[None]
    assert distance[~same].min() > FAR
    np.fill_diagonal(distance, np.inf)
    assert distance.min() >= GAP
