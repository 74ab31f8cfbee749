"""LoveDA, Potsdam and DeepGlobe as they are published, with made-up pixels: read, encoded, split by tiles and by scenes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from georelay.datasets import fake
from georelay.errors import UserError
from georelay.files import read_json
from georelay.geo.raster import open_grid, read_window
from georelay.reading import load_yaml
from georelay.sources.catalog import fetch_source
from georelay.sources.receipt import Receipt
from georelay.tiles.read import TileStore
from published import REPOSITORY, published, settings
from workshop import STUDENT, TRAINING, Workshop

TILE = 32
# Sides as awkward as the real ones: two tiles, or two and a piece.
SIDES = {"loveda": 64, "potsdam": 80, "deepglobe": 70}
LABELS = {"loveda": "*/*/masks_png/*.png", "potsdam": "5_Labels_all/*.tif", "deepglobe": "data/*/masks/*.png"}
SCENES = {
    "loveda": {"train-rural-0", "train-urban-1366", "test-rural-2525", "test-urban-3514"},
    "potsdam": {"2_10", "7_13"},
    "deepglobe": {"119", "855"},
}
COUNTS = {
    "loveda-tiles": (20, 14, 14),  # 16 and 12 tiles of the two domains are held out: 8 + 6 each
    "loveda-scenes": (20, 12, 16),  # 4 and 3 scenes: 2 + 1 and 2 + 2 of 4 tiles
    "potsdam-tiles": (27, 9, 9),  # of 5 x 9
    "potsdam-scenes": (27, 9, 9),
    "deepglobe-tiles": (21, 7, 8),  # int(0.6 x 36), int(0.2 x 36), the rest
    "deepglobe-scenes": (18, 9, 9),
}


def write_data_set(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Every file of a layout; the classes [y, x] of each label file by its name, 255 where nothing is labelled."""
    fake(name, folder, np.random.default_rng(0))
    return {path.name: decoded(np.array(Image.open(path)), name) for path in folder.glob(LABELS[name])}


def decoded(pixels: np.ndarray, name: str) -> np.ndarray:
    """Labels as their publishers have them: LoveDA's from 1, with 0 for no data; the others' as colours."""
    if name == "loveda":
        return np.where(pixels == 0, 255, pixels - 1)
    colours = np.array([entry["colour"] for entry in published(name)["classes"]])
    same = (pixels[..., None, :] == colours).all(-1)
    assert (same.sum(-1) == 1).all()
    return same.argmax(-1)


def make_workshop(folder: Path, name: str) -> Workshop:
    """The repository's own settings of a data set and its two tasks, made small."""
    values = load_yaml(REPOSITORY / "params.yaml")
    write_data_set(folder / values["sources"][name]["path"], name)
    values["defaults"]["train"] |= TRAINING | {"steps": 2, "evaluate_every": 1}
    values["defaults"]["model"] |= STUDENT
    tasks = {task: values["tasks"][task] | {"tile": TILE, "stride": TILE} for task in (f"{name}-tiles", f"{name}-scenes")}
    row = {"study": "own", "method": "supervised", "task": f"{name}-tiles", "why": "a test", "set": {"labels": "50%"}}
    values |= {"sources": {name: values["sources"][name]}, "tasks": tasks, "teachers": {}, "experiments": {"own": row}}
    values["reference"]["studies"], values["compare"]["gaps"] = ["own"], {}
    lists = {"sources": [name], "tasks": list(tasks), "studies": ["own"], "experiments": ["own"]}
    values["active"] = lists | {"teachers": [], "features": {}, "seeds": [0]}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return Workshop(folder)


@pytest.fixture(scope="module", params=SIDES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Workshop]]:
    """A data set fetched, and tiled in both ways."""
    name = request.param
    workshop = make_workshop(tmp_path_factory.mktemp(name), name)
    for words in (("fetch", name), ("tile", f"{name}-tiles"), ("tile", f"{name}-scenes")):
        workshop.run(*words)
    yield name, workshop


def test_labels_are_places_in_the_list_of_classes(made: tuple[str, Workshop], tmp_path: Path) -> None:
    name, workshop = made
    truths, raw = write_data_set(tmp_path, name), workshop.folder / "data/raw" / name
    receipt = Receipt.read(raw)
    assert len(receipt.scenes) == len(truths) and SCENES[name] <= {scene.name for scene in receipt.scenes}
    for scene in receipt.scenes:
        key = scene.name.split("-")[-1]
        (truth,) = (
            truth for file, truth in truths.items() if Path(file).stem in (key, f"top_potsdam_{key}_label", f"{key}_mask")
        )
        grid = open_grid(raw / scene.label)
        assert np.array_equal(read_window(raw / scene.label, 0, 0, grid.height, grid.width)[0], truth)
    assert receipt.domains == (["rural", "urban"] if name == "loveda" else ["main"])


@pytest.mark.parametrize("way", ["tiles", "scenes"])
def test_both_ways_to_split(made: tuple[str, Workshop], way: str) -> None:
    name, workshop = made
    card = workshop.card("tiles", f"{name}-{way}")
    assert tuple(card["splits"][split]["count"] for split in ("train", "val", "test")) == COUNTS[f"{name}-{way}"]
    assert card["dropped"] == {"nodata": 0, "buffer": {"train": 0, "val": 0, "test": 0}}
    store = TileStore(workshop.folder / f"results/tiles/{name}-{way}.zarr.zip")
    scene, split = store.coordinate("scene"), store.coordinate("split")
    kinds = [set(split[scene == number]) for number in range(len(card["scenes"]))]
    assert all(len(kind) == 1 for kind in kinds) == (way == "scenes"), "by tiles, scenes are on both sides"
    tested = {(entry, *place) for entry, places in card["tested"]["scenes"].items() for place in places}
    table = zip(scene, store.coordinate("row"), store.coordinate("col"), split, strict=True)
    assert tested == {(card["scenes"][where], row, col) for where, row, col, code in table if code == 2}


