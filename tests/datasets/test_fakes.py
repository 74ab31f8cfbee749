"""Every public data set in miniature: the made-up files of the published layout are fetched, converted and tiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from georelay.datasets import dataset, fake, names
from georelay.geo.raster import open_grid, write_raster
from georelay.reading import validated
from georelay.settings.data import Folder, Paired, Task
from georelay.sources.catalog import fetch_source
from georelay.sources.encoding import check_kind, read_classes
from georelay.sources.receipt import Receipt
from georelay.tiles.write import write_tiles

TILE = 16
POOL = {"rule": "scenes", "fractions": {"train": 0.5, "val": 0.0, "test": 0.5}, "seed": 1, "buffer": 0.0}
TWO_BANDS = {"sen12ms": 90}  # what the second band of its label files holds, which is another legend


def source_of(name: str, folder: Path) -> Any:
    described = dict(dataset(name).settings) | {"path": str(folder)}
    return validated({"folder": Folder, "paired": Paired}[described["kind"]], described, name)


def task_of(name: str, source: Any) -> Any:
    modalities = list(source.imagery)
    split = {"rule": "scene", "buffer": 0.0} if source.splits else POOL
    facts = {"source": name, "modalities": modalities, "tile": TILE, "stride": TILE, "edges": "pad", "split": split}
    facts |= {"compression": "none", "inputs": modalities, "labels": None, "train_domain": None, "test_domain": None}
    return validated(Task, facts, name)


@pytest.mark.parametrize("name", names())
def test_a_data_set_in_miniature_is_fetched_and_tiled(tmp_path: Path, name: str) -> None:
    fake(name, tmp_path / "files", np.random.default_rng(0))
    source = source_of(name, tmp_path / "files")
    receipt = fetch_source(name, source, tmp_path / "raw")
    assert Receipt.read(tmp_path / "raw" / name) == receipt
    assert receipt.licence == dataset(name).licence and receipt.domains == list(source.domains or ["main"])
    card = write_tiles(
        receipt, tmp_path / "raw" / name, name, task_of(name, source), tmp_path / "x.zarr.zip", memory_mb=64, workers=1
    )
    counts = {split: np.array(card["class_counts"][split]) for split in ("train", "test")}
    for split, found in counts.items():
        assert found.shape == (len(source.classes),) and (found > 0).all(), f"{split} lacks a class"


@pytest.mark.parametrize("name", names())
def test_the_same_seed_writes_the_same_files(tmp_path: Path, name: str) -> None:
    if name in ("isprs-rgb", "isprs-irrg", "sen12ms"):
        pytest.skip("many files, made as the others are")
    for folder in ("a", "b"):
        fake(name, tmp_path / folder, np.random.default_rng(3))
    first, second = (
        {path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*") if path.is_file()}
        for folder in ("a", "b")
    )
    assert first == second and len(first) >= 6


# Of each data set pixels of a label file, and the classes that they are; None is no class.
PIXELS: dict[str, dict[Any, str | None]] = {
    "ktda-grass": {0: "low", 3: "middle-high", 4: "high", 255: None},
    "ktda-cloud": {0: "clear", 1: "cloud shadow", 2: "thin cloud", 3: "cloud"},
    "loveda": {0: None, 1: "background", 4: "water", 7: "agriculture"},
    "potsdam": {(255, 255, 0): "car", (255, 255, 255): "impervious surface", (255, 0, 0): "clutter"},
    "vaihingen": {(0, 255, 255): "low vegetation", (0, 0, 255): "building", (0, 255, 0): "tree"},
    "deepglobe": {(0, 255, 255): "urban", (255, 0, 255): "rangeland", (0, 0, 0): "unknown"},
    "isprs-irrg": {(255, 255, 0): "car", (0, 0, 0): None},
    "isprs-rgb": {(0, 255, 0): "tree", (0, 0, 0): None},
    "sen12ms": {1: "forest", 5: "forest", 7: "shrubland", 9: "savanna", 14: "cropland", 17: "water", 0: None, 99: None},
    "dfc2020-bench": {0: None, 3: "savanna", 10: "water"},
    "dfc2020": {0: None, 1: "forest", 6: "cropland", 8: "snow and ice", 10: "water"},
    "l8-biome": {0: None, 64: "cloud shadow", 128: "clear", 192: "thin cloud", 255: "cloud"},
    "cloudsen12": {0: "clear", 1: "thick cloud", 2: "thin cloud", 3: "cloud shadow"},
    "sen1floods11": {-1: None, 0: "land", 1: "water"},
    "openearthmap": {0: None, 1: "bareland", 4: "road", 8: "building"},
    "whu-opt-sar": {0: None, 10: "farmland", 40: "water", 70: "others"},
    "hot-fair": {0: "ground", 1: "building", 255: "building"},
}


def test_every_data_set_has_its_pixels() -> None:
    polygons = {name for name in names() if dataset(name).source.get("labels_as") == "polygons"}
    assert set(PIXELS) | polygons == set(names())


@pytest.mark.parametrize("name", PIXELS)
def test_labels_become_the_right_classes(tmp_path: Path, name: str) -> None:
    source, raw = source_of(name, tmp_path), np.array(list(PIXELS[name]))
    label = raw.T[:, None] if source.labels_as == "colour" else raw[None, None]
    if name in TWO_BANDS:
        label = np.concatenate([label, np.full_like(label, TWO_BANDS[name])])
    path = tmp_path / "label.tif"
    pixels = label.astype(np.int16 if label.min() < 0 else np.uint8)
    write_raster(path, pixels, transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0), crs=None, nodata=None)
    grid = open_grid(path)
    check_kind(path, grid, source)
    listed = [entry.name for entry in source.classes]
    found = [None if value == source.ignore else listed[value] for value in read_classes(path, grid, source)[0]]
    assert found == list(PIXELS[name].values())
