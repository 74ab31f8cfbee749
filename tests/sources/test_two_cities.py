"""Potsdam and Vaihingen as one source of two domains, and LoveDA's two: published lists, made-up pixels, tiles as published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from georelay.datasets import fake
from georelay.datasets.isprs_irrg import write_scene
from georelay.errors import UserError
from georelay.geo.raster import open_grid, write_raster
from georelay.params import load_params
from georelay.reading import load_yaml
from georelay.sources.catalog import fetch_source
from georelay.sources.folder import GAP, UNPLACED
from georelay.sources.receipt import Receipt
from georelay.tiles.read import TileStore
from published import REPOSITORY, published, settings
from workshop import Workshop

CITIES = ("potsdam", "vaihingen")
SOURCES = ("isprs-irrg", "isprs-rgb")
TILE, STRIDES = 8, {"potsdam": 8, "vaihingen": 4}
# Tiles of 512 pixels that the published areas of Vaihingen give at a stride of 256.
AREAS: dict[str, int] = {
    **dict.fromkeys(("1", "11", "12", "14", "15", "16", "28", "29", "30", "35"), 54),
    **dict.fromkeys(("4", "6", "10", "21", "23", "31", "32", "5", "7", "8", "20", "22", "24"), 48),
    **{"2": 72, "3": 60, "13": 80, "17": 32, "26": 50, "27": 66, "33": 40, "34": 32, "37": 36, "38": 104},
}


def lists(city: str) -> dict[str, list[str]]:
    splits = published("isprs-irrg")["splits"]
    return {split: splits[split][city] for split in ("train", "test")}


def per_scene(folder: Path, city: str, scene: str) -> int:
    """Tiles of a made-up scene: Potsdam's are all the same, no whole number of strides in either city."""
    height, width = classes(folder, city, scene).shape
    return ((height - TILE) // STRIDES[city] + 1) * ((width - TILE) // STRIDES[city] + 1)


def names(source: str, city: str, scene: str) -> tuple[str, str]:
    """Where the image and the label of a scene lie in what is published."""
    if city == "vaihingen":
        stem = f"top_mosaic_09cm_area{scene}"
        return f"vaihingen/top/{stem}.tif", f"vaihingen/gts_eroded_for_participants/{stem}_noBoundary.tif"
    folder, bands = ("3_Ortho_IRRG", "IRRG") if source == "isprs-irrg" else ("2_Ortho_RGB", "RGB")
    label = f"potsdam/5_Labels_all_noBoundary/top_potsdam_{scene}_label_noBoundary.tif"
    return f"potsdam/{folder}/top_potsdam_{scene}_{bands}.tif", label


def classes(folder: Path, city: str, scene: str) -> np.ndarray:
    """Classes of a label file, 255 where it is black."""
    pixels = np.array(Image.open(folder / names("isprs-irrg", city, scene)[1]))
    colours = np.array([entry["colour"] for entry in published("isprs-irrg")["classes"]])
    same = (pixels[..., None, :] == colours).all(-1)
    assert np.array_equal(same.any(-1), pixels.any(-1)) and not same.any(-1).all()
    return np.where(same.any(-1), same.argmax(-1), 255)


def make_workshop(folder: Path, source: str, tasks: dict[str, Any]) -> Workshop:
    """The repository's own settings of a source, and these of its tasks."""
    values = load_yaml(REPOSITORY / "params.yaml")
    values |= {"sources": {source: values["sources"][source]}, "teachers": {}, "experiments": {}}
    values["tasks"] = {task: values["tasks"][task] | changes for task, changes in tasks.items()}
    values["reference"]["studies"], values["compare"]["gaps"] = [], {}
    lists = [key for key, value in values["active"].items() if isinstance(value, list)]
    values["active"] = {key: [] for key in lists} | {"features": {}, "seeds": [0]}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return Workshop(folder)


@pytest.fixture(scope="module", params=SOURCES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Workshop]]:
    """Both cities fetched, and tiled in small for one of the two directions."""
    source = request.param
    folder = tmp_path_factory.mktemp(source)
    fake(source, folder / published(source)["path"], np.random.default_rng(0))
    workshop = make_workshop(folder, source, {f"{source}-p2v": {"tile": TILE, "stride": STRIDES}})
    workshop.run("fetch", source)
    workshop.run("tile", f"{source}-p2v")
    yield source, workshop


