"""Scores of a run: whole road from maps on disk to the two files, and every way in which the maps can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from georelay.errors import UserError
from georelay.evaluate import counting
from georelay.evaluate.scores import evaluate_run, read_scores
from georelay.evaluate.tested import only_tested
from georelay.files import sha256_file, write_json
from georelay.geo.raster import write_cog, write_raster
from georelay.sources.receipt import Receipt, Scene

CLASSES = ("clear", "shadow", "cloud")
COLOURS = ((90, 140, 70), (40, 40, 60), (240, 240, 240))
IGNORE = 255
NEAR = {"boundary": 1, "bins": 4}
PLACE: dict[str, Any] = {"transform": (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0), "crs": "EPSG:32631"}
PLAN: dict[str, Any] = {
    "experiment": "student",
    "classes": list(CLASSES),
    "ignore": IGNORE,
    "test_domain": "main",
    "source": {"name": "clouds", "folder": "data/raw/clouds"},
}
TRUTH = {"test-000": [[0, 0], [1, IGNORE]], "test-001": [[1, 1], [0, 0]]}
GUESS = {"test-000": [[0, 1], [1, 0]], "test-001": [[1, 0], [IGNORE, 0]]}


def write_map(root: Path, name: str, labels: list[list[int]], **place: Any) -> None:
    path = root / "results/maps/student/seed0" / f"{name}.tif"
    layout = {**PLACE, **place, "nodata": IGNORE, "colours": COLOURS, "class_names": CLASSES}
    write_cog(path, np.array(labels, np.uint8), **layout)
    listing = path.with_name("maps.json")
    known = json.loads(listing.read_text())["scenes"] if listing.exists() else {}
    write_json(listing, {"scenes": {**known, name: {"file": path.name, "sha256": sha256_file(path)}}})


def add_certainty(root: Path, name: str, levels: list[list[int]]) -> Path:
    path = root / "results/maps/student/seed0" / f"{name}-certainty.tif"
    write_cog(path, np.array(levels, np.uint8), **PLACE, nodata=255)
    listing = path.with_name("maps.json")
    known = json.loads(listing.read_text())["scenes"]
    known[name]["certainty"] = {"file": path.name, "sha256": sha256_file(path)}
    write_json(listing, {"scenes": known})
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    raw = tmp_path / "data/raw/clouds"
    scenes, files = [], {}
    for name, labels in {**TRUTH, "train-000": [[0, 0], [0, 0]]}.items():
        write_raster(raw / f"{name}.tif", np.array([labels], np.uint8), **PLACE, nodata=IGNORE)
        files[f"{name}.tif"] = {"size": (raw / f"{name}.tif").stat().st_size, "sha256": sha256_file(raw / f"{name}.tif")}
        scenes.append(Scene(name, name.split("-")[0], "main", {}, f"{name}.tif"))
    classes = tuple({"name": name, "colour": list(colour)} for name, colour in zip(CLASSES, COLOURS, strict=False))
    Receipt("clouds", "synthetic", "CC0", None, classes, IGNORE, {}, PLACE["crs"], tuple(scenes), files).write(raw)
    for name, guess in GUESS.items():
        write_map(tmp_path, name, guess)
    monkeypatch.setitem(PLAN["source"], "receipt", sha256_file(raw / "receipt.json"))
    return tmp_path


def test_scores_by_hand(root: Path) -> None:
    evaluate_run(PLAN, 0, root, **NEAR)
    facts = json.loads((root / "results/scores/student/seed0.json").read_text())
    # test-000 counts 3 pixels [[1, 1], [0, 1]], test-001 counts 3 pixels [[1, 0], [1, 1]]; together [[2, 1], [1, 2]]
    assert facts["pixels"] == 6
    assert facts["iou"] == {"clear": 0.5, "shadow": 0.5, "cloud": None}
    assert facts["f1"]["shadow"] == pytest.approx(2 / 3, abs=1e-8)
    assert (facts["miou"], facts["oa"]) == (0.5, pytest.approx(4 / 6, abs=1e-8))
    assert facts["kappa"] == pytest.approx(1 / 3, abs=1e-8)  # (4/6 - 1/2) / (1 - 1/2): each class is half of either
    assert facts["scenes"]["test-000"] == {"pixels": 3, "miou": 0.5, "oa": pytest.approx(2 / 3, abs=1e-8)}


def test_outlines_and_certainty_by_hand(root: Path) -> None:
    """Clear has two boundary pixels in the truth, (0, 0) of the first scene and (1, 1) of the second, and two in the maps, of
    which the first is in its place: P = R = 1/2. Shadow has two and three, of which one, (1, 0) of the first: P = 1/3, R = 1/2.
    """
    levels = {"test-000": [[254, 254], [127, 0]], "test-001": [[200, 127], [255, 254]]}
    for name, values in levels.items():
        add_certainty(root, name, values)
    evaluate_run(PLAN, 0, root, boundary=0, bins=2)
    facts = json.loads((root / "results/scores/student/seed0.json").read_text())
    assert facts["boundary_f1_classes"] == {"clear": 0.5, "shadow": pytest.approx(0.4), "cloud": None}
    assert facts["boundary_f1"] == pytest.approx(0.45)
    assert "at most 0 pixels" in facts["definitions"]["boundary_f1"] and "2 bins" in facts["definitions"]["ece"]
    # Up to 0.5: two pixels at 127, of which (1, 0) of test-000 is right. Above: at 254 right, wrong, right, and at 200 right.
    low, high = facts["calibration"]["bins"]
    assert low == {"low": 0.0, "high": 0.5, "pixels": 2, "confidence": 0.5, "accuracy": 0.5}
    confidence = (3 * 254 + 200) / 254 / 4
    assert (high["pixels"], high["accuracy"], high["confidence"]) == (4, 0.75, pytest.approx(confidence, abs=1e-8))
    assert facts["calibration"]["ece"] == pytest.approx(4 / 6 * (confidence - 0.75), abs=1e-8)


def test_maps_without_certainty_have_no_calibration(root: Path) -> None:
    evaluate_run(PLAN, 0, root, **NEAR)
    facts = json.loads((root / "results/scores/student/seed0.json").read_text())
    assert facts["calibration"]["ece"] is None and facts["boundary_f1"] is not None
    assert [one["pixels"] for one in facts["calibration"]["bins"]] == [0] * NEAR["bins"]


def test_a_changed_certainty_is_refused(root: Path) -> None:
    path = add_certainty(root, "test-000", [[254, 254], [127, 0]])
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"test-000-certainty\.tif: is not the map that was predicted"):
        evaluate_run(PLAN, 0, root, **NEAR)


def test_confusion_of_each_scene_is_written_without_zeros(root: Path) -> None:
    evaluate_run(PLAN, 0, root, **NEAR)
    lines = (root / "results/scores/student/seed0.csv").read_text().splitlines()
    assert lines[0] == "scene,truth,predicted,count"
    first = {"test-000,clear,clear,1", "test-000,clear,shadow,1", "test-000,shadow,shadow,1"}
    nowhere = {"test-000,,clear,1"}  # predicted where there is no true class
    second = {"test-001,clear,clear,1", "test-001,shadow,clear,1", "test-001,shadow,shadow,1"}
    assert set(lines[1:]) == first | nowhere | second


def test_files_are_the_same_to_the_byte_and_read_back(root: Path) -> None:
    evaluate_run(PLAN, 0, root, **NEAR)
    before = {path.name: path.read_bytes() for path in (root / "results/scores/student").iterdir()}
    evaluate_run(PLAN, 0, root, **NEAR)
    assert before == {path.name: path.read_bytes() for path in (root / "results/scores/student").iterdir()}
    stored = read_scores("student", 0, root)
    assert stored is not None and stored.scenes == ("test-000", "test-001") and stored.classes == CLASSES
    assert stored.pooled.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]


def test_scores_as_published_by_hand(root: Path) -> None:
    evaluate_run(PLAN, 0, root, **NEAR)
    facts = json.loads((root / "results/scores/student/seed0.json").read_text())["as_published"]
    # The pixel without a true class is one more that is predicted clear: 4 against 3 of shadow.
    assert facts["iou"] == {"clear": 0.5, "shadow": 0.5, "cloud": 0.0} and facts["miou"] == pytest.approx(1 / 3)
    assert facts["f1"] == {"clear": pytest.approx(2 * (2 / 4) * (2 / 3) / (7 / 6)), "shadow": pytest.approx(2 / 3), "cloud": 0.0}
    assert facts["kappa"] == pytest.approx((4 / 6 - 21 / 36) / (1 - 21 / 36))
    assert facts["definitions"].keys() == facts.keys() - {"definitions"}


def test_an_unscored_class_is_wrong_where_predicted_and_uncounted_where_true(root: Path) -> None:
    evaluate_run({**PLAN, "unscored": ["shadow"]}, 0, root, **NEAR)
    facts = json.loads((root / "results/scores/student/seed0.json").read_text())
    # Of three pixels that are truly clear two are found; two of shadow and one of none are called clear besides.
    assert (facts["pixels"], facts["oa"]) == (3, pytest.approx(2 / 3))
    assert facts["iou"] == {"clear": pytest.approx(2 / 3), "shadow": None, "cloud": None}
    assert facts["miou"] == pytest.approx(2 / 3) and facts["f1"]["clear"] == pytest.approx(0.8)
    precision, recall = 2 / 4, 2 / 3
    assert facts["as_published"]["f1"]["clear"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert facts["as_published"]["miou"] == pytest.approx(1 / 3) and facts["as_published"]["iou"]["shadow"] is None
    stored = read_scores("student", 0, root)
    assert stored is not None and stored.scored == ("clear", "cloud")
    assert stored.pooled.tolist() == [[2, 0, 1], [0, 0, 0]]


def test_files_from_before_there_were_pixels_without_a_truth_are_read(root: Path) -> None:
    evaluate_run(PLAN, 0, root, **NEAR)
    path = root / "results/scores/student/seed0.json"
    facts = json.loads(path.read_text())
    write_json(path, {key: value for key, value in facts.items() if key not in ("unscored", "kappa", "as_published")})
    lines = path.with_suffix(".csv").read_text().splitlines()
    path.with_suffix(".csv").write_text("\n".join(line for line in lines if ",," not in line) + "\n")
    stored = read_scores("student", 0, root)
    assert stored is not None and stored.unscored == () and stored.pooled.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]


def test_strips_add_up_to_the_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate_run(PLAN, 0, root, **NEAR)
    whole = (root / "results/scores/student/seed0.json").read_bytes()
    monkeypatch.setattr(counting, "STRIP_PIXELS", 2)
    evaluate_run(PLAN, 0, root, **NEAR)
    assert (root / "results/scores/student/seed0.json").read_bytes() == whole


@pytest.mark.parametrize("pixels", [2, 1 << 22])
def test_only_what_was_drawn_for_testing_counts(root: Path, monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    monkeypatch.setattr(counting, "STRIP_PIXELS", pixels)
    drawn = {"tile": 1, "scenes": {"test-000": [[0, 1], [1, 1]], "train-000": [[1, 0]]}}
    write_map(root, "train-000", [[0, 0], [1, 0]])
    listing = root / "results/maps/student/seed0/maps.json"
    known = json.loads(listing.read_text())["scenes"]
    write_json(listing, {"scenes": {name: known[name] for name in drawn["scenes"]}})
    evaluate_run({**PLAN, "source": {**PLAN["source"], "tested": drawn}}, 0, root, **NEAR)
    lines = (root / "results/scores/student/seed0.csv").read_text().splitlines()[1:]
    assert [line for line in lines if ",," not in line] == ["test-000,clear,shadow,1", "train-000,clear,shadow,1"]
    assert [line for line in lines if ",," in line] == ["test-000,,clear,1"]  # where nothing is tested not even strays count


def test_a_window_of_labels_keeps_its_test_tiles() -> None:
    drawn = {"tile": 2, "scenes": {"a": [[0, 0], [2, 4], [4, 2]]}}
    plan, truth = {**PLAN, "source": {"tested": drawn}}, np.zeros((3, 4), np.uint8)
    assert (only_tested(truth, plan, "a", 1, 1) == 0).astype(int).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert only_tested(truth, PLAN, "a", 1, 1) is truth


def test_a_changed_map_is_refused(root: Path) -> None:
    path = root / "results/maps/student/seed0/test-001.tif"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"test-001\.tif: is not the map that was predicted.*\n.*georelay predict student 0"):
        evaluate_run(PLAN, 0, root, **NEAR)
    assert not (root / "results/scores").exists()


def test_a_missing_map_is_named(root: Path) -> None:
    (root / "results/maps/student/seed0/test-000.tif").unlink()
    with pytest.raises(UserError, match=r"test-000\.tif: map is missing"):
        evaluate_run(PLAN, 0, root, **NEAR)


@pytest.mark.parametrize(
    ("place", "labels", "said"),
    [
        ({"crs": "EPSG:32632"}, GUESS["test-000"], "CRS EPSG:32632 against EPSG:32631"),
        ({"transform": (10.0, 0.0, 500_010.0, 0.0, -10.0, 4_000_000.0)}, GUESS["test-000"], "transform"),
        ({}, [[0, 1, 1], [1, 0, 1]], "size 3 x 2 against 2 x 2 pixels"),
    ],
)
def test_a_map_on_another_grid_is_refused(root: Path, place: dict[str, Any], labels: list[list[int]], said: str) -> None:
    write_map(root, "test-000", labels, **place)
    with pytest.raises(UserError, match=f"does not lie on the grid of its label .*{said}"):
        evaluate_run(PLAN, 0, root, **NEAR)


def test_a_scene_without_a_map_or_a_map_without_a_scene_is_refused(root: Path) -> None:
    path = root / "results/maps/student/seed0/maps.json"
    listing = json.loads(path.read_text())["scenes"]
    write_json(path, {"scenes": {"test-000": listing["test-000"], "train-000": listing["test-001"]}})
    with pytest.raises(UserError, match=r"lacks test-001; has besides train-000 \(2 test scenes are expected\)"):
        evaluate_run(PLAN, 0, root, **NEAR)


def test_a_label_outside_the_classes_is_named(root: Path) -> None:
    write_map(root, "test-001", [[0, 7], [0, 0]])
    with pytest.raises(UserError, match=r"test-001\.tif: prediction holds class 7, the task has classes 0 to 2"):
        evaluate_run(PLAN, 0, root, **NEAR)


def test_a_truncated_label_is_named(root: Path) -> None:
    path = root / "data/raw/clouds/test-000.tif"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"test-000\.tif"):
        evaluate_run(PLAN, 0, root, **NEAR)


def test_labels_of_another_source_are_refused(root: Path) -> None:
    receipt = Receipt.read(root / "data/raw/clouds")
    Receipt(**{**vars(receipt), "licence": "other"}).write(root / "data/raw/clouds")
    with pytest.raises(UserError, match=r"receipt\.json: the source has changed since the plan was made"):
        evaluate_run(PLAN, 0, root, **NEAR)


def test_a_domain_without_test_scenes_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match="no test scenes in the plan's test domain"):
        evaluate_run({**PLAN, "test_domain": "target"}, 0, root, **NEAR)


def test_unevaluated_runs_read_as_none_and_broken_ones_are_refused(root: Path) -> None:
    assert read_scores("student", 0, root) is None
    evaluate_run(PLAN, 0, root, **NEAR)
    path = root / "results/scores/student/seed0.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match=r"5 pixels in the CSV, 6 in the JSON.*\n.*georelay evaluate student 0"):
        read_scores("student", 0, root)


def test_importing_it_stays_light() -> None:
    heavy = "{'torch', 'scipy', 'matplotlib', 'mlflow', 'zarr', 'timm'}"
    code = f"import sys, georelay.evaluate.scores; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
