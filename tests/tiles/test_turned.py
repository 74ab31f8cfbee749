"""Tiles of one look are turned: all of a tile alike, still in its place on the ground, and the card says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tile_sources import Source, make_task

from georelay.errors import UserError
from georelay.tiles.read import TileStore

Tile = Callable[..., tuple[Path, dict[str, Any]]]


def with_looks(source: Source, looks: dict[str, int | None]) -> Source:
    source.scenes = [replace(scene, look=looks[scene.name]) for scene in source.scenes]
    return source


LOOKS = {"train-000": 1, "val-000": 0, "test-000": 1}


@pytest.mark.parametrize("edges", ["shift", "pad"])
def test_tiles_are_turned_with_all_that_is_in_them(three_scenes: Source, tile: Tile, edges: str) -> None:
    three_scenes.add("train-001", "train", size=(20, 36), at=(700000.0, 4000000.0))
    source = with_looks(three_scenes, LOOKS | {"train-001": 1})
    path, card = tile(source, make_task(align_look=True, edges=edges))
    assert card["turned"] == ["train-000", "test-000", "train-001"]
    store = TileStore(path)
    for place in range(len(store)):
        scene = source.scenes[store.coordinate("scene")[place]]
        row, col = store.coordinate("row")[place], store.coordinate("col")[place]
        back = scene.name in card["turned"]
        for name, pixels in source.pixels[scene.name].items():
            expected = pixels[..., row : row + 16, col : col + 16].squeeze()
            got = store.array(name)[place].squeeze()
            got = got[..., ::-1, ::-1] if back else got
            assert np.array_equal(got[..., : expected.shape[-2], : expected.shape[-1]], expected)
        # The stored transform puts the pixel (1, 2) of the tile where the scene's own transform puts it.
        a, b, c, d, e, f = store.coordinate("transform")[place]
        y, x = (15 - 1, 15 - 2) if back else (1, 2)
        left, top = {"train-001": (700000.0, 4000000.0)}.get(scene.name, (500000.0 + 10000 * (place_of(scene.name)), 4000000.0))
        assert (a * 2.5 + b * 1.5 + c, d * 2.5 + e * 1.5 + f) == (left + 10 * (col + x + 0.5), top - 10 * (row + y + 0.5))


def place_of(name: str) -> int:
    return ["train-000", "val-000", "test-000", "train-001"].index(name)


def test_without_it_nothing_is_said_of_looks(three_scenes: Source, tile: Tile) -> None:
    path, card = tile(three_scenes)
    before = path.read_bytes()
    path, with_card = tile(with_looks(three_scenes, LOOKS))
    assert path.read_bytes() == before and with_card == card and "turned" not in card


def test_splits_do_not_feel_the_turn(three_scenes: Source, tile: Tile) -> None:
    plain = tile(with_looks(three_scenes, LOOKS))[1]
    aligned = tile(three_scenes, make_task(align_look=True))[1]
    for key in ("splits", "labelled", "class_counts", "dropped", "modalities"):
        assert aligned[key] == plain[key]


def test_a_scene_of_unknown_look_is_refused(three_scenes: Source, tile: Tile) -> None:
    with pytest.raises(UserError, match="does not tell the look of scene val-000"):
        tile(with_looks(three_scenes, LOOKS | {"val-000": None}), make_task(align_look=True))
