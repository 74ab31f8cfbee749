from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from georelay.errors import UserError
from georelay.sources.receipt import Receipt, Scene

OPTICAL = {"bands": ["red", "nir"], "dtype": "uint16", "scale": 0.0001, "nodata": 0, "unit": "reflectance"}


def receipt() -> Receipt:
    scenes = tuple(
        Scene(f"{split}-000", split, domain, {"optical": f"{split}-000/optical.tif"}, f"{split}-000/label.tif")
        for split, domain in (("train", "source"), ("test", "target"))
    )
    files = {name: {"size": 3, "sha256": "0" * 64} for scene in scenes for name in scene.files}
    classes = ({"name": "a", "colour": [1, 2, 3]}, {"name": "b", "colour": [4, 5, 6]})
    modalities = {"optical": OPTICAL | {"domains": {"target": {"bands": ["blue", "nir"]}}}}
    return Receipt("demo", "synthetic", "CC0-1.0", None, classes, 255, modalities, "EPSG:32631", scenes, files)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "demo"
    receipt().write(target)
    for name in receipt().files:
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_bytes(b"abc")
    return target


def spoil(folder: Path, **changes: Any) -> None:
    path = folder / "receipt.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_it_reads_what_it_wrote(folder: Path) -> None:
    assert Receipt.read(folder) == receipt()
    Receipt.read(folder).require(folder)


def test_what_it_answers() -> None:
    demo = receipt()
    assert demo.class_names == ["a", "b"]
    assert demo.colours == [(1, 2, 3), (4, 5, 6)]
    assert demo.domains == ["source", "target"]
    assert [scene.name for scene in demo.select("test")] == ["test-000"]
    assert demo.select("test", "source") == []
    assert demo.bands("optical", "source") == ["red", "nir"]
    assert demo.bands("optical", "target") == ["blue", "nir"]
    assert demo.scene("train-000").domain == "source"
    with pytest.raises(UserError, match="train-001"):
        demo.scene("train-001")


def test_a_missing_receipt_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"receipt\.json") as caught:
        Receipt.read(tmp_path / "clouds")
    assert "georelay fetch clouds" in str(caught.value)


def test_a_corrupt_receipt_is_named(folder: Path) -> None:
    (folder / "receipt.json").write_text('{"source": "demo", ')
    with pytest.raises(UserError, match=r"receipt\.json.*not valid JSON"):
        Receipt.read(folder)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"classes": "a, b"}, "classes"),
        ({"classes": [{"name": "a"}]}, r"classes\.0\.colour"),
        ({"modalities": {"optical": {"bands": ["red"]}}}, r"modalities\.optical\.dtype"),
        ({"ignore": "255"}, "ignore"),
        ({"ignore": True}, "ignore"),
        ({"scenes": [{"name": "x"}]}, r"scenes\.0\.split"),
        ({"scenes": [3]}, r"scenes\.0"),
        ({"files": {}}, r"scenes\.0"),
    ],
)
def test_a_wrong_key_is_named(folder: Path, changes: dict[str, Any], place: str) -> None:
    spoil(folder, **changes)
    with pytest.raises(UserError, match=rf"receipt\.json: {place}"):
        Receipt.read(folder)


def test_an_unknown_split_is_named(folder: Path) -> None:
    scenes = receipt().to_json()["scenes"]
    scenes[1]["split"] = "dev"
    spoil(folder, scenes=scenes)
    with pytest.raises(UserError, match=r'scenes\.1\.split: split is "dev"'):
        Receipt.read(folder)


def test_missing_and_short_files_are_named(folder: Path) -> None:
    (folder / "test-000" / "label.tif").write_bytes(b"ab")
    with pytest.raises(UserError, match=r"test-000/label\.tif: has 2 bytes, the receipt says 3"):
        receipt().require(folder)
    (folder / "train-000" / "optical.tif").unlink()
    with pytest.raises(UserError, match=r"train-000/optical\.tif") as caught:
        receipt().require(folder)
    assert "georelay fetch demo" in str(caught.value)
