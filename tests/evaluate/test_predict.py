"""Whole-scene prediction on invented scenes: georeferenced, blind where there is no data, refused where inputs differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from georelay.errors import UserError
from georelay.evaluate.certainty import LAYERS
from georelay.evaluate.predict import Mapper, predict_at_multiple, predict_run
from georelay.files import sha256_file
from georelay.geo.raster import write_raster
from georelay.methods.base import run_facts
from georelay.models.student import full_size
from georelay.models.weights import save_weights
from georelay.sources.receipt import Receipt, Scene
from georelay.train.run import build_method
from invented import CLASSES, MODALITIES, make_plan

TRANSFORM = (2.0, 0.0, 500000.0, 0.0, -2.0, 4100000.0)
CRS = "EPSG:32631"
SIZE = {"test-000": (70, 53), "test-001": (20, 25)}


def scene(folder: Path, name: str, bands: int = 4, modality: str = "optical") -> Scene:
    (folder / name).mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(len(name)).integers(500, 5000, (bands, *SIZE[name])).astype(np.uint16)
    image[0, 3:6, 4:9] = 0  # one band without data
    write_raster(folder / name / "image.tif", image, transform=TRANSFORM, crs=CRS, nodata=0)
    return Scene(name, "test", "main", {modality: f"{name}/image.tif"}, f"{name}/label.tif")


def receipt(folder: Path, scenes: list[Scene]) -> str:
    files = {name: {"size": 0, "sha256": "0"} for entry in scenes for name in entry.files}
    classes = tuple({"name": name, "colour": [value, 0, 0]} for value, name in enumerate(CLASSES))
    Receipt("blobs", "synthetic", "none", None, classes, 255, MODALITIES, CRS, tuple(scenes), files).write(folder)
    return sha256_file(folder / "receipt.json")


def prepared(root: Path, names: tuple[str, ...] = ("test-000",), **changes: Any) -> dict[str, Any]:
    """A plan with weights and scenes in place."""
    folder = root / "data" / "raw" / "blobs"
    digest = receipt(folder, [scene(folder, name) for name in names])
    plan = make_plan(source={"name": "blobs", "folder": "data/raw/blobs", "receipt": digest}, **changes)
    method = build_method(plan, 0, root)
    disperse(method.student)
    save_weights(weights(root), method.student, run_facts(plan))
    return plan


@torch.no_grad()
def disperse(student: Any) -> None:
    """Shift a random student's logits so that every class wins somewhere."""
    classify = student.decoder.classify
    classify.weight *= 100
    classify.bias -= student.eval()(torch.randn(4, 4, 64, 64)).mean(dim=(0, 2, 3))


def weights(root: Path) -> Path:
    return root / "results" / "runs" / "invented" / "seed0" / "model.safetensors"


def maps(root: Path) -> Path:
    return root / "results" / "maps" / "invented" / "seed0"


def test_every_test_scene_becomes_a_georeferenced_map(tmp_path: Path) -> None:
    plan = prepared(tmp_path, names=("test-000", "test-001"))
    predict_run(plan, 0, tmp_path, maps(tmp_path))
    listed = json.loads((maps(tmp_path) / "maps.json").read_text())["scenes"]
    files = {name: {"": listed[name], **{layer: listed[name][layer] for layer in LAYERS}} for name in SIZE}
    for name, layers in files.items():
        for layer, entry in layers.items():
            file = "-".join(filter(None, (name, layer))) + ".tif"
            assert (entry["file"], entry["sha256"]) == (file, sha256_file(maps(tmp_path) / file))
    for name, size in SIZE.items():
        with rasterio.open(maps(tmp_path) / f"{name}.tif") as raster:
            assert raster.shape == size
            assert tuple(raster.transform)[:6] == TRANSFORM
            assert (raster.crs.to_string(), raster.nodata) == (CRS, 255)
            assert raster.colormap(1)[2][:3] == (20, 0, 0)
            labels = raster.read(1)
        assert (labels[3:6, 4:9] == 255).all()
        assert (labels == 255).sum() == 15
        assert len(np.unique(labels)) > 2


def test_one_window_is_the_student_s_own_answer(tmp_path: Path) -> None:
    plan = prepared(tmp_path, names=("test-001",), predict={"window": 25, "overlap": 0, "batch": 1})
    predict_run(plan, 0, tmp_path, maps(tmp_path))
    with rasterio.open(tmp_path / "data/raw/blobs/test-001/image.tif") as raster:
        raw = raster.read()
    facts = MODALITIES["optical"]
    image = (raw - np.array(facts["mean"]).reshape(4, 1, 1)) / np.array(facts["std"]).reshape(4, 1, 1)
    valid = (raw != 0).all(axis=0)
    image = np.pad(np.where(valid, image, 0), ((0, 0), (0, 5), (0, 0)), mode="symmetric")
    student = Mapper.open(plan, weights(tmp_path)).student
    with torch.no_grad():
        logits = full_size(student(torch.from_numpy(image[None]).float()), student.stride, (25, 25))
    expected = np.where(valid, logits.argmax(1)[0, :20].numpy(), 255)
    with rasterio.open(maps(tmp_path) / "test-001.tif") as raster:
        assert (raster.read(1) == expected).mean() > 0.998  # float32 either way: a tie may fall differently


