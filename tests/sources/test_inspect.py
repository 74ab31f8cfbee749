"""`inspect` prints settings that work as they stand: pasted into params.yaml, the source is fetched and cut into tiles."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from georelay.cli import main
from georelay.errors import UserError
from georelay.files import read_json
from georelay.geo.raster import write_raster
from georelay.params import load_params
from georelay.reading import load_yaml
from georelay.rows import resolve
from georelay.sources.findings import find
from georelay.sources.inspect import inspect_folder
from georelay.sources.layout import sheaves, split_values
from published import REPOSITORY

SIDE = 64
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
Splits = dict[str, int]


def pixels(number: int, bands: int = 3, kind: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(number).integers(1, 200, (bands, SIDE, SIDE)).astype(kind)


def classes(number: int, count: int = 3) -> np.ndarray:
    label = np.random.default_rng(number).integers(0, count, (SIDE // 8, SIDE // 8)).astype(np.uint8)
    label[0, :count] = np.arange(count)
    return np.repeat(np.repeat(label, 8, 0), 8, 1)


def save(path: Path, array: np.ndarray, number: int, crs: str = "EPSG:32631") -> None:
    """A GeoTIFF with a place of its own."""
    place = (1.0, 0.0, 500_000.0 + 500 * number, 0.0, -1.0, 4e6)
    write_raster(path, array, transform=place, crs=crs, nodata=None)


def save_picture(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def single_rasters(folder: Path) -> None:
    for number in range(6):
        save(folder / f"images/s{number}.tif", pixels(number, 4, np.uint16), number)
        save(folder / f"masks/s{number}.tif", classes(number)[None], number)


def folders_of_splits(folder: Path) -> None:
    for split, count in {"train": 4, "val": 2, "test": 2}.items():
        for number in range(count):
            save_picture(folder / f"{split}/images/{number}.png", np.moveaxis(pixels(number), 0, -1))
            save_picture(folder / f"{split}/labels/{number}_mask.png", classes(number))


def two_sensors(folder: Path) -> None:
    for number in range(6):
        save(folder / f"s1/place_{number}_S1Hand.tif", -pixels(number, 2, np.float32) / 10, number)
        save(folder / f"s2/place_{number}_S2Hand.tif", pixels(number, 13, np.int16), number)
        label = classes(number)[None].astype(np.int16)
        label[0, 0, 0] = -1
        save(folder / f"label/place_{number}_LabelHand.tif", label, number)
        save(folder / f"label/place_{number}_QC.tif", label, number)


def table_of_splits(folder: Path) -> None:
    lines = ["domain,split,image"]
    for number in range(12):
        country, split, ending = ("a_b", "c_d")[number % 2], "test" if number > 7 else "train", ("jpg", "png")[number % 3 == 0]
        save_picture(folder / f"images/{country}/t_{number}.{ending}", np.moveaxis(pixels(number), 0, -1))
        save_picture(folder / f"masks/{country}/t_{number}.png", classes(number, 2) * 255)
        lines.append(f"{country},{split},t_{number}.{ending}")
    (folder / "tiles.csv").write_text("\n".join(lines))


def polygons(folder: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    for number in range(6):
        save(folder / f"img/AOI_RGB_{number}.tif", pixels(number), number)
        left = 500_000.0 + 500 * number
        ring = [[left, 4e6], [left + 30, 4e6], [left + 30, 4e6 - 20], [left, 4e6 - 20], [left, 4e6]]
        features = [
            {"type": "Feature", "properties": {"type": kind}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
            for kind in ("house", "shed")
        ]
        path = folder / f"geojson/AOI_Buildings_{number}.geojson"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))


def plain_pictures(folder: Path) -> None:
    for number in range(6):
        save_picture(folder / f"{number}_image.png", np.moveaxis(pixels(number), 0, -1))
        save_picture(folder / f"{number}_mask.png", classes(number))


def colour_masks(folder: Path) -> None:
    for number in range(6):
        save_picture(folder / f"images/{number}.jpg", np.moveaxis(pixels(number), 0, -1))
        save_picture(folder / f"gt/{number}.png", COLOURS[classes(number)])


LAYOUTS: list[tuple[Callable[[Path], None], int, list[str], Splits]] = [
    (single_rasters, 6, ["optical"], {"train": 4, "val": 1, "test": 1}),
    (folders_of_splits, 8, ["optical"], {"train": 4, "val": 2, "test": 2}),
    (two_sensors, 6, ["eo", "sar"], {"train": 4, "val": 1, "test": 1}),
    (table_of_splits, 12, ["optical"], {"train": 8, "val": 0, "test": 4}),
    (polygons, 6, ["eo"], {"train": 4, "val": 1, "test": 1}),
    (plain_pictures, 6, ["optical"], {"train": 4, "val": 1, "test": 1}),
    (colour_masks, 6, ["optical"], {"train": 4, "val": 1, "test": 1}),
]


def pasted(folder: Path, text: str) -> str:
    """A params.yaml with the entries of a report in it; the source's name."""
    (folder / "printed.yaml").write_text(text.partition("what is guessed.\n\n")[2])
    printed, values = load_yaml(folder / "printed.yaml"), load_yaml(REPOSITORY / "params.yaml")
    empty = {key: [] for key in ("sources", "tasks", "teachers", "studies", "experiments")}
    values |= printed | {"teachers": {}, "active": empty | {"features": {}, "seeds": [0]}}
    values["compare"]["gaps"], values["reference"]["studies"] = {}, []
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return str(next(iter(printed["sources"])))


