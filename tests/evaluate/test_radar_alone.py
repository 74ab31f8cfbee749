"""A student that was trained on radar: it never opens an optical raster, refuses one in radar's place, and knows its margins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from georelay.batches.augment import recolour
from georelay.batches.modality import modalities_of
from georelay.batches.streams import open_stream
from georelay.errors import UserError
from georelay.evaluate import predict as predicting
from georelay.evaluate.confusion import count_pixels
from georelay.evaluate.predict import Mapper
from georelay.geo.raster import open_grid, read_window, write_raster
from georelay.methods.base import run_facts
from georelay.models.weights import load_weights, save_weights
from georelay.sources.receipt import Scene
from georelay.train.run import build_method
from invented import AUGMENT, MODALITIES, InventedStore, make_plan

PLACE: dict[str, Any] = {"transform": (10.0, 0.0, 500000.0, 0.0, -10.0, 4100000.0), "crs": "EPSG:32631", "nodata": None}
SIZE = (40, 36)
EO = {"modality": "optical", "unit": "reflectance"}


def mapper(plan: dict[str, Any]) -> Mapper:
    student = build_method(plan, 0, Path()).student.eval()
    return Mapper(plan, student, modalities_of(plan, plan["inputs"]), torch.device("cpu"))


def write_sar(path: Path, **changes: Any) -> np.ndarray:
    image = np.random.default_rng(0).normal(-15, 4, (2, *SIZE)).astype(np.float32)
    image[:, :, :6] = np.nan
    write_raster(path, image, **PLACE, **changes)
    return image


def scene(**images: str) -> Scene:
    return Scene("s", "test", "main", images, "label.tif")


@pytest.mark.parametrize("listed", [True, False])
def test_no_optical_raster_is_ever_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    write_sar(tmp_path / "sar.tif")
    opened: list[str] = []
    for name in ("open_grid", "read_window", "read_tags"):
        whole = getattr(predicting, name)
        monkeypatch.setattr(predicting, name, lambda path, *args, whole=whole: opened.append(path.name) or whole(path, *args))
    images = {"optical": "gone.tif"} if listed else {}  # there is no such file
    mapper(make_plan(inputs=["sar"])).write(scene(**images, sar="sar.tif"), tmp_path, tmp_path / "map.tif")
    assert set(opened) == {"sar.tif"}
    labels = read_window(tmp_path / "map.tif", 0, 0, *SIZE)[0]
    assert (labels[:, :6] == 255).all() and (labels[:, 6:] < 4).all()
    assert not open_grid(tmp_path / "map.tif").difference(open_grid(tmp_path / "sar.tif"))


@pytest.mark.parametrize(
    ("bands", "tags", "words"),
    [
        (4, {}, r"eo.tif: has 4 bands, the student reads 2 of sar in dB: vv, vh"),
        (2, EO, r"eo.tif: holds 2 bands of modality optical, the student reads 2 of sar in dB: vv, vh"),
        (2, {"unit": "reflectance"}, r"eo.tif: holds 2 bands of unit reflectance, the student reads 2 of sar in dB"),
    ],
)
def test_an_optical_raster_in_its_place_is_refused(tmp_path: Path, bands: int, tags: dict[str, str], words: str) -> None:
    write_raster(tmp_path / "eo.tif", np.ones((bands, *SIZE), np.uint16), **PLACE, tags=tags)
    with pytest.raises(UserError, match=words):
        mapper(make_plan(inputs=["sar"])).write(scene(sar="eo.tif"), tmp_path, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_a_scene_that_has_optical_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no sar, which the student was trained on; it has optical"):
        mapper(make_plan(inputs=["sar"])).write(scene(optical="eo.tif"), tmp_path, tmp_path / "map.tif")


@pytest.mark.parametrize("key", ["mean", "std"])
def test_a_model_with_other_statistics_of_radar_is_refused(tmp_path: Path, key: str) -> None:
    plan = make_plan(inputs=["optical", "sar"])
    student = build_method(plan, 0, tmp_path).student
    other = run_facts(plan)
    other["modalities"]["sar"][key] = [value + 0.1 for value in MODALITIES["sar"][key]]
    save_weights(tmp_path / "model.safetensors", student, other)
    with pytest.raises(UserError, match="weights were trained with modalities"):
        load_weights(tmp_path / "model.safetensors", student, run_facts(plan))
    save_weights(tmp_path / "model.safetensors", student, run_facts(plan))
    load_weights(tmp_path / "model.safetensors", student, run_facts(plan))
    assert run_facts(plan)["modalities"]["optical"]["mean"] == MODALITIES["optical"]["mean"]


@pytest.mark.parametrize("augment", [{}, {"speckle_looks": 2.0, "sar_offset": 1.0}])
def test_what_lies_in_a_margin_changes_no_loss(tmp_path: Path, augment: dict[str, float]) -> None:
    losses, gradients = [], []
    for value in (np.nan, -90.0, 40.0):
        store = InventedStore()
        for tile in range(48):
            store.hide(tile, slice(0, 7))
        store.arrays["sar"][:, :, :7] = value
        store.arrays["label"][:, :7] = 0 if np.isnan(value) else 3
        plan = make_plan(inputs=["sar"], augment=augment)
        method = build_method(plan, 0, tmp_path)
        batch = open_stream(store, plan, "labelled", 0).batch(0, 0, 1)
        assert (batch.label[~batch.valid] == 255).all() and not batch.image[
            ~batch.valid.unsqueeze(1).expand_as(batch.image)
        ].any()
        loss = method.loss({"labelled": batch}, 0).total
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in method.student.parameters() if p.grad is not None]))
    assert np.isfinite(losses[0]) and losses[0] == losses[1] == losses[2]
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])


def test_a_margin_is_in_no_score() -> None:
    # Labels that were drawn as vectors go on where radar saw nothing, which the map says.
    truth, guess = np.array([[0, 1, 3, 255, 255]], np.uint8), np.array([[0, 2, 255, 1, 255]], np.uint8)
    counts = count_pixels(truth, guess, 4, 255)
    assert counts[:4].sum() == 2 and counts[0, 0] == 1 and counts[1, 2] == 1


def test_speckle_multiplies_power() -> None:
    """Of bright and dark pixels alike: what is added in dB does not depend on how strong the echo is."""
    modality = modalities_of(make_plan(), ["sar"])[0]
    settings = AUGMENT | {"speckle_looks": 3.0}
    added = []
    for level in (-25.0, -5.0):
        image = (torch.full((64, 2, 32, 32), level) - modality.centre) / modality.spread
        changed = (
            recolour(image, modality, settings, np.random.default_rng(0), 64, slice(None)) * modality.spread + modality.centre
        )
        ratio = 10 ** (changed.double() / 10) / 10 ** (level / 10)
        assert ratio.mean() == pytest.approx(1, rel=0.02) and ratio.var() == pytest.approx(1 / 3, rel=0.05)
        added.append(changed - level)
    torch.testing.assert_close(added[0], added[1], atol=1e-4, rtol=0)


def test_an_input_that_is_missing_at_test_is_its_mean_and_is_not_read(tmp_path: Path) -> None:
    """A student of both sensors whose optical one is gone: the same map as with an optical raster of means."""
    write_sar(tmp_path / "sar.tif")
    means = np.tile(np.array(MODALITIES["optical"]["mean"], np.uint16)[:, None, None], (1, *SIZE))
    write_raster(tmp_path / "eo.tif", means, **PLACE)
    both, blind = (make_plan(inputs=["optical", "sar"], predict={"missing": missing}) for missing in ([], ["optical"]))
    mapper(both).write(scene(optical="eo.tif", sar="sar.tif"), tmp_path, tmp_path / "both.tif")
    mapper(blind).write(scene(optical="gone.tif", sar="sar.tif"), tmp_path, tmp_path / "blind.tif")
    seen, guessed = (read_window(tmp_path / name, 0, 0, *SIZE)[0] for name in ("both.tif", "blind.tif"))
    assert np.array_equal(seen, guessed) and len(np.unique(guessed[:, 6:])) > 1