def test_the_published_lists_have_the_published_tiles() -> None:
    each = {"potsdam": lambda scene: 11 * 11, "vaihingen": AREAS.__getitem__}
    counts = {city: {split: sum(map(each[city], scenes)) for split, scenes in lists(city).items()} for city in CITIES}
    assert counts == {"potsdam": {"train": 2904, "test": 1694}, "vaihingen": {"train": 1296, "test": 440}}
    assert {city: [len(scenes) for scenes in lists(city).values()] for city in CITIES} == {
        "potsdam": [24, 14],
        "vaihingen": [25, 8],
    }
    assert {scene for scenes in lists("vaihingen").values() for scene in scenes} == set(AREAS)


def test_both_directions_cut_both_cities_as_published() -> None:
    tasks = load_yaml(REPOSITORY / "params.yaml")["tasks"]
    for source in SOURCES:
        there, back = tasks[f"{source}-p2v"], tasks[f"{source}-v2p"]
        assert (there["train_domain"], there["test_domain"]) == (back["test_domain"], back["train_domain"]) == CITIES
        assert there["stride"] == back["stride"] == {"potsdam": 512, "vaihingen": 256}
        assert {task["tile"] for task in (there, back)} == {512} and there["edges"] == back["edges"] == "drop"


def test_every_listed_scene_is_fetched_with_its_own_pixels(made: tuple[str, Workshop]) -> None:
    source, workshop = made
    raw = workshop.folder / "data/raw" / source
    receipt = Receipt.read(raw)
    assert receipt.domains == list(CITIES) and receipt.crs == UNPLACED
    for city, gsd in (("potsdam", 0.05), ("vaihingen", 0.09)):
        for split, scenes in lists(city).items():
            found = receipt.select(split, city)
            assert {scene.name for scene in found} == {f"{split}-{city}-{scene}" for scene in scenes}
            assert {open_grid(raw / scene.label).gsd for scene in found} == {gsd}
    assert not receipt.select("val") and len(receipt.scenes) == 71


def test_scenes_of_several_pixel_sizes_are_laid_apart(made: tuple[str, Workshop]) -> None:
    source, workshop = made
    raw = workshop.folder / "data/raw" / source
    boxes = [open_grid(raw / scene.label).bounds for scene in Receipt.read(raw).scenes]
    for index, (left, bottom, right, top) in enumerate(boxes):
        for others in boxes[:index]:
            assert max(left - others[2], others[0] - right, bottom - others[3], others[1] - top) >= GAP


def test_tiles_of_every_scene_by_the_stride_of_its_city(made: tuple[str, Workshop]) -> None:
    source, workshop = made
    card, files = workshop.card("tiles", f"{source}-p2v"), workshop.folder / published(source)["path"]
    store = TileStore(workshop.folder / f"results/tiles/{source}-p2v.zarr.zip")
    found = Counter(card["scenes"][number] for number in store.coordinate("scene").tolist())
    wanted = {
        f"{split}-{city}-{scene}": per_scene(files, city, scene)
        for city in CITIES
        for split, scenes in lists(city).items()
        for scene in scenes
    }
    assert found == wanted and card["stride"] == STRIDES and wanted["train-potsdam-2_10"] == 25
    for city in CITIES:  # those with labels, or seen without, and those that are tested
        for split in ("train", "test"):
            count = sum(per_scene(files, city, scene) for scene in lists(city)[split])
            assert len(store.select(split, city)) == count
    train, test = (set(store.coordinate("scene")[store.select(split)].tolist()) for split in ("train", "test"))
    assert not train & test


def test_eroded_pixels_are_ignored_and_nothing_else_is(made: tuple[str, Workshop]) -> None:
    source, workshop = made
    card, files = workshop.card("tiles", f"{source}-p2v"), workshop.folder / published(source)["path"]
    store = TileStore(workshop.folder / f"results/tiles/{source}-p2v.zarr.zip")
    labels = store.array("label")
    for number, scene, row, col in zip(
        range(len(store)), *(store.coordinate(name).tolist() for name in ("scene", "row", "col")), strict=True
    ):
        _, city, key = card["scenes"][scene].split("-")
        assert np.array_equal(labels[number], classes(files, city, key)[row : row + TILE, col : col + TILE])


