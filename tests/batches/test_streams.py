"""Streams: batches are a function of (seed, step), in register, normalised, and blind where there is no data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from georelay.batches import streams
from georelay.batches.modality import modality_of
from georelay.batches.streams import Batch, open_stream, open_tiles
from georelay.errors import UserError
from invented import MODALITIES, InventedStore, make_plan

EVERYTHING = {"crop": 16, "scale": [0.9, 1.2], "gain": 0.1, "offset": 0.1, "noise": 0.1}


def batch_of(step: int, rank: int = 0, world: int = 1, seed: int = 0, **changes: Any) -> Batch:
    return open_stream(InventedStore(), make_plan(**changes), "labelled", seed).batch(step, rank, world)


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in ("image", "label", "valid", "index"))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    stream = open_stream(InventedStore(), make_plan(augment=EVERYTHING), "labelled", 0)
    for step in range(5):
        stream.batch(step, 0, 1)
    assert same(stream.batch(7, 0, 1), batch_of(7, augment=EVERYTHING))
    assert not same(batch_of(7, augment=EVERYTHING), batch_of(8, augment=EVERYTHING))
    assert not same(batch_of(7, augment=EVERYTHING), batch_of(7, seed=1, augment=EVERYTHING))


def test_ranks_share_out_the_batch_of_one_process() -> None:
    shares = [batch_of(3, rank, 4, augment=EVERYTHING) for rank in range(4)]
    whole = batch_of(3, augment=EVERYTHING)
    for name in ("image", "label", "valid", "index"):
        assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(whole, name))


def test_plain_tiles_are_normalised_raster_values() -> None:
    store, plan = InventedStore(), make_plan()
    places = np.array([2, 0])
    batch = open_tiles(store, plan, store.select("train")).whole(places)
    tile = store.select("train")[2]
    mean, std = (np.array(MODALITIES["optical"][key]).reshape(-1, 1, 1) for key in ("mean", "std"))
    expected = (store.arrays["optical"][tile].astype(float) - mean) / std
    np.testing.assert_allclose(batch.image[0].numpy(), expected, atol=1e-5)
    assert np.array_equal(batch.label[0].numpy(), store.arrays["label"][tile])
    assert batch.index.tolist() == [tile, 0]


def test_image_and_label_move_together() -> None:
    store = InventedStore()
    store.arrays["optical"] = np.repeat(store.arrays["label"][:, None].astype(np.uint16) * 100, 4, axis=1)
    batch = open_stream(store, make_plan(augment={"crop": 20}), "labelled", 0).batch(0, 0, 1)
    raw = batch.image * torch.tensor(MODALITIES["optical"]["std"]).view(1, 4, 1, 1)
    raw = raw + torch.tensor(MODALITIES["optical"]["mean"]).view(1, 4, 1, 1)
    assert torch.equal((raw[:, 0] / 100).round().long(), batch.label)


@pytest.mark.parametrize("modality", ["optical", "sar"])
def test_gaps_are_ignored_and_zero_however_a_tile_is_changed(modality: str) -> None:
    store = InventedStore()
    for tile in range(48):
        store.hide(tile, slice(0, 8))
    changes = EVERYTHING | {"crop": 0, "sar_offset": 1.0, "speckle_looks": 2.0}
    batch = open_stream(store, make_plan(inputs=[modality], augment=changes), "labelled", 0).batch(0, 0, 1)
    hidden = ~batch.valid
    assert 0.1 < hidden.float().mean() < 0.4
    assert (batch.label[hidden] == 255).all()
    assert (batch.label[batch.valid] != 255).all()
    assert (batch.image.movedim(1, -1)[hidden] == 0).all()
    assert batch.image.isfinite().all()


def test_inputs_are_stacked_in_the_plan_s_order() -> None:
    store = InventedStore()
    batch = open_tiles(store, make_plan(inputs=["sar", "optical"]), store.select("train")).whole(np.arange(3))
    alone = open_tiles(store, make_plan(inputs=["optical"]), store.select("train")).whole(np.arange(3))
    assert batch.image.shape[1] == 6
    assert torch.equal(batch.image[:, 2:], alone.image)


def test_a_pair_gets_the_same_geometry() -> None:
    store = InventedStore()
    store.arrays["sar"] = store.arrays["optical"][:, :2].astype(np.float32)
    plan = make_plan(inputs=["optical"], pair=["sar"], augment={"crop": 12})
    batch = open_stream(store, plan, "unlabelled", 0).batch(0, 0, 1)
    optical, sar = modality_of(plan, "optical"), modality_of(plan, "sar")
    assert batch.pair is not None
    raws = [batch.image * optical.spread + optical.centre, batch.pair * sar.spread + sar.centre]
    torch.testing.assert_close(raws[0][:, :2], raws[1], atol=0.1, rtol=0)


def test_tiles_read_as_needed_give_the_bits_of_tiles_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = batch_of(2, augment=EVERYTHING)
    monkeypatch.setattr(streams, "PRELOADED_BYTES", 0)
    assert same(batch_of(2, augment=EVERYTHING), kept)


def test_a_label_budget_binds_the_labelled_stream_alone() -> None:
    plan, store = make_plan(labels=3), InventedStore()
    labelled, unlabelled = (open_stream(store, plan, name, 0) for name in ("labelled", "unlabelled"))
    assert (len(labelled.tiles), len(unlabelled.tiles)) == (3, 24)
    with pytest.raises(UserError, match=r"24 training tiles .* 99 asked for"):
        open_stream(store, make_plan(labels=99), "labelled", 0)


def test_parts_make_up_the_batch() -> None:
    batch = batch_of(0, augment={"crop": 16})
    parts = batch.parts(4)
    assert [len(part.index) for part in parts] == [2] * 4
    assert torch.equal(torch.cat([part.image for part in parts]), batch.image)
    assert np.array_equal(parts[1].geometry.top, batch.geometry.top[2:4])


def test_statistics_are_those_of_the_domain_trained_on() -> None:
    entry = MODALITIES["sar"] | {"domains": {"source": {"mean": [-1.0, -2.0], "std": [3.0, 4.0]}}}
    plan = make_plan(train_domain="source", test_domain="target", modalities={"sar": entry})
    assert modality_of(plan, "sar").mean == (-1.0, -2.0)
    assert modality_of(make_plan(), "sar").mean == (-12.0, -18.0)


def strong_batch(step: int, rank: int = 0, world: int = 1, views: int = 2, **changes: Any) -> Batch:
    return open_stream(InventedStore(), make_plan(**changes), "unlabelled", 0, views=views).batch(step, rank, world)


def test_strong_views_change_colours_and_nothing_else() -> None:
    batch, plain = strong_batch(3), strong_batch(3, views=0)
    assert torch.equal(batch.image, plain.image) and (plain.strong, plain.mixes) == ((), ())
    assert len(batch.strong) == len(batch.mixes) == 2
    assert all(view.shape == batch.image.shape and not torch.equal(view, batch.image) for view in batch.strong)
    assert not torch.equal(*batch.strong)
    correlation = np.corrcoef(batch.strong[0].flatten().numpy(), batch.image.flatten().numpy())[0, 1]
    assert correlation > 0.8, "the same places"


def test_strong_views_and_boxes_are_shared_out_over_ranks() -> None:
    whole, shares = strong_batch(3), [strong_batch(3, rank, 4) for rank in range(4)]
    for view in range(2):
        assert torch.equal(torch.cat([share.strong[view] for share in shares]), whole.strong[view])
        boxes = np.concatenate([share.mixes[view].boxes for share in shares])
        assert np.array_equal(boxes, whole.mixes[view].boxes) and boxes.any()


def test_strong_views_are_cut_with_the_batch_and_blind_where_it_is() -> None:
    store = InventedStore()
    store.hide(int(store.select("train")[0]), slice(0, 9))
    batch = open_stream(store, make_plan(), "unlabelled", 0, views=1).batch(0, 0, 1)
    first = batch.parts(2)[1]
    assert torch.equal(first.strong[0], batch.strong[0][4:]) and np.array_equal(first.mixes[0].boxes, batch.mixes[0].boxes[4:])
    for step in range(6):
        batch = open_stream(store, make_plan(), "unlabelled", 0, views=1).batch(step, 0, 1)
        assert (batch.strong[0][~batch.valid.unsqueeze(1).expand_as(batch.image)] == 0).all()
