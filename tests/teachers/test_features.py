"""A teacher's maps of a whole task: the same bytes each time, however often it is stopped, and nothing where it must not be."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from georelay.errors import UserError
from georelay.files import read_json, sha256_file, write_json
from georelay.models.weights import read_weights, save_weights
from georelay.teachers import features as module
from georelay.teachers import store as stores
from georelay.teachers.features import Witness, compute_features
from georelay.teachers.network import build_network, open_teacher, seen_in
from georelay.teachers.store import FeatureStore
from georelay.tiles.read import TileStore
from workshop import PATCHES, SIDE, Workshop, make_workshop

TILES, BATCH = 16, 5


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = make_workshop(tmp_path_factory.mktemp("features"))
    made.run("teach", "own")
    return made


@pytest.fixture
def workshop(ready: Workshop, tmp_path: Path) -> Workshop:
    return ready.copy(tmp_path / "copy")


def target(workshop: Workshop, task: str = "city", teacher: str = "own") -> Path:
    return workshop.folder / "results/features" / f"{task}--{teacher}.zarr.zip"


def computed(workshop: Workshop, task: str = "city", teacher: str = "own", fingerprint: str = "f") -> dict[str, Any]:
    card, tiles = workshop.card("teachers", teacher), workshop.card("tiles", task)
    return compute_features(card, tiles, workshop.folder, target(workshop, task, teacher), fingerprint)


def refusal(workshop: Workshop, task: str = "city", teacher: str = "own") -> str:
    with pytest.raises(UserError) as caught:
        computed(workshop, task, teacher)
    assert not target(workshop, task, teacher).exists()
    return str(caught.value)


def witness_of(workshop: Workshop, task: str = "city") -> Witness:
    store = TileStore(workshop.folder / f"results/tiles/{task}.zarr.zip")
    card, modalities = workshop.card("teachers", "own"), workshop.card("tiles", task)["modalities"]
    return Witness(card, modalities, store, workshop.folder, torch.device("cpu"))


def put(workshop: Workshop, name: str, change: Callable[[dict[str, Tensor]], None], **settings: Any) -> None:
    """A teacher like `own` whose weights and settings were changed by someone who also mended the card."""
    card, path = workshop.card("teachers", "own"), workshop.folder / "results/teachers" / f"{name}.safetensors"
    tensors, _ = read_weights(path.with_name("own.safetensors"))
    change(tensors)
    network = build_network(card["settings"], card["taught"], None)
    network.net.load_state_dict(tensors)
    save_weights(path, network.net, {"teacher": name})
    facts = {"name": name, "sha256": sha256_file(path), "settings": card["settings"] | settings}
    write_json(path.with_suffix(".json"), card | facts)


def test_bytes_are_the_same_each_time_and_the_card_says_which(workshop: Workshop, tmp_path: Path) -> None:
    again = workshop.copy(tmp_path / "again")
    cards = [computed(workshop, fingerprint="a"), computed(again, fingerprint="b")]
    assert cards[0] == cards[1] and target(workshop).read_bytes() == target(again).read_bytes()
    assert cards[0]["sha256"] == sha256_file(target(workshop)) and cards[0]["size"] == target(workshop).stat().st_size
    assert cards[0]["tiles"] == sha256_file(workshop.folder / "results/tiles/city.zarr.zip")
    assert cards[0]["teacher"] == sha256_file(workshop.folder / "results/teachers/own.safetensors")
    assert (cards[0]["task"], cards[0]["dtype"], cards[0]["licence"]) == ("city", "fp16", "none")
    decoder = {"tap": "decoder", "channels": 8, "cells": 8, "span": 32}
    assert cards[0]["taps"] == [decoder, {"tap": 2, "channels": 48, "cells": 4, "span": 32}]
    assert cards[0]["note"].startswith(
        "source: bands green, red, nir of 3; blue is missing: its mean is shown; target: bands blue"
    )


def test_the_store_holds_the_card_s_facts(workshop: Workshop) -> None:
    card = computed(workshop)
    store = FeatureStore(target(workshop))
    store.verify()
    assert len(store) == TILES and store.taps == card["taps"]
    assert {key: store.attrs[key] for key in ("task", "teacher", "tiles", "licence", "note")}.items() <= card.items()


def test_each_tile_is_seen_by_its_own_city_s_intake(workshop: Workshop) -> None:
    """A batch of five may hold tiles of both cities."""
    computed(workshop)
    tiles, card = TileStore(workshop.folder / "results/tiles/city.zarr.zip"), workshop.card("teachers", "own")
    facts, stored = workshop.card("tiles", "city")["modalities"]["optical"], FeatureStore(target(workshop))
    weights = workshop.folder / "results/teachers/own.safetensors"
    names = [tiles.attrs["domains"][code] for code in tiles.coordinate("domain")]
    assert any(len(set(names[first : first + BATCH])) > 1 for first in range(0, TILES, BATCH)), "a batch holds both cities"
    for tile in range(TILES):
        teacher = open_teacher(card, weights, seen_in(facts, names[tile]))
        raw = torch.from_numpy(tiles.array("optical")[[tile]].astype(np.float32))
        seen = torch.from_numpy(tiles.array("valid")[[tile]] != 0).unsqueeze(1)
        for answer, kept in zip(teacher(raw, seen), stored.read(np.array([tile])), strict=True):
            torch.testing.assert_close(kept.float(), answer, atol=1e-3 * float(answer.abs().max()), rtol=2**-10)


def test_mixed_cities_come_back_in_the_order_asked_for(workshop: Workshop) -> None:
    witness, ids = witness_of(workshop), np.array([13, 0, 7, 12, 3, 0])
    together = witness.maps(ids)
    for place, tile in enumerate(ids):
        for maps, alone in zip(together, witness.maps(np.array([tile])), strict=True):
            torch.testing.assert_close(maps[place], alone[0], atol=1e-4, rtol=1e-4)


def test_gaps_are_shown_as_nothing(workshop: Workshop) -> None:
    """Whatever value a gap holds, the maps are those of zeros after normalisation."""
    witness = witness_of(workshop, "pairs")
    eo, valid = (witness.store.array(name)[[0]].copy() for name in ("eo", "valid"))
    valid[:, :8], eo[:, :, :8] = 0, 9999
    arrays = {"eo": eo, "valid": valid, "domain": np.array([0])}
    witness.store = type("Gapped", (), {"array": lambda self, name: arrays[name], "coordinate": array_of(arrays)})()
    found, network = witness.maps(np.array([0])), witness.networks[0]
    shown = network.intake(torch.from_numpy(eo.astype(np.float32)), torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool))
    shown[:, :, :8] = 0
    torch.testing.assert_close(found, network.network(shown))


def array_of(arrays: dict[str, np.ndarray]) -> Callable[[Any, str], np.ndarray]:
    return lambda self, name: arrays[name]


def test_a_task_of_radar_alone_is_refused_for_an_optical_teacher(workshop: Workshop) -> None:
    assert "teachers.own.unit: reads reflectance; the task has sar in dB" in refusal(workshop, "radar")
    computed(workshop, "pairs")  # the same rasters with their optical image


@pytest.mark.parametrize(
    ("name", "command"),
    [("results/tiles/city.zarr.zip", "georelay tile city"), ("results/teachers/own.safetensors", "georelay teach own")],
)
def test_files_that_are_not_those_of_the_cards_are_refused(workshop: Workshop, name: str, command: str) -> None:
    path = workshop.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
    assert f"{path}: is damaged" in refusal(workshop) and command in refusal(workshop)
    path.unlink()
    assert "file is missing" in refusal(workshop)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_end_before_anything_is_written(workshop: Workshop, value: float) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["decoder.classify.bias"].fill_(value)

    put(workshop, "broken", spoil, taps=["logits"])
    before = workshop.written()
    assert "tile 0, tap logits: the map holds NaN or inf" in refusal(workshop, teacher="broken")
    assert workshop.written() == before


def test_what_half_precision_cannot_hold_asks_for_bf16(workshop: Workshop) -> None:
    def enlarge(tensors: dict[str, Tensor]) -> None:
        tensors["decoder.classify.bias"].fill_(1e6)

    put(workshop, "large", enlarge, taps=["logits"])
    assert "1e+06 is more than fp16 can hold\n  set `dtype: bf16`" in refusal(workshop, teacher="large")
    put(workshop, "large", enlarge, taps=["logits"], dtype="bf16")
    assert computed(workshop, teacher="large")["dtype"] == "bf16"


@pytest.mark.parametrize(
    ("settings", "cells", "span"),
    [
        ({"fit": "pad"}, 3, 42),
        ({"fit": "resize"}, 3, 32),
        ({"fit": "resize", "size": 70}, 5, 32),
        ({"fit": "pad", "size": 60}, 5, 70),
    ],
)
def test_tiles_that_patches_do_not_divide_are_made_to_fit(
    workshop: Workshop, settings: dict[str, Any], cells: int, span: int
) -> None:
    """Tiles of 32, patches of 14: padded to 42 of which the map covers all, or stretched to 42 and the map covers the tile."""
    workshop.foreign(**PATCHES, taps=[1], **settings)
    workshop.run("teach", "theirs")
    assert computed(workshop, teacher="theirs")["taps"] == [{"tap": 1, "channels": 12, "cells": cells, "span": span}]
    assert FeatureStore(target(workshop, teacher="theirs")).read(np.array([0]))[0].shape == (1, 12, cells, cells)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 40}, "an input of 40 pixels is no multiple of 14"),
        ({"size": 28, "fit": "pad"}, "a tile of 32 pixels cannot be padded to 28"),
    ],
)
def test_tiles_that_cannot_fit_are_refused(workshop: Workshop, settings: dict[str, Any], message: str) -> None:
    workshop.foreign(**PATCHES, taps=[1], **settings)
    workshop.run("teach", "theirs")
    assert message in refusal(workshop, teacher="theirs")


@pytest.fixture
def undisturbed(workshop: Workshop, tmp_path: Path) -> bytes:
    again = workshop.copy(tmp_path / "undisturbed")
    computed(again)
    return target(again).read_bytes()


@pytest.fixture
def third_batch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Sets what happens instead of the third batch."""
    usual = Witness.maps

    def arrange(happens: Callable[[], None]) -> None:
        calls = count()

        def maps(witness: Witness, ids: np.ndarray) -> list[Tensor]:
            if next(calls) == 2:
                happens()
            return usual(witness, ids)

        monkeypatch.setattr(Witness, "maps", maps)

    yield arrange


