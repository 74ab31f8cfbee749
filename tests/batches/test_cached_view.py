"""Stored maps of a teacher stand for the teacher: what it would say of the changed image, the changed map says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from georelay.batches import streams
from georelay.batches.cutmix import draw_cutmix
from georelay.batches.geometry import Geometry, draw_geometry
from georelay.batches.streams import Batch, open_stream, open_tiles
from georelay.errors import UserError
from invented import AUGMENT, InventedStore, make_plan

CELLS = (4, 8, 16)  # pixels a cell, one tap each
SIDE, BANDS, GRID = 64, 4, max(CELLS)
EXACT = 1e-6
OFF = {"flip": False, "turn": False}
COLOUR = {"gain": 0.2, "offset": 0.2, "noise": 0.3}


def teacher(image: Tensor) -> tuple[Tensor, ...]:
    """Looks at one cell at a time, and not linearly: nothing but its cells ties it to a place.

    Sums in float64, so that a mirrored cell, added up in another order, has the same mean to all of float32's digits.
    """
    mix = torch.linspace(-1, 1, 6 * BANDS, dtype=torch.float64).sin().view(6, BANDS, 1, 1)
    return tuple(torch.tanh(F.conv2d(F.avg_pool2d(image.double(), cell), mix)).float() for cell in CELLS)


def noise(batch: int) -> Tensor:
    """Images without any likeness between neighbours: the least that is misplaced shows."""
    return torch.randn(batch, BANDS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


class StoredMaps:
    """What a feature store answers, from memory; remembers how many tiles were asked for at a time."""

    def __init__(self, maps: Sequence[Tensor], span: int = SIDE) -> None:
        self.maps, self.asked = maps, list[int]()
        self.taps = [{"tap": place, "cells": map_.shape[-1], "span": span} for place, map_ in enumerate(maps)]

    def read(self, ids: np.ndarray) -> list[Tensor]:
        self.asked.append(len(ids))
        return [map_[torch.from_numpy(ids)] for map_ in self.maps]


def taught(store: InventedStore) -> StoredMaps:
    """The teacher's answers to every tile of a store."""
    ids = np.arange(len(store.arrays["label"]))
    return StoredMaps(teacher(open_tiles(store, make_plan(), ids).whole(ids).image))


def batch_of(augment: Mapping[str, Any], step: int = 0, rank: int = 0, world: int = 1) -> Batch:
    store = InventedStore(tiles=24, side=SIDE)
    return open_stream(store, make_plan(augment=augment), "labelled", 0, {"oracle": taught(store)}).batch(step, rank, world)


