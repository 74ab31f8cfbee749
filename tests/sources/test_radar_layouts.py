"""SpaceNet 6, SEN12MS and DFC2020 as they are published, with made-up pixels: read with the repository's own settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from georelay.datasets import fake
from georelay.geo.raster import open_grid, read_window
from georelay.params import load_params
from georelay.reading import validated
from georelay.settings.data import Paired
from georelay.sources.catalog import fetch_source
from georelay.sources.receipt import Receipt
from published import REPOSITORY, published

SIDE = 16
NAMES = ("spacenet6", "sen12ms", "dfc2020")
SEN12MS = published("sen12ms")
LABELS = {"spacenet6": "train/*/geojson_buildings/*", "sen12ms": "*/lc_*/*", "dfc2020": "*/dfc_0/*"}


def fetched(folder: Path, name: str) -> Receipt:
    fake(name, folder / "files", np.random.default_rng(0))
    source = published(name) | {"path": str(folder / "files")}
    return fetch_source(name, validated(Paired, source, name), folder)


@pytest.mark.parametrize("name", NAMES)
def test_every_scene_is_read(tmp_path: Path, name: str) -> None:
    receipt, source = fetched(tmp_path, name), published(name)
    left_out = 1 if name == "sen12ms" else 0
    assert len(receipt.scenes) == len(list((tmp_path / "files").glob(LABELS[name]))) - left_out and set(receipt.modalities) == {
        "eo",
        "sar",
    }
    for scene in receipt.scenes:
        for modality, file in scene.images.items():
            assert open_grid(tmp_path / name / file).count == len(source["modalities"][modality]["bands"])
        sar = read_window(tmp_path / name / scene.images["sar"], 0, 0, SIDE, SIDE)
        assert np.isnan(sar[:, :, 0]).all() and np.isfinite(sar[:, :, 1:]).all()
        label = read_window(tmp_path / name / scene.label, 0, 0, SIDE, SIDE)
        assert label[label != source["ignore"]].max() < len(source["classes"])


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
    assert all(tasks[name].inputs == ["sar"] and tasks[name].modalities == ["eo", "sar"] for name in NAMES)
    assert tasks["spacenet6"].align_look and tasks["spacenet6"].split.rule == "eastings"
    assert tasks["spacenet6"].split.buffer >= 900 * 0.5