@pytest.mark.parametrize(("write", "scenes", "modalities", "splits"), LAYOUTS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_printed_works_as_it_stands(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], None],
    scenes: int,
    modalities: list[str],
    splits: Splits,
) -> None:
    write(tmp_path / "data/My_Files")
    monkeypatch.setenv("GEORELAY_CACHE", "cache")
    with contextlib.chdir(tmp_path):
        assert main(["inspect", "data/My_Files"]) == 0
        report = capsys.readouterr().out
        assert f"\nscenes: {scenes}\n" in report and "problems: none seen" in report, report
        assert pasted(tmp_path, report) == "my-files"
        params = load_params()
        assert resolve(params, "my-files").method == "supervised" and params.tasks["my-files"].modalities == modalities
        assert [main(["fetch", "my-files"]), main(["tile", "my-files"])] == [0, 0], capsys.readouterr().err
    per_scene = (SIDE // params.tasks["my-files"].tile) ** 2
    card = read_json(tmp_path / "results/tiles/my-files.json")
    assert {name: part["count"] for name, part in card["splits"].items()} == {k: v * per_scene for k, v in splits.items()}


def test_only_a_sample_is_opened_and_all_names_are_looked_at(tmp_path: Path) -> None:
    single_rasters(tmp_path)
    (tmp_path / "masks/s3.tif").unlink()
    save(tmp_path / "masks/s5.tif", np.full((1, SIDE, SIDE // 2), 9, np.uint8), 5)
    found = find(tmp_path, 2)
    assert len(found.scenes) == 6 and len(found.facts["optical"].grids) == 2
    assert "1 scenes have no label, s3 for instance" in found.problems
    assert "masks/s5.tif does not lie on the grid of images/s5.tif: size 32 x 64 against 64 x 64 pixels" in found.problems


def test_problems_are_told(tmp_path: Path) -> None:
    single_rasters(tmp_path)
    blank = pixels(0, 4, np.uint16)
    blank[:, :32] = 0
    save(tmp_path / "images/s0.tif", blank, 0, "EPSG:32632")
    (tmp_path / "images/s1.tif").write_bytes(b"no")
    text = inspect_folder(tmp_path, 20)
    for words in (
        "files are in 2 CRS (EPSG:32632, EPSG:32631)",
        "10% of the pixels are 0 in all bands",
        "cannot be read, images/s1.tif",
    ):
        assert words in text


def test_a_folder_without_labels_or_images(tmp_path: Path) -> None:
    save(tmp_path / "eo/rgb_one.tif", pixels(0), 0)
    save(tmp_path / "sar/sar_two.tif", pixels(0, 2, np.float32), 0)
    text = inspect_folder(tmp_path, 20)
    assert "no labels are found" in text and "sar/sar_two.tif is not of the same scenes as eo/rgb_one.tif" in text
    (tmp_path / "eo/rgb_one.tif").unlink()
    with pytest.raises(UserError, match="holds no images"):
        find(tmp_path / "eo", 20)
    with pytest.raises(UserError, match="folder is missing"):
        find(tmp_path / "nowhere", 20)


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (["img_dir/train/a.tif", "ann_dir/val/b.png", "ann_dir/train/a.png"], ["ann_dir/{split}/*.png", "img_dir/{split}/*.tif"]),
        (["images_train/a.png", "images_val/b.png"], ["images_{split}/*.png"]),
        (["SN6_PS-RGBNIR_2019_1.tif", "SN6_PS-RGBNIR_2019_2.tif"], ["SN6_PS-RGBNIR_*.tif"]),
        (["a/1.tif", "b/2.tiff", "c/.3.tif"], ["{domain}/*.*"]),
        (["train/images/1.png", "train/masks/1.png"], ["train/images/*.png", "train/masks/*.png"]),
        (["x/1.jpg", "x/1.png"], ["x/*.jpg", "x/*.png"]),
    ],
)
def test_patterns(names: list[str], patterns: list[str]) -> None:
    shown = [name for name in names if "/." not in name]
    assert sorted(sheaf.pattern for sheaf in sheaves(shown)) == patterns


def test_one_held_out_part_is_the_test() -> None:
    assert split_values([("training", "", "a"), ("Val", "", "b")]) == {"train": "training", "val": None, "test": "Val"}
    assert split_values([("train", "", "a")]) == {}
