"""A folder of the user's own goes through every stage: files in a published layout to maps and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from georelay.files import read_json
from georelay.geo.raster import open_grid, read_tags
from georelay.reading import load_yaml
from georelay.sources.folder import UNPLACED
from published import REPOSITORY, SIDE, write_layout
from workshop import STUDENT, TRAINING, Workshop

NAME = "ktda-grass"


def make_workshop(folder: Path, gsd: float | None) -> Workshop:
    """The repository's own settings of the data set, made small, over twelve made-up tiles."""
    values = load_yaml(REPOSITORY / "params.yaml")
    source, task = write_layout(folder / "data/ktda/grass", NAME, {"train": 8, "val": 4}), values["tasks"][NAME]
    values["defaults"]["train"] |= TRAINING | {"steps": 2, "evaluate_every": 1}
    values["defaults"]["model"] |= STUDENT
    values["reference"]["studies"] = ["own"]
    values["compare"]["gaps"] = {}
    values |= {"sources": {NAME: source | {"gsd": gsd}}, "teachers": {}}
    values["tasks"] = {NAME: task | {"tile": SIDE, "stride": SIDE, "split": {"rule": "scene", "buffer": 100.0}}}
    values["experiments"] = {"own": {"study": "own", "method": "supervised", "task": NAME, "why": "a test"}}
    lists = {"sources": [NAME], "tasks": [NAME], "studies": ["own"], "experiments": ["own"]}
    values["active"] = lists | {"teachers": [], "features": {}, "seeds": [0]}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return Workshop(folder)


@pytest.mark.parametrize(("gsd", "crs"), [(None, None), (10.0, UNPLACED)])
def test_from_files_to_scores(tmp_path: Path, gsd: float | None, crs: str | None) -> None:
    workshop = make_workshop(tmp_path, gsd)
    for words in (("fetch", NAME), ("tile", NAME), ("plan", "own"), ("train", "own", "0"), ("predict", "own", "0")):
        workshop.run(*words)
    card = workshop.card("tiles", NAME)
    assert {name: part["count"] for name, part in card["splits"].items()} == {"train": 8, "val": 0, "test": 4}
    assert card["crs"] == crs and card["dropped"]["buffer"] == {"train": 0, "val": 0, "test": 0}
    raw, maps = tmp_path / "data/raw" / NAME, tmp_path / "results/maps/own/seed0"
    names = [f"test-piece_{index:02d}" for index in range(4)]
    assert sorted(read_json(maps / "maps.json")["scenes"]) == names
    for name in names:
        grid, path = open_grid(maps / f"{name}.tif"), raw / name / "label.tif"
        assert (grid.crs, grid.difference(open_grid(path))) == (crs, "")
        assert read_tags(maps / f"{name}.tif")["class_4"] == "high"
    workshop.run("evaluate", "own", "0")
    scores = read_json(tmp_path / "results/scores/own/seed0.json")
    assert scores["pixels"] == 4 * SIDE * SIDE and np.isfinite(scores["miou"])


def test_the_users_files_are_not_kept_a_second_time_and_changes_are_seen(tmp_path: Path) -> None:
    workshop = make_workshop(tmp_path, None)
    workshop.run("fetch", NAME)
    assert not list((tmp_path / "cache").rglob("*"))
    receipt = (tmp_path / "data/raw" / NAME / "receipt.json").read_bytes()
    label = tmp_path / "data/ktda/grass/ann_dir/val/piece_00.png"
    label.write_bytes((label.parent / "piece_01.png").read_bytes())
    workshop.run("fetch", NAME)
    assert (tmp_path / "data/raw" / NAME / "receipt.json").read_bytes() != receipt


def test_what_is_wrong_with_the_files_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workshop = make_workshop(tmp_path, None)
    (tmp_path / "data/ktda/grass/ann_dir/val/piece_00.png").unlink()
    workshop.run("fetch", NAME, expect=2)
    assert "data/ktda/grass/img_dir/val/piece_00.tif: has no label" in capsys.readouterr().err
    assert not (tmp_path / "data/raw" / NAME).exists()
