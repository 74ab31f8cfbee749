"""SpaceNet 6, SEN12MS and DFC2020 as they are published, with made-up pixels: read with the repository's own settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from georelay.geo.raster import open_grid, read_window, write_raster
from georelay.params import load_params
from georelay.reading import validated
from georelay.settings.data import Paired
from georelay.sources.catalog import fetch_source
from georelay.sources.receipt import Receipt
from published import REPOSITORY, published

SIDE = 8
STRIPS = ("20190804111224_20190804111453", "20190822065725_20190822065959")
SN6 = "SN6_Train_AOI_11_Rotterdam"
SEN12MS = published("sen12ms")
LISTED = {
    key: [entry.removesuffix("_p*") for part in ("val", "test") for entry in SEN12MS["splits"][part][key]]
    for key in SEN12MS["domains"]
}
FILES: dict[str, list[dict[str, str]]] = {
    "spacenet6": [
        {
            "eo": f"PS-RGBNIR/{SN6}_PS-RGBNIR_{strip}_tile_{number}.tif",
            "sar": f"SAR-Intensity/{SN6}_SAR-Intensity_{strip}_tile_{number}.tif",
            "label": f"geojson_buildings/{SN6}_Buildings_{strip}_tile_{number}.geojson",
        }
        for number, strip in enumerate(STRIPS)
    ],
    "sen12ms": [
        {kind: f"{season}/{short}_{place}/{season}_{short}_{place}_p202.tif" for kind, short in SHORT}
        for SHORT in [(("sar", "s1"), ("eo", "s2"), ("label", "lc"))]
        for key, season in SEN12MS["domains"].items()
        for place in {*LISTED[key], "7", "146"}
    ],
    "dfc2020": [
        {kind: f"{part}/{short}_0/{part}_{short}_0_p{patch}.tif" for kind, short in SHORT}
        for SHORT in [(("sar", "s1"), ("eo", "s2"), ("label", "dfc"))]
        for part, patch in (("ROIs0000_test", 609), ("ROIs0000_test", 3), ("ROIs0000_validation", 5))
    ],
}


def write_files(folder: Path, name: str) -> dict[str, Any]:
    """A data set's files; its settings."""
    source = published(name)
    for number, scene in enumerate(FILES[name]):
        place = {"transform": (10.0, 0.0, 500_000.0 + 1000 * number, 0.0, -10.0, 4e6), "crs": f"EPSG:3263{1 + number % 2}"}
        place |= {"crs": "EPSG:32631"} if name == "spacenet6" else {}
        for kind, file in scene.items():
            if file.endswith(".geojson"):
                write_footprint(folder / file, 500_000.0 + 1000 * number)
                continue
            write_raster(folder / file, pixels(name, kind, number, source), **place, nodata=None)
    (folder / "SummaryData").mkdir()
    (folder / "SummaryData/SAR_orientations.txt").write_text(f"{STRIPS[0]} 0\n{STRIPS[1]} 1\n")
    return source


def write_footprint(path: Path, left: float) -> None:
    """A house of two by three pixels, in the upper left corner, as SpaceNet writes it."""
    ring = [[left, 4e6], [left + 30, 4e6], [left + 30, 4e6 - 20], [left, 4e6 - 20], [left, 4e6]]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    house = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [house]}))


def pixels(name: str, kind: str, number: int, source: dict[str, Any]) -> np.ndarray:
    rng = np.random.default_rng(number)
    if kind == "label":
        known = [entry.get("value", place) for place, entry in enumerate(source["classes"])]
        label = rng.choice(known, (1, SIDE, SIDE)).astype(np.uint8)
        return np.concatenate([label, label + 100]) if name == "sen12ms" else label
    bands = len(source["modalities"][kind]["bands"])
    if kind == "eo":
        return rng.integers(1, 9000, (bands, SIDE, SIDE)).astype(np.uint16)
    image = rng.normal(-12, 3, (bands, SIDE, SIDE)).astype(np.float32)
    image[:, :, 0] = 0 if name == "spacenet6" else np.nan
    return image


def fetched(folder: Path, name: str) -> Receipt:
    source = write_files(folder / "files", name) | {"path": str(folder / "files")}
    return fetch_source(name, validated(Paired, source, name), folder)


@pytest.mark.parametrize("name", FILES)
def test_every_scene_is_read(tmp_path: Path, name: str) -> None:
    receipt, source = fetched(tmp_path, name), published(name)
    left_out = 1 if name == "sen12ms" else 0
    assert len(receipt.scenes) == len(FILES[name]) - left_out and set(receipt.modalities) == {"eo", "sar"}
    for scene in receipt.scenes:
        for modality, file in scene.images.items():
            assert open_grid(tmp_path / name / file).count == len(source["modalities"][modality]["bands"])
        sar = read_window(tmp_path / name / scene.images["sar"], 0, 0, SIDE, SIDE)
        assert np.isnan(sar[:, :, 0]).all() and np.isfinite(sar[:, :, 1:]).all()
        label = read_window(tmp_path / name / scene.label, 0, 0, SIDE, SIDE)
        assert label.max() < len(source["classes"])


def test_seasons_are_split_by_their_places(tmp_path: Path) -> None:
    receipt = fetched(tmp_path, "sen12ms")
    for season in receipt.domains:
        found = {split: {scene.name for scene in receipt.select(split, season)} for split in ("train", "val", "test")}
        for split in ("val", "test"):
            listed = SEN12MS["splits"][split][season]
            assert found[split] == {f"{split}-{season}-{entry.replace('*', '202')}" for entry in listed}
        # What no list names is trained on, but for the damaged one; 146 is tested on in spring and in winter.
        rest = {"7", "146"} if season == "fall" else {"7"}
        assert found["train"] == {f"train-{season}-{place}_p202" for place in rest}
    splits = SEN12MS["splits"]
    assert sum(len(part) for part in splits["test"].values()) == 26 and sum(len(part) for part in splits["val"].values()) == 25


def test_strips_have_their_looks(tmp_path: Path) -> None:
    assert [scene.look for scene in fetched(tmp_path, "spacenet6").scenes] == [0, 1]


def test_their_tasks_show_a_student_radar_alone() -> None:
    tasks = load_params(REPOSITORY / "params.yaml").tasks
    assert all(tasks[name].inputs == ["sar"] and tasks[name].modalities == ["eo", "sar"] for name in FILES)
    assert tasks["spacenet6"].align_look and tasks["spacenet6"].split.rule == "eastings"
    assert tasks["spacenet6"].split.buffer >= 900 * 0.5