def test_loveda_from_one_domain_to_the_other(tmp_path: Path) -> None:
    counts = {("Train", "Rural"): 3, ("Train", "Urban"): 2, ("Val", "Rural"): 1, ("Val", "Urban"): 4}
    for (part, domain), count in counts.items():
        for number in range(count):
            for kind, pixels in (("images_png", np.ones((32, 32, 3), np.uint8)), ("masks_png", np.ones((32, 32), np.uint8))):
                path = tmp_path / "data/loveda" / part / domain / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    tasks = {name: {"tile": 32, "stride": 32} for name in ("loveda-r2u", "loveda-u2r")}
    workshop = make_workshop(tmp_path, "loveda", tasks)
    workshop.run("fetch", "loveda")
    params = load_params(tmp_path / "params.yaml")
    for name, numbers in (("loveda-r2u", (3, 2, 4)), ("loveda-u2r", (2, 3, 1))):
        workshop.run("tile", name)
        store, task = TileStore(tmp_path / f"results/tiles/{name}.zarr.zip"), params.tasks[name]
        wanted = (("train", task.train_domain), ("train", task.test_domain), ("test", task.test_domain))
        assert tuple(len(store.select(*part)) for part in wanted) == numbers
        assert len(store.select("val")) == 0


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("sources", "isprs-irrg", "images"), {"potsdam": "a/*.tif"}, "images: says nothing of domain vaihingen"),
        (("sources", "isprs-irrg", "labels", "bonn"), "b/*.tif", 'sources.isprs-irrg.labels: unknown domain "bonn"'),
        (("sources", "isprs-irrg", "gsd"), {"potsdam": 1.0, "vaihingn": 1.0}, 'gsd: unknown domain "vaihingn"\n.*"vaihingen"'),
        (("sources", "isprs-irrg", "gsd", "potsdam"), 0.0, "sources.isprs-irrg.gsd.potsdam: input should be greater than 0"),
        (("sources", "isprs-irrg", "images"), 5, "params.yaml: sources.isprs-irrg.images: input should be a valid string, not 5"),
        (("sources", "isprs-irrg", "splits", "train", "vaihingen"), [1], "splits.train.vaihingen.0: .* valid string, not 1"),
        (("sources", "isprs-irrg", "splits", "tain"), [], 'splits.tain: unknown key\n.*"train"'),
        (
            ("sources", "isprs-irrg", "splits", "val"),
            {"potsdam": []},
            "isprs-irrg.splits.val: says nothing of domain vaihingen",
        ),
        (
            ("sources", "isprs-irrg", "splits", "test", "vaihingen"),
            ["2", "38"],
            'isprs-irrg.splits.test: scene "38" of domain vaihingen is listed in splits.train already',
        ),
        (
            ("sources", "isprs-irrg", "splits", "train", "potsdam"),
            ["2_10", "2_10"],
            'isprs-irrg.splits.train: scene "2_10" of domain potsdam is listed in splits.train already',
        ),
        (("tasks", "isprs-irrg-p2v", "stride"), {"potsdam": 512}, "isprs-irrg-p2v.stride: says nothing of domain vaihingen"),
        (("tasks", "isprs-irrg-p2v", "stride", "potsdam"), 513, "isprs-irrg-p2v.stride: stride 513 leaves gaps"),
        (("tasks", "isprs-irrg-p2v", "stride", "potsdam"), 0, "isprs-irrg-p2v.stride.potsdam: input should be greater than 0"),
        (("tasks", "ktda-grass", "stride"), {"mean": 1}, 'tasks.ktda-grass.stride: unknown domain "mean"\n.*"main"'),
    ],
)
def test_settings_that_do_not_fit_their_domains(tmp_path: Path, path: tuple[str, ...], value: Any, words: str) -> None:
    values = load_yaml(REPOSITORY / "params.yaml")
    values["sources"]["isprs-irrg"] = published("isprs-irrg")
    place = values
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(UserError, match=words):
        load_params(tmp_path / "params.yaml")


def test_strides_of_a_drawn_source_are_checked_with_its_domains(tmp_path: Path) -> None:
    workshop = make_workshop(tmp_path, "crosscity", {"crosscity": {"stride": {"source": 64, "goal": 32}}})
    workshop.change("sources", "crosscity", scenes={"train": 1, "val": 0, "test": 1})
    workshop.run("fetch", "crosscity")
    workshop.run("tile", "crosscity", expect=2)
    assert 'tasks.crosscity.stride: unknown domain "goal"' in (tmp_path / "results/logs/tile/crosscity.log").read_text()


