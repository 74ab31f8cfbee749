"""Scenes divided from west to east: bins of equal number, folds that go round, and ground between the splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tile_sources import Source, make_task

from georelay.errors import UserError
from georelay.tiles.read import TileStore
from georelay.tiles.split import TEST, TRAIN, VAL, by_draw, keep_apart
from georelay.tiles.windows import Places

SIDE, BUFFER = 450.0, 450.0


def rule(fold: int = 0, bins: int = 5) -> SimpleNamespace:
    return SimpleNamespace(rule="eastings", bins=bins, fold=fold, buffer=BUFFER)


def collects(strips: int, each: int, width: float = 12_000.0) -> tuple[Places, np.ndarray]:
    """Scenes of strips that lie over each other, and their footprints."""
    rng = np.random.default_rng(0)
    left = np.sort(rng.uniform(0, width, (strips, each)), axis=1).ravel()
    bottom = rng.uniform(0, 9_000, strips * each)
    zeros = np.zeros(len(left), np.int32)
    boxes = np.stack([left, bottom, left + SIDE, bottom + SIDE], axis=1)
    return Places(np.arange(len(left), dtype=np.int32), zeros, zeros), boxes


def assigned(places: Places, boxes: np.ndarray, split: Any, region: np.ndarray | None = None) -> np.ndarray:
    names = [f"s{number}" for number in range(len(places))]
    return by_draw(places, boxes, np.zeros(len(places), int) if region is None else region, names, split)


@pytest.mark.parametrize("fold", range(5))
def test_no_footprints_of_two_splits_intersect_or_come_close(fold: int) -> None:
    places, boxes = collects(60, 30)
    codes = assigned(places, boxes, rule(fold))
    keep = keep_apart(codes, boxes, BUFFER)
    codes, boxes = codes[keep], boxes[keep]
    assert set(codes) == {TRAIN, VAL, TEST}
    for one, other in ((TEST, VAL), (TEST, TRAIN), (VAL, TRAIN)):
        a, b = boxes[codes == one][:, None], boxes[codes == other][None]
        gap = np.maximum(np.maximum(a[..., :2] - b[..., 2:], b[..., :2] - a[..., 2:]), 0)
        assert np.hypot(gap[..., 0], gap[..., 1]).min() >= BUFFER - 1e-6
    assert keep.mean() > 0.6


def test_bins_hold_as_many_and_stand_from_west_to_east() -> None:
    places, boxes = collects(20, 50)
    codes = assigned(places, boxes, rule())
    assert np.bincount(codes).tolist() == [600, 200, 200]
    assert boxes[codes == TRAIN, 0].max() < boxes[codes == VAL, 0].min()
    assert boxes[codes == VAL, 0].max() < boxes[codes == TEST, 0].min()


def test_every_scene_is_tested_in_one_fold_and_validates_in_another() -> None:
    places, boxes = collects(20, 50)
    codes = np.stack([assigned(places, boxes, rule(fold)) for fold in range(5)])
    assert ((codes == TEST).sum(0) == 1).all() and ((codes == VAL).sum(0) == 1).all()
    assert np.array_equal(codes[1] == TEST, codes[0] == VAL)


def test_what_was_seen_several_times_is_in_one_bin() -> None:
    places, boxes = collects(1, 40)
    again = Places(*(np.concatenate([part] * 3) for part in (np.arange(40), places.row, places.col)))
    again = Places(np.arange(120), again.row, again.col)
    codes = assigned(again, np.concatenate([boxes] * 3), rule()).reshape(3, 40)
    assert (codes == codes[0]).all()


def test_tiles_go_with_the_centre_of_their_scene_and_domains_by_themselves() -> None:
    scene = np.repeat(np.arange(10), 2)
    left = np.repeat(np.arange(10) * 100.0, 2) + np.tile([0.0, 90.0], 10)
    boxes = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=1)
    places = Places(scene, scene * 0, scene * 0)
    assert assigned(places, boxes, rule()).reshape(10, 2).tolist() == [[0, 0]] * 6 + [[1, 1]] * 2 + [[2, 2]] * 2
    region = np.repeat([0, 1], 10)
    assert assigned(places, boxes, rule(), region)[::2].tolist() == [0, 0, 0, 1, 2] * 2


def test_from_rasters_to_splits(source: Source, tile: Callable[..., tuple[Path, dict[str, Any]]]) -> None:
    pixel = SIDE / 16
    for index in range(40):
        place = (pixel, 0.0, 500000.0 + 300 * index, 0.0, -pixel, 4000000.0 + 7 * index)
        source.add(f"scene-{index:02d}", "train", size=(16, 16), transform=place)
    split = SimpleNamespace(**vars(make_task().split) | vars(rule()))
    path, card = tile(source, make_task(split=split))
    store = TileStore(path)
    left, codes = store.coordinate("transform")[:, 2], store.coordinate("split")
    assert sorted(codes.tolist()) == codes.tolist()  # from west to east
    for one, other in ((TRAIN, VAL), (VAL, TEST)):
        assert left[codes == other].min() - left[codes == one].max() - SIDE >= BUFFER
    assert card["dropped"]["buffer"] == {"train": 2, "val": 2, "test": 0}
    assert set(card["tested"]["scenes"]) == {f"scene-{index}" for index in range(32, 40)}


def test_without_a_place_there_is_no_easting(tmp_path: Path, tile: Callable[..., Any]) -> None:
    source = Source(tmp_path / "nowhere", crs=None)
    source.add("a", "train")
    split = SimpleNamespace(**vars(make_task().split) | vars(rule()))
    with pytest.raises(UserError, match="scenes without a CRS have no easting"):
        tile(source, make_task(split=split))
