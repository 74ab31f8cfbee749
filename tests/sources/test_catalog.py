from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from georelay.errors import UserError
from georelay.files import sha256_file
from georelay.geo.raster import open_grid, read_tags, read_window
from georelay.sources.catalog import fetch_source
from georelay.sources.receipt import Receipt
from georelay.sources.synthetic import scenes


def source(scenery: str = "allweather", **changes: Any) -> SimpleNamespace:
    counts = SimpleNamespace(train=2, val=1, test=1)
    values = {"scenery": scenery, "scenes": counts, "size": 48, "gsd": 4.0, "seed": 3}
    return SimpleNamespace(module=scenes.__name__, **values | changes)


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("scenery", list(scenes.SCENERIES))
def test_rasters_and_receipt_agree(tmp_path: Path, scenery: str) -> None:
    receipt = fetch_source("demo", source(scenery), tmp_path)
    folder = tmp_path / "demo"
    assert Receipt.read(folder) == receipt
    receipt.require(folder)
    assert set(tree(folder)) == {"receipt.json", *receipt.files}
    assert all(tree(folder)[name] == facts["sha256"] for name, facts in receipt.files.items())
    for scene in receipt.scenes:
        label = open_grid(folder / scene.label)
        assert (label.crs, label.dtype, label.nodata, label.count) == (receipt.crs, "uint8", receipt.ignore, 1)
        assert read_tags(folder / scene.label)["class_0"] == receipt.class_names[0]
        for modality, path in scene.images.items():
            grid, facts = open_grid(folder / path), receipt.modalities[modality]
            assert grid.same_as(label)
            assert (grid.count, grid.dtype, grid.nodata) == (len(facts["bands"]), facts["dtype"], facts["nodata"])


def test_same_source_same_bytes_and_another_seed_other_bytes(tmp_path: Path) -> None:
    for root, seed in (("a", 3), ("b", 3), ("c", 4)):
        fetch_source("demo", source(seed=seed), tmp_path / root)
    a, b, c = (tree(tmp_path / root / "demo") for root in "abc")
    assert a == b
    assert not {a[name] for name in a} & {c[name] for name in c}


def test_more_scenes_leave_the_others_as_they_are(tmp_path: Path) -> None:
    few = fetch_source("demo", source("grass"), tmp_path / "a")
    many = fetch_source("demo", source("grass", scenes=SimpleNamespace(train=3, val=2, test=2)), tmp_path / "b")
    assert few.files.items() <= many.files.items()


def test_the_cities_differ_in_pixel_size_and_bands(tmp_path: Path) -> None:
    receipt = fetch_source("demo", source("crosscity"), tmp_path)
    assert receipt.domains == ["source", "target"]
    assert receipt.bands("optical", "source") != receipt.bands("optical", "target")
    sizes = {scene.domain: open_grid(tmp_path / "demo" / scene.label).gsd for scene in receipt.scenes}
    assert sizes == {"source": 4.0, "target": 6.0}


def interrupt(after: int) -> Callable[..., Any]:
    whole, calls = scenes.draw_scene, []

    def draw(*args: Any) -> Any:
        calls.append(args)
        if len(calls) > after:
            raise KeyboardInterrupt
        return whole(*args)

    return draw


def test_an_interrupted_fetch_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_source("demo", source("grass"), tmp_path)
    before = tree(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(scenes, "draw_scene", interrupt(after=2))
        with pytest.raises(KeyboardInterrupt):
            fetch_source("demo", source("grass", seed=8), tmp_path)
    assert tree(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_leftovers_of_a_killed_fetch_are_swept_away(tmp_path: Path) -> None:
    stale = tmp_path / ".demo.partial" / "train-000"
    stale.mkdir(parents=True)
    (stale / "optical.tif").write_bytes(b"half")
    fetch_source("demo", source("grass"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert read_window(tmp_path / "demo/train-000/optical.tif", 0, 0, 48, 48).min() >= 1


def test_an_earlier_fetch_is_replaced_as_a_whole(tmp_path: Path) -> None:
    fetch_source("demo", source("grass", scenes=SimpleNamespace(train=3, val=1, test=1)), tmp_path)
    receipt = fetch_source("demo", source("grass"), tmp_path)
    assert set(tree(tmp_path / "demo")) == {"receipt.json", *receipt.files}


def test_a_full_disk_is_noticed_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match="source demo needs about"):
        fetch_source("demo", source(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_estimate_is_an_upper_bound(tmp_path: Path) -> None:
    for scenery in scenes.SCENERIES:
        receipt = fetch_source(scenery, source(scenery), tmp_path)
        written = sum(facts["size"] for facts in receipt.files.values())
        assert 0.3 < written / scenes.estimate_bytes(source(scenery)) <= 1


def test_an_unknown_scenery_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sea"):
        fetch_source("demo", source("sea"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_masks_matter(tmp_path: Path) -> None:
    receipt = fetch_source("demo", source(scenes=SimpleNamespace(train=8, val=0, test=0)), tmp_path)
    labels = [read_window(tmp_path / "demo" / scene.label, 0, 0, 48, 48) for scene in receipt.scenes]
    assert np.isin(receipt.ignore, labels)