def test_what_loveda_trains_with_stays_for_training(made: tuple[str, Workshop]) -> None:
    name, workshop = made
    for way in ("tiles", "scenes") if name == "loveda" else ():
        card, store = workshop.card("tiles", f"{name}-{way}"), TileStore(workshop.folder / f"results/tiles/{name}-{way}.zarr.zip")
        training = {card["scenes"][where] for where in store.coordinate("scene")[store.select("train")]}
        assert training == {entry for entry in card["scenes"] if entry.startswith("train-")}


def test_tiles_that_reach_beyond_their_scene_are_filled_up(made: tuple[str, Workshop]) -> None:
    name, workshop = made
    store, side = TileStore(workshop.folder / f"results/tiles/{name}-tiles.zarr.zip"), SIDES[name]
    row, col = store.coordinate("row"), store.coordinate("col")
    inside = [np.add.outer(start + np.arange(TILE) >= side, np.zeros(TILE, bool)) for start in row.tolist()]
    beyond = np.array(inside) | (col[:, None, None] + np.arange(TILE) >= side)
    assert np.array_equal(store.array("valid") == 0, beyond) and beyond.any() == (name != "loveda")
    assert (store.array("label")[beyond] == 255).all() and not store.array("optical").transpose(0, 2, 3, 1)[beyond].any()


def test_from_files_to_scores_of_test_tiles_alone(made: tuple[str, Workshop]) -> None:
    name, workshop = made
    for words in (("plan", "own"), ("train", "own", "0"), ("predict", "own", "0"), ("evaluate", "own", "0")):
        workshop.run(*words)
    card, plan = workshop.card("tiles", f"{name}-tiles"), read_json(workshop.folder / "results/plans/own.json")
    budget = {"loveda": {"rural": 6, "urban": 4}, "potsdam": 13, "deepglobe": 10}[name]
    assert plan["labels"] == budget
    scores = read_json(workshop.folder / "results/scores/own/seed0.json")
    assert scores["pixels"] == sum(card["class_counts"]["test"])


def test_an_unknown_colour_is_named_with_its_file(tmp_path: Path) -> None:
    write_data_set(tmp_path, "deepglobe")
    path = tmp_path / "data/training_data/masks/606_mask.png"
    pixels = np.array(Image.open(path))
    pixels[5, 7] = (0, 255, 254)
    Image.fromarray(pixels).save(path)
    with pytest.raises(UserError, match=r"label colour \(0, 255, 254\) is not in the class list") as caught:
        fetch_source("demo", settings("deepglobe", tmp_path), tmp_path / "raw")
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("loveda", {"ignored": []}, r"label value 0 is not in the class list: 7 classes \(1, 2, 3, 4, 5, 6, 7\), ignore 255"),
        ("loveda", {"ignored": [0, 7]}, "sources.demo.ignored: 7 is the value of a class"),
        ("loveda", {"domains": {"rural": "Rural", "city": "Rural"}}, "is for train rural and for train city"),
        ("loveda", {"domains": {"rural": "Land"}}, r"Train/Land/images_png/\*.png: no image for split train rural"),
        ("loveda", {"labels_as": "colour"}, "labels must be three bands of uint8, not 1 of uint8"),
        ("deepglobe", {"labels_as": "index"}, "labels must be one band of integers, not 3 of uint8"),
        ("deepglobe", {"images": "data/*/images/*.jpg"}, "119_sat.jpg: has no label, nor have 3 others"),
        ("deepglobe", {"images": "none/*.jpg"}, r"none/\*.jpg: no image"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, name: str, changes: dict[str, Any], words: str) -> None:
    write_data_set(tmp_path, name)
    with pytest.raises(UserError, match=words):
        fetch_source("demo", settings(name, tmp_path, **changes), tmp_path / "raw")


def test_two_classes_cannot_look_the_same(tmp_path: Path) -> None:
    write_data_set(tmp_path, "deepglobe")
    classes = published("deepglobe")["classes"]
    classes[1]["colour"] = classes[0]["colour"]
    with pytest.raises(UserError, match=r"sources.demo.classes: two classes are \(0, 255, 255\) in the label files"):
        fetch_source("demo", settings("deepglobe", tmp_path, classes=classes), tmp_path / "raw")


def test_files_without_a_partner_may_be_passed_over(tmp_path: Path) -> None:
    write_data_set(tmp_path, "deepglobe")
    (tmp_path / "data/training_data/masks/606_mask.png").unlink()
    (tmp_path / "data/training_data/images/119_sat.jpg").unlink()
    with pytest.raises(UserError, match=r"606_sat.jpg: has no label"):
        fetch_source("demo", settings("deepglobe", tmp_path), tmp_path / "raw")
    receipt = fetch_source("demo", settings("deepglobe", tmp_path, unpaired="skip"), tmp_path / "raw")
    assert [scene.name for scene in receipt.scenes] == ["2334", "855"]
