"""Whole tiles resized, padded and cut: what is padded is no data, and all that is of one tile moves alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from georelay.batches.geometry import Geometry
from georelay.batches.modality import modality_of
from georelay.batches.rescale import Rescale, draw_move, draw_rescale
from georelay.batches.streams import Batch, open_stream
from georelay.errors import UserError
from invented import AUGMENT, InventedFeatures, InventedStore, make_plan

STILL = {"flip": False, "turn": False}
IMAGE = {"scaling": "image", "scale": [0.5, 2.0]}
LARGER = IMAGE | {"crop": 40}


def drawn(batch: int = 200, tile: int = 16, **changes: Any) -> Rescale:
    return draw_rescale(np.random.default_rng(0), batch, tile, AUGMENT | IMAGE | changes)


def one(
    long: int, side: int, tile: int = 4, top: int = 0, left: int = 0, flip: bool = False, turn: int = 0, by: str = "pillow"
) -> Rescale:
    return Rescale(tile, side, *(np.array([value]) for value in (long, top, left, flip, turn)), by=by)


def batch_of(step: int = 0, rank: int = 0, world: int = 1, views: int = 0, **changes: Any) -> Batch:
    stream = open_stream(InventedStore(), make_plan(augment=LARGER | changes), "unlabelled", 0, views=views)
    return stream.batch(step, rank, world)


def test_nothing_drawn_changes_nothing() -> None:
    maps = torch.rand(8, 3, 16, 16)
    assert torch.equal(drawn(batch=8, scale=[1.0, 1.0], **STILL).apply(maps), maps)
    still = STILL | {"scale": [1.0, 1.0], "crop": 0}
    resized, cut = (batch_of(scaling=rule, **still) for rule in ("image", "window"))
    assert torch.equal(resized.image, cut.image) and torch.equal(resized.label, cut.label) and cut.valid.all()


def test_sides_are_whole_numbers_from_least_to_most() -> None:
    geometry = drawn(batch=2000, tile=9, scale=[0.5, 1.5])
    assert set(geometry.long.tolist()) == set(range(4, 14))  # int(4.5) to int(13.5)
    assert set(drawn(tile=9, scale=[1.5, 0.5]).long.tolist()) == set(range(4, 14))


def test_smaller_tiles_are_padded_right_and_below() -> None:
    tile = torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    found = one(long=2, side=3).apply(tile, nearest=True)[0, 0].tolist()
    assert found == [[6, 8, 0], [14, 16, 0], [0, 0, 0]]  # pixel centres 1 and 3 of 4
    assert one(long=2, side=3, flip=True).apply(tile, nearest=True)[0, 0].tolist()[0] == [0, 8, 6]
    assert one(long=2, side=3, turn=1).apply(tile, nearest=True)[0, 0].tolist() == [[0, 0, 0], [8, 16, 0], [6, 14, 0]]


def test_larger_tiles_are_cut() -> None:
    plane = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 2, 8, 8)
    found = one(long=16, side=5, tile=8, top=2, left=4).apply(plane)
    assert found[0, 1, 0].tolist() == [1.75, 2.25, 2.75, 3.25, 3.75]  # (x + 4.5) / 2 - 0.5


def test_shrinking_averages() -> None:
    checks = torch.tensor([0.0, 1.0]).repeat(4).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    found = one(long=4, side=4, tile=8).apply(checks)[0, 0, 0]
    assert found[1:3].tolist() == [0.5, 0.5]  # a triangle of four pixels: 1, 3, 3, 1 eighths


def test_the_other_side_keeps_the_ratio() -> None:
    found = one(long=7, side=9, tile=6).apply(torch.ones(1, 1, 6, 5, dtype=torch.uint8))
    assert found.sum(dim=3)[0, 0].tolist() == [6] * 7 + [0] * 2  # 5 * 7 / 6 = 5.8


def test_sampling_takes_what_lies_there() -> None:
    """OpenCV's nearest neighbour of pixel x is floor(x / ratio), and between pixels it does not average what shrinks."""
    tile = torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    move = one(long=3, side=4, by="opencv")
    assert move.apply(tile, nearest=True)[0, 0].tolist() == [[1, 2, 3, 0], [5, 6, 7, 0], [9, 10, 11, 0], [0, 0, 0, 0]]
    row = torch.tensor([0.0, 0, 9, 0, 0, 9, 0, 0, 0]).view(1, 1, 1, 9).expand(1, 1, 9, 9)
    assert one(long=3, side=3, tile=9, by="opencv").apply(row)[0, 0, 0].tolist() == [0, 0, 0]  # pixels 1, 4 and 7
    assert one(long=3, side=3, tile=9).apply(row)[0, 0, 0].min() > 0
    bytes_ = torch.arange(40, dtype=torch.uint8).expand(1, 1, 40, 40)
    found = one(long=24, side=24, tile=40, by="opencv").apply(bytes_, nearest=True)[0, 0, 0]
    assert found.tolist() == [place * 5 // 3 for place in range(24)], "whole numbers, too, though 5 / 3 is none"
    found = one(long=52, side=52, tile=40, by="opencv").apply(bytes_, nearest=True)[0, 0, 0]
    assert found[38:41].tolist() == [29, 29, 30], "39 times one over (52 / 40) is 29.99..., as OpenCV has it"


def test_the_whole_tile_may_be_fitted_into_the_crop() -> None:
    for crop in (10, 24):
        geometry = drawn(scaling="fit", crop=crop)
        assert set(geometry.long.tolist()) == {crop} and not geometry.top.any() and not geometry.left.any()
        assert geometry.apply(torch.ones(200, 1, 16, 16)).all()
    batch = batch_of(scaling="fit", crop=40, **STILL)
    assert batch.image.shape[-2:] == (40, 40) and batch.valid.all()


def test_elsewhere_is_within_what_is_free() -> None:
    geometry = drawn(batch=4, crop=10)
    free = np.maximum(geometry.long - 10, 0)
    first, last = (geometry.elsewhere(np.full((2, 4), at), 1) for at in (0.0, 0.999999))
    assert not first.top.any() and not first.left.any()
    assert last.top.tolist() == last.left.tolist() == free.tolist()
    assert np.array_equal(last.long, geometry.long) and np.array_equal(last.flip, geometry.flip)
    window = draw_move(np.random.default_rng(0), 4, 16, AUGMENT | {"crop": 8}, 4)
    assert isinstance(window, Geometry)
    assert {at: window.elsewhere(np.full((2, 4), at), 4).top.tolist() for at in (0.0, 0.5, 0.99)} == {
        0.0: [0] * 4,
        0.5: [4] * 4,
        0.99: [8] * 4,
    }


def test_crops_start_anywhere_and_stay_inside() -> None:
    geometry = drawn(batch=2000, crop=10, scale=[1.0, 1.0])
    assert set(geometry.top.tolist()) == set(geometry.left.tolist()) == set(range(7))
    assert set(drawn(crop=24, scale=[0.5, 1.5]).top.tolist()) == {0}


def test_flips_and_turns_are_the_settings_own() -> None:
    geometry = drawn()
    assert len({(bool(flip), int(turn)) for flip, turn in zip(geometry.flip, geometry.turn, strict=True)}) == 8
    assert not drawn(**STILL).flip.any() and not drawn(**STILL).turn.any()


def test_the_settings_choose_the_rule() -> None:
    rng = np.random.default_rng(0)
    assert isinstance(draw_move(rng, 2, 16, AUGMENT | IMAGE, 1), Rescale)
    assert not isinstance(draw_move(rng, 2, 16, AUGMENT, 1), Rescale)


def test_padding_is_no_data() -> None:
    batch = batch_of(crop=64)
    assert batch.image.shape[-2:] == (64, 64) and 0.1 < (~batch.valid).float().mean() < 0.9
    assert torch.equal(batch.label == 255, ~batch.valid)
    assert (batch.image.movedim(1, -1)[~batch.valid] == 0).all()
    assert batch.padding is None and batch.shown is batch.valid


def test_black_padding_is_seen_and_counts_for_nothing() -> None:
    store = InventedStore()
    for tile in range(48):
        store.hide(tile, slice(0, 8))
    plan = make_plan(augment=LARGER | STILL | {"padding": "black"})
    batch = open_stream(store, plan, "unlabelled", 0, views=1).batch(0, 0, 1)
    assert batch.padding is not None and torch.equal(batch.label == 255, ~batch.valid)
    black = -modality_of(plan, "optical").centre / modality_of(plan, "optical").spread
    values = batch.image.movedim(1, -1)
    assert (values[batch.padding] == black.flatten()).all() and batch.padding.any()
    gaps = ~batch.valid & ~batch.padding
    assert (values[gaps] == 0).all() and gaps.any()
    assert torch.equal(batch.shown, ~gaps)
    assert torch.equal((batch.strong[0] != 0).any(dim=1), ~gaps)
    halves = batch.parts(2)
    assert torch.equal(halves[1].shown, batch.shown[4:])
    assert batch.to(torch.device("meta"), torch.channels_last).shown.is_meta


def test_radar_has_no_black() -> None:
    plan = make_plan(inputs=["sar"], augment=LARGER | STILL | {"padding": "black"})
    batch = open_stream(InventedStore(), plan, "unlabelled", 0).batch(0, 0, 1)
    assert batch.padding is not None and (batch.image.movedim(1, -1)[batch.padding] == 0).all() and batch.padding.any()


@pytest.mark.parametrize("padding", ["mean", "black"])
def test_strong_views_are_changed_where_there_is_a_picture(padding: str) -> None:
    batch = batch_of(views=1, padding=padding)
    strong, plain = (view.movedim(1, -1) for view in (batch.strong[0], batch.image))
    assert (~batch.valid).any() and torch.equal(batch.shown.all(), torch.tensor(padding == "black"))
    assert (strong[~batch.shown] == 0).all() and (strong[batch.shown] != 0).any(dim=-1).all()
    assert (strong != plain).any(dim=-1)[batch.shown].float().mean() > 0.9


def test_image_and_label_move_alike() -> None:
    store = InventedStore()
    store.arrays["optical"] = np.repeat(store.arrays["label"][:, None].astype(np.uint16) * 100, 4, axis=1)
    plan = make_plan(augment=LARGER)
    batch = open_stream(store, plan, "labelled", 0).batch(0, 0, 1)
    modality = modality_of(plan, "optical")
    raw = (batch.image * modality.spread + modality.centre)[:, 0] / 100
    off = (raw.round().long() != batch.label) & batch.valid
    assert off.sum() / batch.valid.sum() < 0.12, "only borders, which are blended in one and sharp in the other"


def test_ranks_share_out_the_batch_of_one_process() -> None:
    whole = batch_of(3, padding="black")
    shares = [batch_of(3, rank, 4, padding="black") for rank in range(4)]
    for name in ("image", "label", "valid", "shown"):
        assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(whole, name))
    assert not torch.equal(batch_of(4).image, batch_of(3).image)


def test_stored_maps_of_teachers_are_refused() -> None:
    store = InventedStore()
    seer = InventedFeatures(store, {"taps": [{"tap": 2, "channels": 4, "stride": 8}]})
    for rule in ("image", "fit"):
        with pytest.raises(UserError, match="stored maps of seer cannot follow tiles that are resized and padded") as error:
            open_stream(store, make_plan(augment=IMAGE | {"scaling": rule}), "labelled", 0, {"seer": seer})
    assert error.value.where == "augment.scaling" and "teacher_view: online" in error.value.hint


def test_maps_of_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="maps of 4 x 4 cells are no tiles of 16 pixels"):
        drawn(batch=1).apply(torch.rand(1, 1, 4, 4))
