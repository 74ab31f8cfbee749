"""A folder of the user's own becomes rasters with a receipt, or one message that names the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from georelay.errors import UserError
from georelay.files import sha256_file
from georelay.geo.raster import metres_per_unit, open_grid, read_tags, read_window, write_raster
from georelay.sources import folder as folder_source
from georelay.sources.catalog import fetch_source
from georelay.sources.receipt import Receipt
from published import SIDE, published, save_label, settings, write_layout, write_pair

GRASS, CLOUD = {"train": 4, "val": 2}, {"train": 2, "val": 1, "test": 2}
UTM = {"transform": (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0), "crs": "EPSG:32631"}


@pytest.fixture
def grass(tmp_path: Path) -> Path:
    write_layout(tmp_path / "grass", "ktda-grass", GRASS)
    return tmp_path / "grass"


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def pixels(path: Path) -> np.ndarray:
    grid = open_grid(path)
    return read_window(path, 0, 0, grid.height, grid.width)


@pytest.mark.parametrize(
    ("name", "counts", "splits", "gsd"),
    [
        ("ktda-grass", GRASS, {"train": "train", "test": "val"}, 1.0),
        ("ktda-cloud", CLOUD, {"train": "train", "val": "val", "test": "test"}, 30.0),
    ],
)
def test_published_layouts_become_rasters(
    tmp_path: Path, name: str, counts: dict[str, int], splits: dict[str, str], gsd: float
) -> None:
    source, raw = write_layout(tmp_path / "there", name, counts), tmp_path / name
    receipt = fetch_source(name, settings(name, tmp_path / "there"), tmp_path)
    assert Receipt.read(raw) == receipt
    assert {path: facts["sha256"] for path, facts in receipt.files.items()} == {
        path: digest for path, digest in tree(raw).items() if path != "receipt.json"
    }
    assert [scene.name for scene in receipt.scenes] == [
        f"{split}-piece_{index:02d}" for split, inner in splits.items() for index in range(counts[inner])
    ]
    assert receipt.class_names == [entry["name"] for entry in source["classes"]]
    facts = {"bands": source["bands"], "dtype": "uint8", "scale": 1 / 255, "nodata": None, "unit": "reflectance"}
    assert receipt.modalities == {"optical": facts}
    for scene in receipt.scenes:
        image, label = write_pair(tmp_path / "again", source, splits[scene.split], scene.name.split("-", 1)[1])
        assert np.array_equal(pixels(raw / scene.images["optical"]), np.moveaxis(image, -1, 0))
        assert np.array_equal(pixels(raw / scene.label)[0], label)
        grid = open_grid(raw / scene.label)
        assert (grid.gsd, grid.nodata, grid.crs) == (gsd, 255, receipt.crs)
        assert grid.same_as(open_grid(raw / scene.images["optical"]))
        assert read_tags(raw / scene.label)["class_1"] == receipt.class_names[1]


def test_pixels_of_known_size_lie_in_a_local_frame_and_others_nowhere(tmp_path: Path, grass: Path) -> None:
    nowhere = fetch_source("a", settings("ktda-grass", grass), tmp_path)
    local = fetch_source("b", settings("ktda-grass", grass, gsd=10.0), tmp_path)
    assert nowhere.crs is None
    assert local.crs is not None and local.crs.startswith('LOCAL_CS["No known place on the ground",UNIT["metre",1')
    assert metres_per_unit(local.crs, 80.0) == (1.0, 1.0)


@pytest.mark.parametrize("gsd", [None, 10.0])
def test_scenes_are_laid_far_from_each_other(tmp_path: Path, grass: Path, gsd: float | None) -> None:
    write_pair(grass, published("ktda-grass"), "train", "large", side=2 * SIDE)
    receipt = fetch_source("demo", settings("ktda-grass", grass, gsd=gsd), tmp_path)
    boxes = [open_grid(tmp_path / "demo" / scene.label).bounds for scene in receipt.scenes]
    assert len(boxes) == 7
    for index, (left, bottom, right, top) in enumerate(boxes):
        for other_left, other_bottom, other_right, other_top in boxes[:index]:
            gaps = left - other_right, other_left - right, bottom - other_top, other_bottom - top
            assert max(gaps) >= folder_source.GAP


def place(grass: Path, split: str, stem: str, **where: Any) -> None:
    """Give an image of the layout a place on the ground."""
    path = grass / f"img_dir/{split}/{stem}.tif"
    write_raster(path, pixels(path), **UTM | where, nodata=None)


def test_images_that_lie_somewhere_stay_there(tmp_path: Path, grass: Path) -> None:
    for index, path in enumerate(sorted(grass.glob("img_dir/*/*.tif"))):
        place(grass, path.parent.name, path.stem, transform=(10.0, 0.0, 500_000.0 + 1000 * index, 0.0, -10.0, 4e6))
    receipt = fetch_source("demo", settings("ktda-grass", grass), tmp_path)
    assert receipt.crs == "EPSG:32631"
    lefts = [open_grid(tmp_path / "demo" / scene.label).bounds[0] for scene in receipt.scenes]
    assert lefts == [500_000.0 + 1000 * index for index in range(6)]


def test_equal_files_give_equal_bytes_and_hidden_ones_do_not_count(tmp_path: Path, grass: Path) -> None:
    fetch_source("demo", settings("ktda-grass", grass), tmp_path / "a")
    (grass / "img_dir/train/._piece_00.tif").write_bytes(b"a Mac was here")
    fetch_source("demo", settings("ktda-grass", grass), tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def spoil_value(grass: Path) -> None:
    label = np.zeros((SIDE, SIDE), np.uint8)
    label[3, 4] = 7
    save_label(grass / "ann_dir/val/piece_01.png", label, published("ktda-grass"))


def spoil_size(grass: Path) -> None:
    save_label(grass / "ann_dir/train/piece_02.png", np.zeros((SIDE, SIDE - 1), np.uint8), published("ktda-grass"))


def spoil_bands(grass: Path) -> None:
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(grass / "img_dir/train/piece_03.tif")


def spoil_type(grass: Path) -> None:
    path = grass / "img_dir/train/piece_03.tif"
    write_raster(path, pixels(path).astype(np.uint16), transform=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), crs=None, nodata=None)


def spoil_colours(grass: Path) -> None:
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(grass / "ann_dir/val/piece_00.png")


def spoil_place(grass: Path) -> None:
    place(grass, "val", "piece_00")


def spoil_label_place(grass: Path) -> None:
    for path in grass.glob("img_dir/*/*.tif"):
        place(grass, path.parent.name, path.stem)
    moved = UTM | {"transform": (10.0, 0.0, 500_010.0, 0.0, -10.0, 4_000_000.0)}
    (grass / "ann_dir/train/piece_01.png").unlink()
    target = grass / "ann_dir/train/piece_01.tif"
    write_raster(target, np.zeros((1, SIDE, SIDE), np.uint8), **moved, nodata=None)
    target.rename(target.with_suffix(".png"))  # GDAL goes by content


def spoil_names(grass: Path) -> None:
    for name in ("img_dir/train/deep/piece_00.tif", "img_dir/train/piece_00.tif"):
        (grass / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(grass / name)


WRONG: list[tuple[Callable[[Path], Any], str, str]] = [
    (lambda grass: (grass / "ann_dir/train/piece_01.png").unlink(), "img_dir/train/piece_01.tif", "has no label"),
    (lambda grass: (grass / "img_dir/val/piece_01.tif").unlink(), "ann_dir/val/piece_01.png", "has no image"),
    (spoil_value, "ann_dir/val/piece_01.png", r"label value 7 is not in the class list: 5 classes \(0 to 4\), ignore 255"),
    (spoil_size, "ann_dir/train/piece_02.png", "has 31 x 32 pixels, its image 32 x 32"),
    (spoil_bands, "img_dir/train/piece_03.tif", "has 1 bands, not 3: red, green, blue"),
    (spoil_type, "img_dir/train/piece_03.tif", "is of uint16, but .* of uint8"),
    (spoil_colours, "ann_dir/val/piece_00.png", "labels must be one band of integers, not 3"),
    (spoil_place, "img_dir/val/piece_00.tif", "has CRS EPSG:32631, but .* None"),
    (spoil_label_place, "ann_dir/train/piece_01.png", "does not lie on the grid of"),
    (lambda grass: (grass / "img_dir/train/piece_02.tif").write_bytes(b"no"), "img_dir/train/piece_02.tif", "not a readable"),
]


@pytest.mark.parametrize(("spoil", "file", "words"), WRONG)
def test_what_is_wrong_is_found_before_anything_is_written(
    tmp_path: Path, grass: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], Any], file: str, words: str
) -> None:
    spoil(grass)
    monkeypatch.setattr(folder_source, "write_raster", lambda *_, **__: pytest.fail("written"))
    with pytest.raises(UserError, match=words) as caught:
        fetch_source("demo", settings("ktda-grass", grass), tmp_path / "raw")
    assert caught.value.where == str(grass / file)
    assert list(tmp_path.glob("raw/*")) == list(tmp_path.glob("raw/.*")) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"splits": {"train": "train", "val": "val", "test": "val"}}, "is for val and for test"),
        ({"ignore": 4}, "sources.demo.ignore: 4 is the value of a class"),
        ({"nodata": -9999.0}, "sources.demo.nodata: -9999 is no value of uint8"),
        ({"splits": {"train": "train", "val": None, "test": "test"}}, r"img_dir/test/\*.tif: no image for split test"),
        ({"images": "img_dir/{split}/**/*.tif"}, "has the same name as"),
    ],
)
def test_settings_that_do_not_fit_the_files(tmp_path: Path, grass: Path, changes: dict[str, Any], words: str) -> None:
    if "images" in changes:
        spoil_names(grass)
    with pytest.raises(UserError) as caught:
        fetch_source("demo", settings("ktda-grass", grass, **changes), tmp_path / "raw")
    assert re.search(words, str(caught.value)), str(caught.value)


def test_a_missing_folder_says_what_to_download_and_how_it_must_lie(tmp_path: Path) -> None:
    there = tmp_path / "data/ktda/grass"
    with pytest.raises(UserError, match="folder is missing") as caught:
        fetch_source("demo", settings("ktda-grass", there), tmp_path / "raw")
    url = "https://huggingface.co/datasets/XavierJiezou/ktda-datasets/resolve/main/grass.zip"
    assert caught.value.where == str(there)
    assert caught.value.hint == (
        f"download {url}, and unpack it so that {there}/img_dir/train/*.tif and {there}/ann_dir/train/*.png are found"
    )


def test_an_interrupted_fetch_leaves_what_was_there(tmp_path: Path, grass: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_source("demo", settings("ktda-grass", grass), tmp_path / "raw")
    before = tree(tmp_path / "raw")
    whole, written = folder_source.write_raster, []

    def stop(path: Path, *args: Any, **facts: Any) -> None:
        written.append(path)
        if len(written) > 3:
            raise KeyboardInterrupt
        whole(path, *args, **facts)

    write_pair(grass, published("ktda-grass"), "train", "one-more")
    monkeypatch.setattr(folder_source, "write_raster", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch_source("demo", settings("ktda-grass", grass), tmp_path / "raw")
    assert len(written) == 4 and tree(tmp_path / "raw") == before
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["demo"]


def test_the_estimate_is_an_upper_bound_even_of_noise(tmp_path: Path, grass: Path) -> None:
    rng = np.random.default_rng(0)
    for path in grass.glob("img_dir/*/*.tif"):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)).save(path)
    source = settings("ktda-grass", grass)
    receipt = fetch_source("demo", source, tmp_path)
    assert 0.3 < sum(facts["size"] for facts in receipt.files.values()) / folder_source.estimate_bytes(source) <= 1