def distance(maps: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference between two teachers' answers of the same shapes."""
    assert [map_.shape for map_ in maps] == [other.shape for other in expected]
    return max(float((map_ - other).abs().max()) for map_, other in zip(maps, expected, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    flip=st.booleans(),
    turn=st.integers(0, 3),
    crop=st.sampled_from([16, 32, 48, 64]),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_teacher_of_the_changed_image_is_the_changed_map(flip: bool, turn: int, crop: int, corner: tuple[float, float]) -> None:
    top, left = (np.full(2, np.floor(share * (SIDE - crop) / GRID) * GRID) for share in corner)
    geometry = Geometry(SIDE, crop, top, left, np.full(2, float(crop)), np.full(2, flip), np.full(2, turn))
    image = noise(2)
    assert distance([geometry.apply(map_) for map_ in teacher(image)], teacher(geometry.apply(image))) <= EXACT


@pytest.mark.parametrize(
    "augment",
    [OFF, OFF | {"flip": True}, OFF | {"turn": True}, OFF | {"crop": 32}, {"crop": 48}],
    ids=["nothing", "flip", "turn", "crop", "all"],
)
def test_a_stream_s_maps_are_those_of_its_images(augment: dict[str, Any]) -> None:
    for step in range(3):
        batch = batch_of(augment, step)
        assert distance(batch.features["oracle"], teacher(batch.image)) <= EXACT


def test_stored_maps_show_the_view_before_colour_changes() -> None:
    clean, coloured = batch_of({"crop": 32}), batch_of({"crop": 32} | COLOUR)
    assert (coloured.image - clean.image).abs().mean() > 0.1
    assert distance(coloured.features["oracle"], teacher(clean.image)) <= EXACT
    assert all(map(torch.equal, coloured.features["oracle"], clean.features["oracle"]))


def test_cutmix_on_maps_is_cutmix_on_images() -> None:
    image = noise(32)
    mix = draw_cutmix(np.random.default_rng(0), 32, SIDE, 0.8, (0.1, 0.5), (0.3, 3.0), grid=GRID)
    assert distance([mix.apply(map_) for map_ in teacher(image)], teacher(mix.apply(image))) <= EXACT


def test_all_together() -> None:
    changes = {"crop": 48}
    clean, coloured = batch_of(changes), batch_of(changes | COLOUR)
    mix = draw_cutmix(np.random.default_rng(1), 8, 48, 0.8, (0.1, 0.5), (0.3, 3.0), grid=GRID)
    assert (mix.boxes[:, 1] > 0).any()
    assert distance([mix.apply(map_) for map_ in coloured.features["oracle"]], teacher(mix.apply(clean.image))) <= EXACT


def ripples(batch: int) -> Tensor:
    """Plane waves of every direction, 64 pixels long: as smooth, at cells of 16 pixels, as maps of real teachers."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    angle, phase = rng.uniform(0, 2 * np.pi, (2, batch, BANDS, 1, 1))
    return torch.from_numpy(np.sin((y * np.sin(angle) + x * np.cos(angle)) * 2 * np.pi / 64 + phase)).float()


@pytest.mark.parametrize(("place", "bound"), enumerate([0.03, 0.09, 0.25]))
def test_free_scaling_is_an_approximation_of_known_quality(place: int, bound: float) -> None:
    """Scaled by 0.7 to 1.5, smooth maps are off by 2, 7 and 21 % of their spread with cells of 4, 8 and 16 pixels."""
    augment = AUGMENT | {"crop": 32, "scale": [0.7, 1.5]}
    image, geometry = ripples(64), draw_geometry(np.random.default_rng(0), 64, SIDE, augment, GRID)
    cached, truth = geometry.apply(teacher(image)[place]), teacher(geometry.apply(image))[place]
    error = float((cached - truth).square().mean().sqrt() / truth.std())
    assert error < bound


@pytest.mark.parametrize("crop", [20, 40])
def test_a_crop_that_does_not_fit_the_teacher_s_grid_is_refused(crop: int) -> None:
    with pytest.raises(UserError, match=f"crop {crop} must be a multiple of 16 and at most the tile, 64") as error:
        batch_of({"crop": crop})
    assert "teacher_view: online" in error.value.hint
    assert error.value.where == "augment.crop"


def test_cells_of_no_whole_pixels_do_not_bind_the_crop() -> None:
    store, maps = InventedStore(tiles=24, side=SIDE), StoredMaps([torch.rand(24, 2, 19, 19)])
    batch = open_stream(store, make_plan(augment={"crop": 20}), "labelled", 0, {"oracle": maps}).batch(0, 0, 1)
    assert batch.features["oracle"][0].shape == (8, 2, 6, 6)  # 20 / (64 / 19) = 5.9


@pytest.mark.parametrize("change", [{"flip": True}, {"turn": True}, {"crop": 32}, {"scale": [0.9, 1.0]}])
def test_a_padded_tile_must_not_be_moved(change: dict[str, Any]) -> None:
    store, maps = InventedStore(tiles=24, side=SIDE), StoredMaps([torch.rand(24, 2, 5, 5)], span=70)
    with pytest.raises(UserError, match="teacher padded saw a padded tile") as error:
        open_stream(store, make_plan(augment=OFF | change), "labelled", 0, {"padded": maps})
    assert error.value.hint == "use `fit: resize`, `teacher_view: online`, or switch augment.flip/turn/crop/scale off"
    still = open_stream(store, make_plan(augment=OFF | COLOUR | {"crop": SIDE}), "labelled", 0, {"padded": maps}).batch(0, 0, 1)
    assert torch.equal(still.features["padded"][0], maps.maps[0][still.index])


def test_few_maps_are_read_once_and_many_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = InventedStore(tiles=24, side=SIDE)
    kept, lazy = taught(store), taught(store)
    first = open_stream(store, make_plan(), "labelled", 0, {"oracle": kept})
    monkeypatch.setattr(streams, "PRELOADED_BYTES", 0)
    second = open_stream(store, make_plan(), "labelled", 0, {"oracle": lazy})
    for step in range(2):
        maps = [stream.batch(step, 0, 1).features["oracle"] for stream in (first, second)]
        assert all(map(torch.equal, *maps))
    assert (kept.asked, lazy.asked) == ([1, 12], [1, 8, 8])


def test_ranks_share_out_the_maps_of_one_process() -> None:
    changes = {"crop": 32, "scale": [0.9, 1.2]}
    shares = [batch_of(changes, 3, rank, 4).features["oracle"] for rank in range(4)]
    for place, whole in enumerate(batch_of(changes, 3).features["oracle"]):
        assert torch.equal(torch.cat([share[place] for share in shares]), whole)


def test_maps_go_where_the_batch_goes() -> None:
    batch = batch_of({"crop": 32})
    elsewhere = batch.to(torch.device("meta"), torch.channels_last)
    assert {map_.device.type for map_ in elsewhere.features["oracle"]} == {"meta"}
    parts = [part.features["oracle"] for part in batch.parts(2)]
    assert [map_.shape[0] for map_ in parts[1]] == [4] * 3
    assert all(torch.equal(torch.cat(pair), map_) for *pair, map_ in zip(*parts, batch.features["oracle"], strict=True))


def test_halves_reach_the_batch_as_halves() -> None:
    store = InventedStore(tiles=24, side=SIDE)
    halves = StoredMaps([map_.half() for map_ in taught(store).maps])
    batch = open_stream(store, make_plan(augment={"crop": 32}), "labelled", 0, {"oracle": halves}).batch(0, 0, 1)
    for map_, expected in zip(batch.features["oracle"], teacher(batch.image), strict=True):
        assert map_.dtype == torch.float16
        torch.testing.assert_close(map_.float(), expected, atol=1e-3, rtol=0)