def interrupted() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_store_is_finished_with_the_same_bytes(
    workshop: Workshop, undisturbed: bytes, third_batch: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    third_batch(interrupted)
    with pytest.raises(KeyboardInterrupt):
        computed(workshop)
    assert not target(workshop).exists()
    seen: list[int] = []
    usual = module.Witness._answer
    monkeypatch.setattr(Witness, "_answer", lambda self, network, ids: seen.extend(ids) or usual(self, network, ids))
    computed(workshop)
    assert sorted(seen) == list(range(2 * BATCH, TILES)), "the first two batches are not done again"
    assert target(workshop).read_bytes() == undisturbed
    assert not (workshop.folder / "results/resume/f").exists()


def test_a_killed_store_is_finished_with_the_same_bytes(
    workshop: Workshop, undisturbed: bytes, third_batch: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> None:
        monkeypatch.setattr(stores, "SAVE_SECONDS", 0.0)
        third_batch(lambda: os.kill(os.getpid(), signal.SIGKILL))
        computed(workshop)

    # Torch is imported already: a new interpreter would take seconds.
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL and not target(workshop).exists()
    assert read_json(workshop.folder / "results/resume/f/done.json")["done"] == 2 * BATCH
    computed(workshop)
    assert target(workshop).read_bytes() == undisturbed


def test_another_teacher_does_not_go_on_with_the_first_one_s_maps(
    workshop: Workshop, third_batch: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even under one fingerprint: what is resumed must have been made of the same weights."""
    put(workshop, "other", lambda tensors: tensors["decoder.classify.weight"].zero_(), taps=["logits"])
    put(workshop, "own", lambda tensors: None, taps=["logits"])
    third_batch(interrupted)
    with pytest.raises(KeyboardInterrupt):
        computed(workshop)
    monkeypatch.undo()
    card = computed(workshop, teacher="other")
    maps = FeatureStore(target(workshop, teacher="other")).read(np.arange(TILES))[0]
    assert (maps == maps[:1, :, :1, :1]).all(), "zero weights answer the bias everywhere"
    assert json.loads(json.dumps(card)) == card
