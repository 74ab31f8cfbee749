"""Images of several sensors for each label: one grid or a message, power in dB, and margins that no band saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from georelay.errors import UserError
from georelay.geo.raster import open_grid, read_tags, read_window, write_raster
from georelay.reading import validated
from georelay.settings.data import Paired
from georelay.sources import folder as folder_source
from georelay.sources.catalog import fetch_source
from georelay.sources.receipt import Receipt

SIDE = 24
NAMES = ("2019a_tile_1", "2019b_tile_1", "2019a_tile_2")
CLASSES = [{"name": "ground", "colour": [0, 0, 0]}, {"name": "building", "colour": [255, 0, 0]}]
EO = {"images": "eo/city_EO_*.tif", "bands": ["red", "nir"], "unit": "reflectance", "scale": 1e-4, "nodata": 0}
SAR = {"images": "sar/city_SAR_*.tif", "bands": ["vv", "vh"], "unit": "power", "scale": 1.0, "nodata": None, "floor_db": -30.0}


def transform(index: int, pixel: float = 0.5) -> tuple[float, float, float, float, float, float]:
    return (pixel, 0.0, 500_000.0 + 100 * index, 0.0, -pixel, 4_000_000.0)


def pixels(kind: str, index: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    if kind == "label":
        return rng.integers(0, 2, (1, SIDE, SIDE)).astype(np.uint8)
    if kind == "eo":
        return rng.integers(1, 9000, (2, SIDE, SIDE)).astype(np.uint16)
    power = rng.exponential(1.0, (2, SIDE, SIDE)).astype(np.float32)
    power[:, :, :3] = 0  # a margin
    power[0, 5, 5] = 0  # one band alone: very dark, but seen
    power[1, 6, 6] = 1e-9
    return power


def save(folder: Path, kind: str, index: int, array: np.ndarray | None = None, **where: Any) -> Path:
    path = folder / kind / f"city_{kind.upper() if kind != 'label' else 'mask'}_{NAMES[index]}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"transform": transform(index), "crs": "EPSG:32631"} | where
    write_raster(path, pixels(kind, index) if array is None else array, **place, nodata=None)
    return path


def settings(folder: Path, sar: dict[str, Any] | None = None, **changes: Any) -> Paired:
    values = {
        "kind": "paired",
        "path": str(folder),
        "modalities": {"eo": EO, "sar": SAR | (sar or {})},
        "labels": "label/city_mask_*.tif",
        "splits": None,
        "gsd": None,
        "classes": CLASSES,
        "ignore": 255,
        "licence": "none",
        "url": None,
    }
    checked: Paired = validated(Paired, values | changes, "sources.city")
    return checked


@pytest.fixture
def city(tmp_path: Path) -> Path:
    for index in range(len(NAMES)):
        for kind in ("eo", "sar", "label"):
            save(tmp_path / "files", kind, index)
    return tmp_path / "files"


def read(path: Path) -> np.ndarray:
    return read_window(path, 0, 0, SIDE, SIDE)


def test_every_scene_has_an_image_of_each_sensor(tmp_path: Path, city: Path) -> None:
    receipt = fetch_source("city", settings(city), tmp_path)
    assert receipt.kind == "paired" and Receipt.read(tmp_path / "city") == receipt
    assert {scene.name: dict(scene.images) for scene in receipt.scenes} == {
        name: {"eo": f"{name}/eo.tif", "sar": f"{name}/sar.tif"} for name in NAMES
    }
    assert receipt.modalities == {
        "eo": {"bands": ["red", "nir"], "dtype": "uint16", "scale": 1e-4, "nodata": 0, "unit": "reflectance"},
        "sar": {"bands": ["vv", "vh"], "dtype": "float32", "scale": 1.0, "nodata": None, "unit": "dB"},
    }
    for index, name in enumerate(NAMES):
        assert np.array_equal(read(tmp_path / "city" / name / "eo.tif"), pixels("eo", index))
        assert open_grid(tmp_path / "city" / name / "sar.tif").transform == transform(index)
        assert read_tags(tmp_path / "city" / name / "sar.tif")["unit"] == "dB"


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_power_becomes_decibels_and_margins_nothing(tmp_path: Path, city: Path, scale: float) -> None:
    fetch_source("city", settings(city, {"scale": scale}), tmp_path)
    power, stored = pixels("sar", 0) * scale, read(tmp_path / "city" / NAMES[0] / "sar.tif")
    assert np.isnan(stored[:, :, :3]).all() and not np.isnan(stored[:, :, 3:]).any()
    assert (stored[0, 5, 5], stored[1, 6, 6]) == (-30.0, -30.0)
    strong = power > 1e-3
    np.testing.assert_allclose(stored[strong], 10 * np.log10(power[strong]), rtol=1e-6, atol=1e-5)


def test_nodata_of_one_band_is_nodata_of_the_pixel(tmp_path: Path, city: Path) -> None:
    power = pixels("sar", 1)
    power[1, 8, 9] = -9999
    save(city, "sar", 1, power)
    fetch_source("city", settings(city, {"nodata": -9999.0}), tmp_path)
    stored = read(tmp_path / "city" / NAMES[1] / "sar.tif")
    assert np.isnan(stored[:, 8, 9]).all() and np.isnan(stored).sum() == 2 * (3 * SIDE + 1)


def test_blank_decibels_become_nothing_and_a_zero_of_one_band_stays(tmp_path: Path, city: Path) -> None:
    fetch_source("city", settings(city, {"unit": "dB", "floor_db": None, "blank": 0.0}), tmp_path)
    raw, stored = pixels("sar", 0), read(tmp_path / "city" / NAMES[0] / "sar.tif")
    assert np.isnan(stored[:, :, :3]).all() and np.array_equal(stored[:, :, 3:], raw[:, :, 3:]) and stored[0, 5, 5] == 0


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"transform": transform(1, 2.0)}, "transform"),
        ({"crs": "EPSG:32632"}, "CRS EPSG:32632 against EPSG:32631"),
        ({"array": np.ones((2, SIDE // 4, SIDE // 4), np.float32), "transform": transform(1, 2.0)}, "size 6 x 6 against 24 x 24"),
    ],
)
def test_another_grid_is_refused_by_its_file(
    tmp_path: Path, city: Path, monkeypatch: pytest.MonkeyPatch, where: dict[str, Any], words: str
) -> None:
    path = save(city, "sar", 1, **where)
    monkeypatch.setattr(folder_source, "write_raster", lambda *_, **__: pytest.fail("written"))
    with pytest.raises(UserError, match=words) as caught:
        fetch_source("city", settings(city), tmp_path / "raw")
    assert caught.value.where == str(path) and "coarser ones are not resampled here" in str(caught.value.hint)


@pytest.mark.parametrize(("shift", "taken"), [(0.04, True), (0.06, False)])
def test_a_hundredth_of_a_pixel_is_no_other_place(tmp_path: Path, city: Path, shift: float, taken: bool) -> None:
    pixel, *rest = transform(1)
    rest[1] += shift * pixel
    save(city, "sar", 1, transform=(pixel, *rest))
    if taken:
        fetch_source("city", settings(city), tmp_path / "raw")
        assert open_grid(tmp_path / "raw/city" / NAMES[1] / "sar.tif").transform == transform(1), "all lie where the first does"
    else:
        with pytest.raises(UserError, match="does not lie on the grid"):
            fetch_source("city", settings(city), tmp_path / "raw")


@pytest.mark.parametrize(("kind", "word"), [("sar", "sar image"), ("eo", "eo image"), ("label", "label")])
def test_what_is_missing_is_named(tmp_path: Path, city: Path, kind: str, word: str) -> None:
    save(city, kind, 2).unlink()
    with pytest.raises(UserError, match=f"{NAMES[2]}.tif: has no {word}"):
        fetch_source("city", settings(city), tmp_path / "raw")


@pytest.mark.parametrize(
    ("sar", "words"),
    [
        ({"floor_db": None}, "modalities.sar.floor_db: is missing"),
        ({"unit": "dB"}, "modalities.sar.floor_db: is of no use with unit dB"),
        ({"images": "none/*.tif"}, r"none/\*.tif: no sar image"),
        ({"bands": ["vv"]}, "has 2 bands, not 1: vv"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, city: Path, sar: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        fetch_source("city", settings(city, sar), tmp_path / "raw")


def test_strips_tell_the_look_of_their_scenes(tmp_path: Path, city: Path) -> None:
    (city / "looks.txt").write_text("2019a 0\n2019b 1\n")
    receipt = fetch_source("city", settings(city, looks="looks.txt"), tmp_path)
    assert {scene.name: scene.look for scene in receipt.scenes} == dict(zip(NAMES, (0, 1, 0), strict=True))
    assert Receipt.read(tmp_path / "city") == receipt


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2019a 0\n", "2019b_tile_1.tif: is of no strip that is listed"),
        ("2019a,0\n2019b,2\n", r'line 2: "2019b,2" is no strip with 0 or 1'),
        ("2019a 0\n2019b 1\n2019a 1\n", "line 3: strip 2019a has two looks"),
        ("2019a 0\n2019b 1\ntile_1 0\n", "is of 2019b and tile_1, which look from two sides"),
        (None, "looks.txt: list of looks is missing"),
    ],
)
def test_a_list_of_looks_that_does_not_fit(tmp_path: Path, city: Path, text: str | None, words: str) -> None:
    if text is not None:
        (city / "looks.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        fetch_source("city", settings(city, looks="looks.txt"), tmp_path / "raw")


@pytest.mark.parametrize("left_out", [None, ["2019b_*"]])
def test_lists_may_name_many_scenes_and_the_rest(tmp_path: Path, city: Path, left_out: list[str] | None) -> None:
    splits = {"train": ["*"], "val": None, "test": ["*_tile_2"]}
    receipt = fetch_source("city", settings(city, splits=splits, left_out=left_out), tmp_path)
    rest = ["train-2019a_tile_1"] + (["train-2019b_tile_1"] if left_out is None else [])
    assert [scene.name for scene in receipt.scenes] == [*rest, "test-2019a_tile_2"]


def test_an_entry_that_names_nothing_is_refused(tmp_path: Path, city: Path) -> None:
    with pytest.raises(UserError, match=r'no image of scene "2020_\*", listed in splits.test of domain main'):
        fetch_source("city", settings(city, splits={"train": ["*"], "val": None, "test": ["2020_*"]}), tmp_path / "raw")


def test_scenes_in_several_zones_are_laid_side_by_side_where_pixels_have_a_size(tmp_path: Path, city: Path) -> None:
    for kind in ("eo", "sar", "label"):
        save(city, kind, 2, crs="EPSG:32632")
    with pytest.raises(UserError, match="has CRS EPSG:32632"):
        fetch_source("city", settings(city), tmp_path / "raw")
    receipt = fetch_source("city", settings(city, gsd=0.5), tmp_path)
    boxes = [open_grid(tmp_path / "city" / scene.label).bounds for scene in receipt.scenes]
    assert receipt.crs == folder_source.UNPLACED and len({box[:2] for box in boxes}) == 3


def test_labels_may_be_one_band_of_several(tmp_path: Path, city: Path) -> None:
    for index in range(3):
        save(city, "label", index, np.concatenate([np.full((1, SIDE, SIDE), 77, np.uint8), pixels("label", index)]))
    fetch_source("city", settings(city, labels_band=2), tmp_path)
    assert np.array_equal(read_window(tmp_path / "city" / NAMES[1] / "label.tif", 0, 0, SIDE, SIDE), pixels("label", 1))
    with pytest.raises(UserError, match="labels must be integers in band 3, not 2 bands"):
        fetch_source("city", settings(city, labels_band=3), tmp_path / "raw")
