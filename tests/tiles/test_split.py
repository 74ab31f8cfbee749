"""Splits keep their distance, ranks are balanced and nested; checked against brute force and by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from georelay.geo.grid import Grid
from georelay.geo.raster import metres_per_unit
from georelay.tiles.split import (
    TEST,
    TRAIN,
    VAL,
    apart,
    by_blocks,
    by_draw,
    extents,
    footprints,
    keep_apart,
    label_ranks,
    ranked_lists,
    split_lists,
    too_close,
    transforms,
)
from georelay.tiles.windows import Places


def squares(*corners: tuple[float, float], side: float = 10.0) -> np.ndarray:
    return np.array([(x, y, x + side, y + side) for x, y in corners], float)


def brute_force(boxes: np.ndarray, others: np.ndarray, buffer: float) -> list[bool]:
    """Sample-free definition: the distance between two rectangles, pair by pair."""
    close = []
    for left, bottom, right, top in boxes:
        near = False
        for l2, b2, r2, t2 in others:
            dx, dy = max(l2 - right, left - r2, 0.0), max(b2 - top, bottom - t2, 0.0)
            overlap = min(right, r2) > max(left, l2) and min(top, t2) > max(bottom, b2)
            near |= bool((dx**2 + dy**2) ** 0.5 < buffer or overlap)
        close.append(near)
    return close


def test_distances_by_hand() -> None:
    test = squares((0, 0))
    boxes = squares((10, 0), (14, 0), (15, 0), (13, 14), (14, 14), (0, -14.9), (5, 5))
    # gaps: 0, 4, 5, hypot(3,4)=5, hypot(4,4)=5.66, 4.9, overlapping
    assert too_close(boxes, test, 5.0).tolist() == [True, True, False, False, False, True, True]
    assert too_close(boxes, test, 0.0).tolist() == [False] * 6 + [True]


@pytest.mark.parametrize("buffer", [0.0, 3.0, 25.0])
def test_against_brute_force(buffer: float) -> None:
    rng = np.random.default_rng(7)
    boxes = squares(*rng.uniform(-200, 200, (150, 2)), side=10.0)
    others = squares(*rng.uniform(-200, 200, (60, 2)), side=17.0)
    expected = brute_force(boxes, others, buffer)
    assert too_close(boxes, others, buffer).tolist() == expected and 0 < sum(expected) < 150


def test_nothing_is_close_to_nothing() -> None:
    assert too_close(np.zeros((0, 4)), squares((0, 0)), 1.0).shape == (0,)
    assert not too_close(squares((0, 0)), np.zeros((0, 4)), 1.0).any()


def test_train_gives_way_to_val_and_both_to_test() -> None:
    boxes = squares((0, 0), (10, 0), (20, 0), (30, 0), (40, 0))
    split = np.array([TEST, VAL, VAL, TRAIN, TRAIN], np.uint8)
    # Buffer 5: the first val touches test and goes; the second is 10 away and stays; the train beside it goes.
    assert keep_apart(split, boxes, 5.0).tolist() == [True, False, True, False, True]


def test_a_dropped_val_tile_protects_nothing() -> None:
    boxes = squares((0, 0), (10, 0), (20, 0))
    split = np.array([TEST, VAL, TRAIN], np.uint8)
    assert keep_apart(split, boxes, 5.0).tolist() == [True, False, True]


def test_footprints_of_a_turned_raster() -> None:
    turned = Grid(100, 100, (0.0, 2.0, 50.0, 2.0, 0.0, 70.0), None, 1, "uint8", None)  # rows run east, columns north
    places = Places(np.array([0], np.int32), np.array([3], np.int32), np.array([5], np.int32))
    affine = transforms(places, [turned])
    assert affine.tolist() == [[0.0, 2.0, 56.0, 2.0, 0.0, 80.0]]
    assert footprints(affine, *extents(places, [turned], 4)).tolist() == [[56.0, 80.0, 64.0, 88.0]]
    low = Grid(5, 100, turned.transform, None, 1, "uint8", None)  # two rows are left, which run east: it is 4 wide
    assert footprints(affine, *extents(places, [low], 4)).tolist() == [[56.0, 80.0, 60.0, 88.0]]


def test_scenes_without_a_place_are_strangers() -> None:
    boxes = squares((0, 0), (0, 0), (90, 0))
    moved = apart(boxes, np.array([0, 1, 1]), 30.0)
    assert too_close(moved[:1], moved[1:], 30.0).tolist() == [False]
    assert (moved[2] - moved[1]).tolist() == [90.0, 0.0, 90.0, 0.0]


def blocks_task(**changes: object) -> SimpleNamespace:
    fractions = SimpleNamespace(train=0.6, val=0.2, test=0.2)
    return SimpleNamespace(**{"block": 40.0, "fractions": fractions, "seed": 3, **changes})


def test_blocks_of_ground_share_a_split() -> None:
    boxes = squares(*[(10.0 * x, 10.0 * y) for y in range(20) for x in range(20)])  # 5 x 5 blocks of 16 tiles
    codes = by_blocks(boxes, np.zeros(400, int), blocks_task())
    grid = codes.reshape(5, 4, 5, 4)
    assert (grid == grid[:, :1, :, :1]).all()
    assert np.bincount(grid[:, 0, :, 0].ravel()).tolist() == [15, 5, 5]
    assert (by_blocks(boxes, np.zeros(400, int), blocks_task()) == codes).all()
    assert (by_blocks(boxes, np.zeros(400, int), blocks_task(seed=4)) != codes).any()


def test_every_region_gets_its_shares() -> None:
    boxes = squares(*[(40.0 * x, 0.0) for x in range(20)])
    region = np.repeat([0, 1], 10)
    codes = by_blocks(boxes, region, blocks_task())
    assert all(np.bincount(codes[region == r]).tolist() == [6, 2, 2] for r in (0, 1))


def drawn(rule: str, places: Places, region: np.ndarray | None = None, **changes: object) -> np.ndarray:
    names = [f"s{number}" for number in range(int(places.scene.max()) + 1)]
    region = np.zeros(len(places), int) if region is None else region
    return by_draw(places, np.zeros((len(places), 4)), region, names, blocks_task(rule=rule, **changes))


def test_scenes_are_drawn_whole() -> None:
    codes = drawn("scenes", many_places(20, 6)).reshape(20, 6)
    assert (codes == codes[:, :1]).all() and np.bincount(codes[:, 0]).tolist() == [12, 4, 4]
    assert (drawn("scenes", many_places(20, 6), seed=4) != codes.ravel()).any()


@pytest.mark.parametrize(
    ("tiles", "counts"),
    [(5472, [3283, 1094, 1095]), (20075, [12045, 4015, 4015])],  # the published lists of Potsdam and DeepGlobe
)
def test_tiles_are_drawn_one_by_one_and_counted_as_in_published_lists(tiles: int, counts: list[int]) -> None:
    codes = drawn("tiles", many_places(1, tiles))
    assert np.bincount(codes).tolist() == counts
    assert (drawn("tiles", many_places(1, tiles), seed=4) != codes).any()


@pytest.mark.parametrize("rule", ["scenes", "tiles"])
def test_every_region_is_drawn_by_itself(rule: str) -> None:
    places, region = many_places(15, 4), np.repeat([0, 1], [40, 20])
    codes = drawn(rule, places, region)
    assert [np.bincount(codes[region == r]).tolist() for r in (0, 1)] == [[24, 8, 8], [12, 4, 4]]
    assert (codes[:40] == drawn(rule, places.chosen(np.arange(40)))).all()


@pytest.mark.parametrize(("rule", "count"), [("scenes", 7), ("scenes", 8), ("scenes", 9), ("tiles", 8), ("tiles", 9)])
def test_halves_leave_nothing_to_train(rule: str, count: int) -> None:
    halves = SimpleNamespace(train=0.0, val=0.5, test=0.5)
    codes = drawn(rule, many_places(count, 1), fractions=halves)
    assert sorted(np.bincount(codes, minlength=3).tolist()) == [0, count // 2, count - count // 2] and (codes != TRAIN).all()


def many_places(scenes: int, each: int) -> Places:
    count = scenes * each
    scene = np.repeat(np.arange(scenes), each).astype(np.int32)
    return Places(scene, np.arange(count).astype(np.int32), np.zeros(count, np.int32))


def test_ranks_visit_all_scenes_before_one_comes_again() -> None:
    places = many_places(8, 16)
    rank = label_ranks(places, [f"s{i}" for i in range(8)], np.zeros(128, int), np.ones(128, bool))
    assert sorted(rank) == list(range(128))
    by_rank = places.scene[np.argsort(rank)].reshape(16, 8)
    assert all(sorted(turn) == list(range(8)) for turn in by_rank)
    assert len({tuple(turn) for turn in by_rank}) > 1  # the order of scenes is drawn anew each turn


def test_ranks_leave_out_what_is_not_eligible() -> None:
    places, eligible = many_places(4, 4), np.arange(16) % 3 > 0
    rank = label_ranks(places, list("abcd"), np.zeros(16, int), eligible)
    assert (rank[~eligible] == -1).all() and sorted(rank[eligible]) == list(range(eligible.sum()))


def test_each_domain_has_its_own_ranks() -> None:
    domain = np.repeat([0, 1], 8)
    rank = label_ranks(many_places(4, 4), list("abcd"), domain, np.ones(16, bool))
    assert sorted(rank[:8]) == sorted(rank[8:]) == list(range(8))


def test_adding_a_scene_keeps_the_order_within_others() -> None:
    few, more = many_places(3, 5), many_places(4, 5)
    first = label_ranks(few, list("abc"), np.zeros(15, int), np.ones(15, bool))
    second = label_ranks(more, list("abcd"), np.zeros(20, int), np.ones(20, bool))[:15]
    for scene in range(3):
        mine = few.scene == scene
        assert (np.argsort(first[mine]) == np.argsort(second[mine])).all()


def test_lists_say_where_tiles_are() -> None:
    split = np.array([TRAIN, TRAIN, TEST, TEST], np.uint8)
    lists = split_lists(split, many_places(2, 2), ["a", "b"])
    moved = split_lists(split, many_places(2, 2), ["a", "c"])
    assert [lists[s]["tiles"] for s in ("train", "val", "test")] == [[0, 1], [], [2, 3]]
    assert lists["train"]["digest"] == moved["train"]["digest"] and lists["test"]["digest"] != moved["test"]["digest"]


def test_ranked_lists_are_the_order_of_labels_domain_by_domain() -> None:
    rank, domain = np.array([1, -1, 0, 0, 1, -1]), np.array([0, 0, 0, 1, 1, 1])
    lists = ranked_lists(rank, domain, ["land", "town", "sea"], many_places(2, 3), ["a", "b"])
    assert [lists[name]["tiles"] for name in ("land", "town", "sea")] == [[2, 0], [3, 4], []]
    assert [lists[name]["count"] for name in ("land", "town", "sea")] == [2, 2, 0]
    other = ranked_lists(np.array([0, -1, 1, 0, 1, -1]), domain, ["land", "town"], many_places(2, 3), ["a", "b"])
    assert lists["land"]["digest"] != other["land"]["digest"] and lists["town"]["digest"] == other["town"]["digest"]


def test_degrees_shrink_towards_the_pole() -> None:
    x, y = metres_per_unit("EPSG:4326", 60.0)
    assert x == pytest.approx(y / 2) and y == pytest.approx(111_320)
    assert metres_per_unit("EPSG:32631", 60.0) == (1.0, 1.0)
    assert metres_per_unit("EPSG:2263", 40.0)[0] == pytest.approx(0.3048006, rel=1e-6)  # US survey feet
    assert metres_per_unit(None, 0.0) == (1.0, 1.0)
    assert metres_per_unit('LOCAL_CS["a frame of its own",UNIT["kilometre",1000]]', 60.0) == (1000.0, 1000.0)
