"""What a method sees of its teachers: stored maps as they are, or answers to the very values that the student got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from georelay.batches.streams import Batch, open_stream, open_tiles
from georelay.errors import UserError
from georelay.teachers.store import FeatureStore
from georelay.teachers.view import TeacherView
from georelay.tiles.read import TileStore
from workshop import Workshop, make_workshop

CHANGED = {"flip": True, "turn": True, "crop": 16, "gain": 0.1, "offset": 0.2, "noise": 0.1, "sar_offset": 1.0}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A taught teacher, one of three bands in an order of its own, and features of the former."""
    made = make_workshop(tmp_path_factory.mktemp("view"))
    for words in (("teach", "own"), ("features", "city", "own")):
        made.run(*words)
    made.foreign(bands=["blue", "red", "green"], statistics={"mean": [0.1, 0.2, 0.3], "std": [0.1, 0.1, 0.2], "white": None})
    made.run("teach", "theirs")
    made.change("experiments", foreign={"like": "online", "teachers": ["theirs"], "why": "a test"})
    return made


class Recorder(nn.Module):
    """Stands where a teacher's network stands and keeps what it is given."""

    def forward(self, raw: Tensor, valid: Tensor) -> list[Tensor]:
        self.raw, self.valid = raw, valid
        return [raw]


def opened(workshop: Workshop, plan: Mapping[str, Any]) -> TeacherView:
    view = TeacherView(plan)
    view.open(workshop.folder)
    return view


def recorded(workshop: Workshop, plan: Mapping[str, Any], batch: Batch, domain: str = "train_domain") -> Recorder:
    """What the plan's only teacher is given of a batch."""
    view, recorder = opened(workshop, plan), Recorder()
    view._networks = dict.fromkeys(view._networks, recorder)  # type: ignore[assignment]
    view.maps(batch, domain)
    return recorder


def store_of(workshop: Workshop, plan: Mapping[str, Any]) -> TileStore:
    return TileStore(workshop.folder / plan["tiles"]["path"])


def whole(workshop: Workshop, plan: Mapping[str, Any], ids: Sequence[int]) -> Batch:
    """Tiles as they are."""
    return open_tiles(store_of(workshop, plan), plan, np.array(ids)).whole(np.arange(len(ids)))


def counts(workshop: Workshop, plan: Mapping[str, Any], name: str, ids: Sequence[int]) -> Tensor:
    return torch.from_numpy(store_of(workshop, plan).array(name)[ids].astype(np.float32))


def gapped(batch: Batch, rows: slice) -> Batch:
    """The batch with some rows of each tile nodata, as a stream would give it."""
    valid, image = batch.valid.clone(), batch.image.clone()
    valid[:, rows], image[:, :, rows] = False, 0.0
    return Batch(**(vars(batch) | {"valid": valid, "image": image}))


def test_stored_maps_are_those_of_the_batch(workshop: Workshop) -> None:
    plan = workshop.plan("cached")
    reader = FeatureStore(workshop.folder / plan["features"]["own"]["path"])
    stream = open_stream(store_of(workshop, plan), plan, "unlabelled", 0, {"own": reader})
    batch, view = stream.batch(3, 0, 1), opened(workshop, plan)
    maps = view.maps(batch)
    assert list(maps) == ["own"] and view.networks == []
    for map_, stored in zip(maps["own"], batch.features["own"], strict=True):
        assert (map_.dtype, stored.dtype) == (torch.float32, torch.float16) and torch.equal(map_, stored.float())


def test_a_teacher_in_the_step_gets_raster_units_back(workshop: Workshop) -> None:
    plan = workshop.plan("online")
    given = recorded(workshop, plan, whole(workshop, plan, [0, 1, 2, 3])).raw
    expected = counts(workshop, plan, "optical", [0, 1, 2, 3])
    assert expected.amax() > 1500
    torch.testing.assert_close(given, expected, atol=1e-3, rtol=0)


