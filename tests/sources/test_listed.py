"""Splits and domains by the columns of a table: rows and files must agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_files import SOURCE, TABLE
from PIL import Image

from georelay.errors import UserError
from georelay.params import _check_folder
from georelay.reading import validated
from georelay.settings.data import Folder
from georelay.sources.listed import read_table
from georelay.sources.pairs import find_pairs

ROWS = [
    ("Nairobi_KE", "train", "images/Nairobi_KE/n_1.jpg"),
    ("Nairobi_KE", "test", "n_2.jpg"),
    ("Kampala_UG", "train", "k_1"),
    ("Kampala_UG", "unlabelled", "k_2.png"),
    ("Kampala_UG", "test", "k_3.jpg"),
]


def write_table(folder: Path, rows: list[tuple[str, ...]], delimiter: str = ",") -> None:
    lines = [("country", "part", "image"), *rows]
    (folder / "tiles.csv").write_text("\n".join(delimiter.join(line) for line in lines), encoding="utf-8-sig")


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    write_table(tmp_path, ROWS)
    for country, key in (("Nairobi_KE", "n_1"), ("Nairobi_KE", "n_2"), *(("Kampala_UG", f"k_{index}") for index in (1, 2, 3))):
        for name, shape in ((f"images/{country}/{key}.jpg", (8, 8, 3)), (f"masks/{country}/{key}.png", (8, 8))):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / name)
    return tmp_path


def settings(folder: Path, **changes: Any) -> Folder:
    checked: Folder = validated(Folder, SOURCE | {"path": str(folder)} | changes, "demo")
    _check_folder(checked, "demo")
    return checked


def test_rows_tell_splits_and_domains(tiles: Path) -> None:
    pairs = find_pairs(settings(tiles))
    assert [(pair.part.split, pair.part.place, pair.key) for pair in pairs] == [
        ("train", "nairobi-ke", "n_1"),
        ("train", "kampala-ug", "k_1"),
        ("test", "nairobi-ke", "n_2"),
        ("test", "kampala-ug", "k_3"),
    ]
    assert pairs[1].label == tiles / "masks/Kampala_UG/k_1.png"


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_values_of_ones_own(tiles: Path, delimiter: str) -> None:
    write_table(tiles, ROWS, delimiter)
    splits = SOURCE["splits"] | {"train": ["train", "unlabelled"]}
    pairs = find_pairs(settings(tiles, splits=splits, domains={"uganda": "Kampala_UG"}))
    assert [(pair.part.split, pair.part.place, pair.key) for pair in pairs] == [
        ("train", "uganda", "k_1"),
        ("train", "uganda", "k_2"),
        ("test", "uganda", "k_3"),
    ]


def test_without_a_column_of_domains_there_is_one(tiles: Path) -> None:
    found = find_pairs(settings(tiles, splits=TABLE, images="images/**/*.jpg", labels="masks/**/*.png"))
    assert [pair.name for pair in found] == ["train-k_1", "train-n_1", "test-k_3", "test-n_2"]


def test_a_row_without_a_file_and_a_file_without_a_row(tiles: Path) -> None:
    (tiles / "images/Kampala_UG/k_1.jpg").rename(tiles / "images/Kampala_UG/k_9.jpg")
    with pytest.raises(UserError, match=r'no image of scene "k_1", listed in splits\.train of domain kampala-ug'):
        find_pairs(settings(tiles))
    with pytest.raises(UserError, match="is in no row of the table") as caught:
        find_pairs(settings(tiles, left_out=["k_1"]))
    assert caught.value.where == str(tiles / "images/Kampala_UG/k_9.jpg")
    assert [pair.key for pair in find_pairs(settings(tiles, left_out=["k_1", "k_9"]))] == ["n_1", "n_2", "k_3"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scene": "imgae"}, 'has no column "imgae"'),
        ({"train": "trian"}, 'no row has "trian" in column "part", as splits.train says'),
        ({"csv": "tile.csv"}, "table is missing"),
        ({"scene": None}, "splits.scene: is missing"),
        ({"csv": None}, "splits.scene: is a column, but there is no table"),
        ({"test": "train"}, 'scene "n_1" is for train and for test'),
    ],
)
def test_what_does_not_fit_the_table(tiles: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        find_pairs(settings(tiles, splits=SOURCE["splits"] | changes))
    assert words in str(caught.value)


def test_domains_of_the_source_need_a_column(tiles: Path) -> None:
    with pytest.raises(UserError, match=r"splits\.domain: is missing"):
        settings(tiles, splits=TABLE, domains={"uganda": "Kampala_UG"})


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    for text in ("", "image,part\n"):
        (tmp_path / "tiles.csv").write_text(text)
        with pytest.raises(UserError, match="has no rows"):
            read_table(tmp_path / "tiles.csv")