def small(folder: Path, **changes: Any) -> Any:
    """Two scenes of each city."""
    splits = {"train": {"potsdam": ["2_10"], "vaihingen": ["1"]}, "val": None, "test": {"potsdam": ["2_13"], "vaihingen": ["2"]}}
    for city, scene in (("potsdam", "2_10"), ("potsdam", "2_13"), ("vaihingen", "1"), ("vaihingen", "2")):
        write_scene(folder, np.random.default_rng(0), city, scene)
    return settings("isprs-irrg", folder, **{"splits": splits} | changes)


def test_a_listed_scene_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = small(tmp_path)
    image, _ = names("isprs-irrg", "vaihingen", "2")
    (tmp_path / image).unlink()
    with pytest.raises(UserError, match=r'no image of scene "2", listed in splits.test of domain vaihingen') as caught:
        fetch_source("demo", source, tmp_path / "raw")
    assert caught.value.where == str(tmp_path / "vaihingen/top/top_mosaic_09cm_area*.tif")
    assert f"{tmp_path}/vaihingen/gts_eroded_for_participants/top_mosaic_09cm_area*_noBoundary.tif are found" in caught.value.hint
    assert not (tmp_path / "raw/demo").exists()


def test_a_listed_scene_without_label_is_refused(tmp_path: Path) -> None:
    source = small(tmp_path)
    image, label = names("isprs-irrg", "potsdam", "2_10")
    (tmp_path / label).unlink()
    with pytest.raises(UserError, match="has no label") as caught:
        fetch_source("demo", source, tmp_path / "raw")
    assert caught.value.where == str(tmp_path / image)


def test_an_empty_list_and_lists_of_one_domain(tmp_path: Path) -> None:
    facts = {"potsdam": ["2_10", "2_13"], "vaihingen": []}
    source = small(tmp_path, splits={"train": facts, "val": None, "test": {"potsdam": [], "vaihingen": ["2"]}})
    receipt = fetch_source("demo", source, tmp_path / "raw")
    assert [scene.name for scene in receipt.scenes] == ["train-potsdam-2_10", "train-potsdam-2_13", "test-vaihingen-2"]
    only = {key: getattr(source, key)["vaihingen"] for key in ("images", "labels", "gsd")}
    only = {key: value.replace("{domain}", "vaihingen") if isinstance(value, str) else value for key, value in only.items()}
    alone = small(tmp_path, splits={"train": ["1"], "val": [], "test": ["2"]}, domains=None, **only)
    receipt = fetch_source("alone", alone, tmp_path / "raw")
    assert [(scene.name, scene.domain) for scene in receipt.scenes] == [("train-1", "main"), ("test-2", "main")]


def put_on_the_ground(folder: Path, city: str, scene: str, crs: str) -> None:
    path = folder / names("isprs-irrg", city, scene)[0]
    pixels = np.moveaxis(np.array(Image.open(path)), -1, 0)
    write_raster(path, pixels, transform=(0.05, 0.0, 366_000.0, 0.0, -0.05, 5_800_000.0), crs=crs, nodata=None)


def test_cities_in_several_crs_are_laid_side_by_side(tmp_path: Path) -> None:
    source, unsized = small(tmp_path), small(tmp_path, gsd=None)
    for scene in ("2_10", "2_13"):
        put_on_the_ground(tmp_path, "potsdam", scene, "EPSG:32633")
    receipt = fetch_source("demo", source, tmp_path / "raw")
    assert receipt.crs == UNPLACED
    sizes = [open_grid(tmp_path / "raw/demo" / scene.label).gsd for scene in receipt.scenes]
    assert sizes == [0.05, 0.09, 0.05, 0.09]
    with pytest.raises(UserError, match=r"sources.unsized.gsd: domains have CRS EPSG:32633 and None"):
        fetch_source("unsized", unsized, tmp_path / "raw")


def test_one_domain_in_two_crs_is_refused(tmp_path: Path) -> None:
    source = small(tmp_path)
    put_on_the_ground(tmp_path, "potsdam", "2_13", "EPSG:32633")
    with pytest.raises(UserError, match=r"has CRS EPSG:32633, but .* None") as caught:
        fetch_source("demo", source, tmp_path / "raw")
    assert caught.value.where == str(tmp_path / names("isprs-irrg", "potsdam", "2_13")[0])