def test_it_gets_the_colours_that_the_student_gets(workshop: Workshop) -> None:
    """By hand: (normalised value) * std + mean of the city that is trained in."""
    plan = workshop.plan("online")
    plan["settings"]["augment"] |= CHANGED
    batch = open_stream(store_of(workshop, plan), plan, "unlabelled", 0).batch(1, 0, 1)
    source = plan["modalities"]["optical"]["domains"]["source"]
    mean, std = (torch.tensor(source[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(recorded(workshop, plan, batch).raw, batch.image * std + mean, atol=1e-2, rtol=1e-6)


def test_gaps_are_zero_before_the_network_whatever_the_image_holds(workshop: Workshop) -> None:
    plan = workshop.plan("online")
    batch = gapped(whole(workshop, plan, [0, 1]), slice(0, 8))
    given = recorded(workshop, plan, batch)
    assert given.valid.shape == (2, 1, 32, 32) and torch.equal(given.valid[:, 0], batch.valid)
    network = opened(workshop, plan)._networks["own", "source"]
    shown = network.intake(given.raw, given.valid)
    assert (shown[:, :, :8] == 0).all() and (shown[:, :, 8:] != 0).any()
    maps = opened(workshop, plan).maps(batch)["own"]
    torch.testing.assert_close(maps, network.network(shown))


@pytest.mark.parametrize("padding", ["mean", "black"])
def test_black_padding_is_part_of_what_a_teacher_sees(workshop: Workshop, padding: str) -> None:
    plan = workshop.plan("online")
    plan["settings"]["augment"] |= {"scaling": "image", "scale": [0.5, 0.5], "padding": padding}
    batch = open_stream(store_of(workshop, plan), plan, "unlabelled", 0).batch(1, 0, 1)
    given = recorded(workshop, plan, batch)
    padded = ~batch.valid.unsqueeze(1)
    assert padded.float().mean() == 0.75
    assert torch.equal(given.valid, torch.ones_like(padded) if padding == "black" else ~padded)
    if padding == "black":
        assert given.raw[padded.expand_as(given.raw)].abs().max() < 1e-3


@pytest.mark.parametrize(
    ("domain", "bands"), [("train_domain", ["green", "red", "nir"]), ("test_domain", ["blue", "red", "nir"])]
)
def test_bands_are_those_of_the_batch_s_domain(workshop: Workshop, domain: str, bands: list[str]) -> None:
    """The teacher reads blue, red, green; the band that a city's sensor lacks is shown as its mean, so 0."""
    plan = workshop.plan("foreign")
    store = store_of(workshop, plan)
    ids = store.select("train", plan[domain])[:2].tolist()
    batch = whole(workshop, plan, ids)
    torch.testing.assert_close(
        recorded(workshop, plan, batch, domain).raw, counts(workshop, plan, "optical", ids), atol=1e-3, rtol=0
    )
    network = opened(workshop, plan)._networks["theirs", plan[domain]]
    shown = network.intake(counts(workshop, plan, "optical", ids), torch.ones(2, 1, 32, 32, dtype=torch.bool))
    for place, (band, mean, std) in enumerate(zip(("blue", "red", "green"), (0.1, 0.2, 0.3), (0.1, 0.1, 0.2), strict=True)):
        raw = counts(workshop, plan, "optical", ids)[:, bands.index(band)] if band in bands else None
        expected = torch.zeros(2, 32, 32) if raw is None else (raw * 1e-4 - mean) / std
        torch.testing.assert_close(shown[:, place], expected)
    torch.testing.assert_close(opened(workshop, plan).maps(batch, domain)["theirs"], network.network(shown), atol=1e-4, rtol=1e-4)


def test_cities_with_other_bands_cannot_be_mixed_in_a_step(workshop: Workshop) -> None:
    """Stored features know each tile's city, a batch does not."""
    with pytest.raises(
        UserError, match=r"(?s)experiments\.online\.train_domain: .*optical has other bands.*`teacher_view: cached`"
    ):
        opened(workshop, workshop.plan("online", train_domain=None))


def test_the_pair_is_read_where_the_student_does_not_see_the_teacher_s_modality(workshop: Workshop) -> None:
    plan = workshop.plan("paired")
    batch = whole(workshop, plan, [0, 1, 2])
    assert batch.image.shape[1] == 2 and batch.pair is not None
    given = recorded(workshop, plan, batch).raw
    seen = batch.valid.unsqueeze(1).expand_as(given)
    torch.testing.assert_close(given[seen], counts(workshop, plan, "eo", [0, 1, 2])[seen], atol=1e-3, rtol=0)


def test_a_row_without_the_teacher_s_modality_is_refused(workshop: Workshop) -> None:
    with pytest.raises(UserError, match=r"teachers\.own\.unit: reads reflectance; the task has sar in dB"):
        opened(
            workshop, {**workshop.plan("paired", pair=[]), "modalities": {"sar": workshop.plan("paired")["modalities"]["sar"]}}
        )


@pytest.mark.parametrize("domain", ["train_domain", "test_domain"])
def test_on_plain_tiles_both_views_agree(workshop: Workshop, domain: str) -> None:
    plan = workshop.plan("online")
    ids = store_of(workshop, plan).select("train", plan[domain])
    stored = FeatureStore(workshop.folder / workshop.plan("cached")["features"]["own"]["path"]).read(ids)
    maps = opened(workshop, plan).maps(whole(workshop, plan, ids.tolist()), domain)["own"]
    for answer, kept in zip(maps, stored, strict=True):
        torch.testing.assert_close(answer, kept.float(), atol=1e-3 * float(answer.abs().max()), rtol=2**-10)


def test_teachers_of_a_step_are_frozen_and_no_part_of_the_view_s_state(workshop: Workshop) -> None:
    view = opened(workshop, workshop.plan("online"))
    assert len(view.networks) == 2, "one a city"
    for network in view.networks:
        network.train()
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not isinstance(view, nn.Module)


def test_weights_that_are_not_the_plan_s_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    spoilt = workshop.copy(tmp_path / "copy")
    weights = spoilt.folder / "results/teachers/own.safetensors"
    weights.chmod(0o644)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"own\.safetensors: is damaged.*\n.*georelay teach own"):
        opened(spoilt, spoilt.plan("online"))
    opened(spoilt, spoilt.plan("cached"))  # needs none
