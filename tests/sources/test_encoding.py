"""Label files: several numbers or colours of one class, and what others are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from georelay.errors import UserError
from georelay.geo.raster import open_grid, write_raster
from georelay.reading import validated
from georelay.settings.data import Folder
from georelay.sources.encoding import check_encoding, read_classes
from published import published

RED, GREEN, BLUE, PINK = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 0, 255]


def source(labels_as: str, also: list[Any], **changes: Any) -> Folder:
    """Class 1 is number 5 or red, and what `also` says; class 0 is number 3 or green."""
    classes = [{"name": "land", "colour": GREEN, "value": 3}, {"name": "water", "colour": RED, "value": 5, "also": also}]
    facts = published("potsdam") | {"labels_as": labels_as, "classes": classes} | changes
    checked: Folder = validated(Folder, facts, "demo")
    check_encoding(checked, "demo")
    return checked


def read(pixels: list[Any], tmp_path: Path, given: Folder) -> list[int]:
    """What one row of label pixels becomes."""
    Image.fromarray(np.array([pixels], np.uint8)).save(tmp_path / "label.png")
    path = tmp_path / "label.png"
    return [int(value) for value in read_classes(path, open_grid(path), given)[0]]


def test_a_class_may_have_several_numbers_or_colours(tmp_path: Path) -> None:
    assert read([3, 5, 7, 0], tmp_path, source("index", [7, 0])) == [0, 1, 1, 1]
    assert read([GREEN, RED, BLUE], tmp_path, source("colour", [BLUE])) == [0, 1, 1]


@pytest.mark.parametrize(("others", "expected"), [("ignore", 255), ("land", 0), ("water", 1)])
def test_others_are_ignored_or_of_a_class(others: str, expected: int, tmp_path: Path) -> None:
    assert read([3, 5, 9], tmp_path, source("index", [], others=others)) == [0, 1, expected]
    assert read([GREEN, RED, PINK], tmp_path, source("colour", [], others=others)) == [0, 1, expected]


def test_others_are_refused_unless_they_are_something(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"label value 9 is not in the class list: 2 classes \(3, 5, 7\)") as error:
        read([3, 9], tmp_path, source("index", [7]))
    assert "or say what `others` are" in error.value.hint
    with pytest.raises(UserError, match=r"label colour \(255, 0, 255\) is not in the class list") as error:
        read([RED, PINK], tmp_path, source("colour", []))
    assert "or say what `others` are" in error.value.hint


def test_numbers_below_zero_may_be_ignored(tmp_path: Path) -> None:
    path = tmp_path / "label.tif"
    pixels = np.array([[[3, 5, -1]]], np.int16)
    write_raster(path, pixels, transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0), crs=None, nodata=None)
    assert read_classes(path, open_grid(path), source("index", [], ignored=[-1])).tolist() == [[0, 1, 255]]


def test_labels_saved_as_jpeg_hold_classes_alone_or_are_refused(tmp_path: Path) -> None:
    """`others` would take every value that JPEG invents for a class or for nothing; what the file is called does not matter."""
    path, flat, edge = tmp_path / "label.png", np.full((16, 16), 3, np.uint8), np.full((16, 16), 3, np.uint8)
    edge[:, 5:] = 200
    Image.fromarray(flat).save(path, format="JPEG", quality=95)
    assert not read_classes(path, open_grid(path), source("index", [200], others="ignore")).any()
    Image.fromarray(edge).save(path, format="JPEG", quality=75)
    with pytest.raises(UserError, match="is not in the class list") as error:
        read_classes(path, open_grid(path), source("index", [200], others="ignore"))
    assert "JPEG invents values" in error.value.hint


@pytest.mark.parametrize(
    ("labels_as", "also", "changes", "message"),
    [
        ("index", [3], {}, "two classes are 3"),
        ("colour", [GREEN], {}, r"two classes are \(0, 255, 0\)"),
        ("index", [BLUE], {}, r"\[\[0, 0, 255\]\] cannot be in labels as index"),
        ("colour", [7], {}, r"\[7\] cannot be in labels as colour"),
        ("index", [], {"others": "watr"}, '"watr" is no class'),
        ("index", [9], {"ignored": [9]}, "9 is the value of a class"),
    ],
)
def test_nothing_stands_for_two_things(labels_as: str, also: list[Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        source(labels_as, also, **changes)