@pytest.mark.parametrize("scales", [[1.0], [0.5, 1.0]])
def test_certainty_and_entropy_lie_beside_the_map(tmp_path: Path, scales: list[float]) -> None:
    settings = {"window": 25, "overlap": 0, "batch": 1, "scales": scales}
    plan = prepared(tmp_path, names=("test-001",), predict=settings)
    predict_run(plan, 0, tmp_path, maps(tmp_path))
    values = {}
    for layer in LAYERS:
        with rasterio.open(maps(tmp_path) / f"test-001-{layer}.tif") as raster:
            assert (raster.shape, tuple(raster.transform)[:6], raster.crs.to_string()) == (SIZE["test-001"], TRANSFORM, CRS)
            assert (raster.nodata, raster.scales, raster.descriptions) == (255, (1 / 254,), (LAYERS[layer],))
            values[layer] = raster.read(1)
    with rasterio.open(maps(tmp_path) / "test-001.tif") as raster:
        missing = raster.read(1) == 255
    certainty, entropy = values["certainty"], values["entropy"]
    assert missing.sum() == 15 and all(((layer == 255) == missing).all() for layer in values.values())
    known = certainty[~missing] / 254
    assert known.min() >= 1 / len(CLASSES) - 1 / 254 and len(np.unique(known)) > 10
    # Between the least and the most entropy that goes with the largest of some probabilities.
    least = np.where(known > 0.5, -known * np.log(known) - (1 - known) * np.log(np.maximum(1 - known, 1e-9)), 0)
    rest = (1 - known) / (len(CLASSES) - 1)
    most = -known * np.log(known) - (1 - known) * np.log(np.maximum(rest, 1e-9))
    shares = entropy[~missing] / 254 * np.log(len(CLASSES))
    assert (shares > least - 0.03).all() and (shares < most + 0.03).all()


class Noted:
    """A student that answers an image with itself, and notes its size."""

    stride = 1

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.seen = tuple(image.shape[-2:])
        return image


@pytest.mark.parametrize(
    ("side", "multiple", "seen"), [(512, 14, 518), (1024, 14, 1022), (21, 14, 28), (20, 14, 14), (5, 14, 14), (20, 0, 20)]
)
def test_a_window_is_shown_at_the_nearest_multiple(side: int, multiple: int, seen: int) -> None:
    student, ramp = Noted(), torch.linspace(-1, 1, side).expand(1, 1, 14, side)
    answer = predict_at_multiple(student, ramp, multiple)
    assert student.seen == (14, seen)
    torch.testing.assert_close(answer, ramp, atol=1e-4, rtol=0)  # corners stay where they are, so a ramp stays a ramp


@pytest.mark.parametrize("change", [{"multiple": 14}, {"blend": "uniform"}])
def test_settings_of_the_public_code_reach_the_maps(tmp_path: Path, change: dict[str, Any]) -> None:
    images = []
    for name, predict in (("a", {}), ("b", change)):
        predict_run(prepared(tmp_path / name, predict=predict), 0, tmp_path / name, maps(tmp_path / name))
        with rasterio.open(maps(tmp_path / name) / "test-000.tif") as raster:
            images.append(raster.read(1))
    assert images[0].shape == images[1].shape and 0 < (images[0] != images[1]).mean() < 0.5
    assert ((images[0] == 255) == (images[1] == 255)).all()


@pytest.mark.parametrize("batch", [1, 3])
def test_the_number_of_windows_at_once_does_not_show(tmp_path: Path, batch: int) -> None:
    images = []
    for root, count in ((tmp_path / "a", 8), (tmp_path / "b", batch)):
        predict_run(prepared(root, predict={"batch": count}), 0, root, maps(root))
        with rasterio.open(maps(root) / "test-000.tif") as raster:
            images.append(raster.read(1))
    assert (images[0] == images[1]).mean() > 0.998


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    plan = prepared(tmp_path)
    digests = []
    for _ in range(2):
        predict_run(plan, 0, tmp_path, maps(tmp_path))
        digests.append((maps(tmp_path) / "maps.json").read_bytes())
    assert digests[0] == digests[1]


def test_a_source_that_changed_is_refused(tmp_path: Path) -> None:
    plan = prepared(tmp_path)
    receipt(tmp_path / "data" / "raw" / "blobs", [scene(tmp_path / "data" / "raw" / "blobs", name) for name in SIZE])
    with pytest.raises(UserError, match="the source has changed since the plan was made"):
        predict_run(plan, 0, tmp_path, maps(tmp_path))
    assert not maps(tmp_path).exists()


def test_weights_with_other_statistics_are_refused(tmp_path: Path) -> None:
    plan = prepared(tmp_path)
    other = MODALITIES | {"optical": MODALITIES["optical"] | {"mean": [0.0] * 4}}
    with pytest.raises(UserError, match="weights were trained with modalities"):
        predict_run(plan | {"modalities": other}, 0, tmp_path, maps(tmp_path))


def test_a_scene_without_the_student_s_input_is_refused(tmp_path: Path) -> None:
    plan = prepared(tmp_path)
    folder = tmp_path / "data" / "raw" / "blobs"
    plan["source"]["receipt"] = receipt(folder, [scene(folder, "test-000", modality="sar")])
    with pytest.raises(UserError, match="has no optical, which the student was trained on; it has sar"):
        predict_run(plan, 0, tmp_path, maps(tmp_path))


def test_a_raster_with_other_bands_is_refused(tmp_path: Path) -> None:
    plan = prepared(tmp_path)
    scene(tmp_path / "data" / "raw" / "blobs", "test-000", bands=3)
    with pytest.raises(UserError, match="has 3 bands, the student reads 4 of optical in reflectance: blue, green, red, nir"):
        predict_run(plan, 0, tmp_path, maps(tmp_path))


def test_only_the_plan_s_domain_is_predicted(tmp_path: Path) -> None:
    plan = prepared(tmp_path)
    with pytest.raises(UserError, match="no test scene in domain elsewhere"):
        predict_run(plan | {"test_domain": "elsewhere"}, 0, tmp_path, maps(tmp_path))
