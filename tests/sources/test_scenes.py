from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from georelay.errors import UserError
from georelay.sources.receipt import SPLITS
from georelay.sources.synthetic.noise import stream
from georelay.sources.synthetic.scenes import GAP, IGNORE, SCENERIES, draw_scene, find_scenery, scene_transform
from georelay.sources.synthetic.sensors import SAR_NODATA
from georelay.sources.synthetic.world import draw_world

KEYS = [
    (name, 5, place.name, split, index, 64, 4.0)
    for name, entry in SCENERIES.items()
    for place in entry.domains
    for split in ("train", "test")
    for index in (0, 1)
]


def content(key: tuple[str, int, str, str, int, int, float]) -> bytes:
    images, label = draw_scene(*key)
    return b"".join(images[name].tobytes() for name in sorted(images)) + label.tobytes()


def test_scenes_do_not_depend_on_order_or_threads_and_differ() -> None:
    alone = [content(key) for key in KEYS]
    shuffled = random.Random(0).sample(range(len(KEYS)), len(KEYS))
    with ThreadPoolExecutor(2) as pool:
        again = dict(zip(shuffled, pool.map(lambda index: content(KEYS[index]), shuffled), strict=True))
    assert [again[index] for index in range(len(KEYS))] == alone
    assert len(set(alone)) == len(alone)


def test_shapes_types_and_classes() -> None:
    for name, *rest in KEYS:
        images, label = draw_scene(name, *rest)
        entry = SCENERIES[name]
        assert (label.shape, label.dtype) == ((64, 64), np.uint8)
        assert set(np.unique(label)) <= {*range(len(entry.classes)), IGNORE}
        optical = images[entry.optical]
        bands = next(place.camera.bands for place in entry.domains if place.name == rest[1])
        assert (optical.shape, optical.dtype) == ((len(bands), 64, 64), np.uint16)
        assert optical.min() >= 1


def test_no_label_where_the_radar_saw_nothing() -> None:
    shares = []
    for index in range(12):
        images, label = draw_scene("allweather", 5, "main", "train", index, 64, 4.0)
        assert ((label == IGNORE) == (images["sar"][0] == SAR_NODATA)).all()
        shares.append((label == IGNORE).mean())
    assert 1 <= np.count_nonzero(shares) <= 9, "some scenes have a margin, most have none"


def footprints(name: str, size: int, gsd: float, count: int) -> list[tuple[float, float, float, float]]:
    found = []
    for place in SCENERIES[name].domains:
        for split in SPLITS:
            for index in range(count):
                pixel, _, left, _, _, top = scene_transform(place, split, index, size, gsd)
                found.append((left, top - size * pixel, left + size * pixel, top))
    return found


@pytest.mark.parametrize(("name", "size", "gsd"), [("crosscity", 256, 1.0), ("clouds", 256, 10.0), ("landcover", 1000, 0.33)])
def test_footprints_keep_their_distance(name: str, size: int, gsd: float) -> None:
    boxes = np.array(footprints(name, size, gsd, 40))
    apart_x = np.maximum(boxes[:, None, 0] - boxes[None, :, 2], boxes[None, :, 0] - boxes[:, None, 2])
    apart_y = np.maximum(boxes[:, None, 1] - boxes[None, :, 3], boxes[None, :, 1] - boxes[:, None, 3])
    apart = np.maximum(apart_x, apart_y)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= GAP


def test_more_scenes_move_no_other() -> None:
    place = SCENERIES["landcover"].domains[0]
    transforms = [scene_transform(place, "val", index, 256, 1.0) for index in range(40)]
    assert len(set(transforms)) == 40
    assert transforms[0] == (1.0, 0.0, 212_800.0, 0.0, -1.0, 5_500_000.0)  # 16 columns of 800 m belong to train
    assert transforms[17] == (1.0, 0.0, 213_600.0, 0.0, -1.0, 5_499_200.0)


@pytest.mark.parametrize(("name", "domain"), [("landcover", 0), ("crosscity", 0), ("crosscity", 1)])
def test_no_class_is_rare(name: str, domain: int) -> None:
    place = SCENERIES[name].domains[domain]
    covers = [draw_world(stream(9, name, index), 128, 2.0 * place.coarser, place.layout).cover for index in range(24)]
    shares = np.bincount(np.concatenate(covers).ravel(), minlength=7) / (24 * 128 * 128)
    assert shares.min() > 0.02


@pytest.mark.parametrize("name", ["clouds", "landcover", "crosscity", "allweather"])
def test_classes_are_told_apart_in_grey(name: str) -> None:
    colours = np.array([colour for _, colour in SCENERIES[name].classes])
    grey = np.sort(colours @ (0.299, 0.587, 0.114))
    assert np.diff(grey).min() > 20, f"greys of 256: {grey.round()}"


def test_cities_swap_one_band() -> None:
    source, target = (place.camera.bands for place in SCENERIES["crosscity"].domains)
    assert sum(a != b for a, b in zip(source, target, strict=True)) == 1


def test_an_unknown_scenery_is_named() -> None:
    with pytest.raises(UserError, match='unknown scenery "cloud"') as caught:
        find_scenery("cloud")
    assert 'did you mean "clouds"' in str(caught.value)
