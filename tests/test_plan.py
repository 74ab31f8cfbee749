"""The resolver: what a plan holds, what a fingerprint counts, and that neither waits for heavy libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from georelay.codebase import code_digest
from georelay.errors import UserError
from georelay.files import write_json
from georelay.params import load_params
from georelay.plan import (
    ROOTS,
    card_path,
    features_path,
    make_plan,
    plan_path,
    predict_key,
    require_start,
    row_key,
    rule_digest,
    run_fingerprint,
    source_key,
    teacher_key,
    teacher_path,
    write_plans,
)
from georelay.rows import resolve, rows
from georelay.settings import Params

REPOSITORY = Path(__file__).parents[1]
BAND = {"bands": ["blue"], "dtype": "uint16", "scale": 1e-4, "nodata": 0, "unit": "reflectance", "mean": [1.0], "std": [1.0]}


def card(task: str) -> dict[str, Any]:
    domains = ["source", "target"] if task == "crosscity" else ["main"]
    return {
        "task": task,
        "sha256": "0" * 64,
        "receipt": "1" * 64,
        "classes": [{"name": "a", "colour": [0, 0, 0]}, {"name": "b", "colour": [255, 0, 0]}],
        "ignore": 255,
        "modalities": {name: BAND for name in ("optical", "eo", "sar")},
        "domains": domains,
        "labelled": {domain: {"count": 640, "digest": "3" * 64, "tiles": []} for domain in domains},
    }


def teacher_card(name: str, **changes: Any) -> dict[str, Any]:
    facts = {"origin": "taught", "settings": {"taps": ["decoder"]}, "taught": {"bands": 4}, "taps": [{"tap": "decoder"}]}
    return {"name": name, "licence": "CC0", "sha256": f"{len(name):064x}", "parameters": 9, **facts, **changes}


def write_teachers(root: Path, **changes: Any) -> None:
    """Cards of the two embedded teachers and of their features, as `teach` and `features` leave them."""
    for name in ("attributes", "restoration"):
        made = teacher_card(name, **changes)
        write_json(root / teacher_path(name), made)
        features = {"task": "landcover", "teacher": made["sha256"], "sha256": "2" * 64, "licence": made["licence"], "note": "x"}
        write_json(root / features_path("landcover", name), features)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for task in load_params(REPOSITORY / "params.yaml").tasks:
        write_json(tmp_path / card_path(task), card(task))
    write_teachers(tmp_path)
    return tmp_path


@pytest.fixture
def params() -> Params:
    return load_params(REPOSITORY / "params.yaml")


@pytest.fixture
def plan(root: Path) -> dict[str, Any]:
    params = load_params(REPOSITORY / "params.yaml")
    return make_plan(params, resolve(params, "clouds-student"), root)


def test_a_plan_holds_all_that_its_runs_need(plan: dict[str, Any]) -> None:
    assert plan["tiles"] == {"path": "results/tiles/clouds.zarr.zip", "sha256": "0" * 64}
    assert plan["source"] == {"name": "clouds", "folder": "data/raw/clouds", "receipt": "1" * 64}
    assert plan["classes"] == ["a", "b"] and plan["labels"] == 32
    assert plan["settings"]["train"]["steps"] == 80  # 200 in the row, of which `active` takes two fifths
    assert plan["settings"]["method"] == {"label_smoothing": 0.0}
    assert set(plan["modalities"]) == {"optical"}
    assert "why" not in plan, "a reason reworded must not train anything"


@pytest.mark.parametrize(
    ("share", "tiles", "labelled"),
    [
        *(("1%", tiles, count) for tiles, count in ((3283, 32), (12045, 120), (640, 6))),
        *(("5%", tiles, count) for tiles, count in ((3283, 164), (12045, 602), (640, 32))),
        *(("10%", tiles, count) for tiles, count in ((3283, 328), (12045, 1204), (640, 64))),
        *(("0.5%", 640, 3), ("0.1%", 640, 1), ("29%", 100, 29), ("100%", 3283, 3283)),
    ],
)
def test_a_share_of_labels_becomes_a_count(root: Path, params: Params, share: str, tiles: int, labelled: int) -> None:
    known = card("clouds") | {"labelled": {"main": {"count": tiles}}}
    write_json(root / card_path("clouds"), known)
    row = resolve(params, "clouds-student").model_copy(update={"labels": share})
    assert make_plan(params, row, root)["labels"] == labelled and row.labels == share


def test_a_share_is_taken_of_each_domain_that_is_trained_on(root: Path, params: Params) -> None:
    write_json(
        root / card_path("crosscity"), card("crosscity") | {"labelled": {"source": {"count": 90}, "target": {"count": 50}}}
    )
    row = resolve(params, "crosscity-source-only").model_copy(update={"labels": "10%"})
    assert make_plan(params, row, root)["labels"] == 9
    both = row.model_copy(update={"train_domain": None})
    assert make_plan(params, both, root)["labels"] == {"source": 9, "target": 5}


def test_what_is_tested_stands_in_the_plan_where_it_was_drawn(root: Path, params: Params) -> None:
    drawn = {"tile": 64, "scenes": {"a": [[0, 64]]}}
    write_json(root / card_path("clouds"), card("clouds") | {"tested": drawn})
    plan = make_plan(params, resolve(params, "clouds-student"), root)
    assert plan["source"]["tested"] == drawn
    fewer = plan | {"source": plan["source"] | {"tested": drawn | {"scenes": {}}}}
    assert predict_key(fewer) != predict_key(plan)


@pytest.mark.parametrize(
    ("path", "value", "counts"),
    [
        (("settings", "train", "lr"), 1.0, True),
        (("tiles", "sha256"), "f" * 64, True),
        (("code", "train"), "f" * 64, True),
        (("labels",), 7, True),
        (("code", "predict"), "f" * 64, False),
        (("settings", "predict", "window"), 7, False),
        (("experiment",), "another-name", False),
    ],
)
def test_a_run_is_named_by_what_it_depends_on(plan: dict[str, Any], path: tuple[str, ...], value: object, counts: bool) -> None:
    before = run_fingerprint(plan, 0)
    changed = json.loads(json.dumps(plan))
    place = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert (run_fingerprint(changed, 0) != before) == counts


def test_a_source_is_fetched_anew_when_its_generator_or_its_files_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params(REPOSITORY / "params.yaml")
    drawn, found = (code_digest((*ROOTS["fetch"], params.sources[name].module)) for name in ("clouds", "ktda-grass"))
    assert source_key(params, "clouds")["code"] == drawn != found == source_key(params, "ktda-grass")["code"]
    monkeypatch.chdir(tmp_path)
    absent = rule_digest(params, "fetch", name="ktda-grass")
    path = tmp_path / params.sources["ktda-grass"].path / "img_dir/train/a.tif"
    path.parent.mkdir(parents=True)
    seen = {absent}
    for content, time in (("a", 1), ("ab", 1), ("ab", 2)):
        path.write_text(content)
        os.utime(path, (time, time))
        seen.add(rule_digest(params, "fetch", name="ktda-grass"))
    assert len(seen) == 4
    assert rule_digest(params, "fetch", name="ktda-grass") in seen


def test_seeds_have_fingerprints_of_their_own(plan: dict[str, Any]) -> None:
    assert run_fingerprint(plan, 0) != run_fingerprint(plan, 1)


def test_maps_depend_on_the_windows(plan: dict[str, Any]) -> None:
    before = predict_key(plan)
    plan["settings"]["predict"] = {**plan["settings"]["predict"], "window": 7}
    assert predict_key(plan) != before


def test_a_new_reason_changes_no_rule_but_a_number_does() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    row = resolve(params, "clouds-student")
    renamed = row.model_copy(update={"why": "other words", "core": False})
    longer = row.model_copy(update={"train": row.train.model_copy(update={"steps": 7})})
    wider = row.model_copy(update={"predict": row.predict.model_copy(update={"window": 7})})
    assert row_key(row, "train") == row_key(renamed, "train")
    assert rule_digest(params, "train", row) != rule_digest(params, "train", longer)
    assert rule_digest(params, "train", row) == rule_digest(params, "train", wider)
    assert rule_digest(params, "predict", row) != rule_digest(params, "predict", wider)


def test_a_run_counts_the_file_that_its_student_starts_from(root: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    row = resolve(params, "clouds-student")
    row = row.model_copy(update={"model": row.model.model_copy(update={"weights": "w.safetensors"})})
    absent = rule_digest(params, "plan", row)
    with pytest.raises(UserError, match=r"w.safetensors: the weights to start from are missing"):
        make_plan(params, row, root)
    plans, digests = [], [absent]
    for content in ("a", "b"):
        Path("w.safetensors").write_text(content * len(digests))
        plans.append(make_plan(params, row, root))
        digests.append(rule_digest(params, "plan", row))
    assert plans[0]["start"]["path"] == "w.safetensors" and len(set(digests)) == 3
    assert run_fingerprint(plans[0], 0) != run_fingerprint(plans[1], 0)
    with pytest.raises(UserError, match=r"w.safetensors: has changed since the plan was made"):
        require_start(plans[0])
    require_start(plans[1])


def test_a_domain_the_tiles_do_not_have_is_named(root: Path) -> None:
    params = load_params(REPOSITORY / "params.yaml")
    row = resolve(params, "crosscity-source-only").model_copy(update={"test_domain": "targett"})
    with pytest.raises(UserError, match=r'test_domain: task crosscity has no domain "targett"'):
        make_plan(params, row, root)


def test_unscored_classes_stand_in_the_plan(root: Path, params: Params) -> None:
    row = resolve(params, "clouds-student")
    assert make_plan(params, row, root)["unscored"] == []
    task = params.tasks["clouds"].model_copy(update={"unscored": ["b"]})
    changed = resolve(params.model_copy(update={"tasks": {**params.tasks, "clouds": task}}), "clouds-student")
    plan = make_plan(params, changed, root)
    assert plan["unscored"] == ["b"]
    assert rule_digest(params, "evaluate", row) != rule_digest(params, "evaluate", changed)
    assert predict_key(plan) == predict_key(make_plan(params, row, root)), "maps do not depend on it"


@pytest.mark.parametrize(
    ("names", "said"),
    [(["bb"], r'unscored.*: unknown class "bb".*\n.*did you mean'), (["b", "a"], "leaves no class that is scored")],
)
def test_unscored_classes_are_checked(root: Path, params: Params, names: list[str], said: str) -> None:
    row = resolve(params, "clouds-student").model_copy(update={"unscored": names})
    with pytest.raises(UserError, match=said):
        make_plan(params, row, root)


def test_missing_tiles_are_named(tmp_path: Path) -> None:
    params = load_params(REPOSITORY / "params.yaml")
    with pytest.raises(UserError, match=r"results/tiles/clouds.json: file is missing"):
        write_plans(params, tmp_path, ["clouds-student"])


def test_every_row_gets_a_plan_of_its_own(root: Path) -> None:
    params = load_params(REPOSITORY / "params.yaml")
    base = params.experiments["clouds-student"]
    rows = {f"row-{index}": base.model_copy(update={"set": {"train": {"lr": 1e-3 + index}}}) for index in range(5)}
    active = params.active.model_copy(update={"experiments": list(rows)})
    paths = write_plans(params.model_copy(update={"experiments": rows, "active": active}), root, [])
    assert [path.stem for path in paths] == list(rows)
    assert len({path.read_text() for path in paths}) == 5


@pytest.mark.parametrize("view", ["cached", "online"])
def test_a_plan_holds_its_teachers_and_where_their_features_lie(root: Path, params: Params, view: str) -> None:
    row = resolve(params, "distil-attributes").model_copy(update={"teacher_view": view})
    plan = make_plan(params, row, root)
    kept = {key: value for key, value in teacher_card("attributes").items() if key not in ("name", "licence")}
    stored = {"path": "results/features/landcover--attributes.zarr.zip", "sha256": "2" * 64}
    assert plan["teachers"] == {"attributes": kept}
    assert plan["features"] == ({"attributes": stored} if view == "cached" else {})
    assert plan["teacher_view"] == view


def test_a_row_without_teachers_holds_none(plan: dict[str, Any]) -> None:
    assert (plan["teachers"], plan["features"]) == ({}, {})


def test_features_of_another_version_of_the_teacher_are_refused(root: Path, params: Params) -> None:
    write_json(root / teacher_path("attributes"), teacher_card("attributes", sha256="f" * 64))
    row = resolve(params, "distil-attributes")
    message = r"(?s)landcover--attributes\.json: holds features of another version .*`georelay features landcover attributes`"
    with pytest.raises(UserError, match=message):
        make_plan(params, row, root)
    make_plan(params, row.model_copy(update={"teacher_view": "online"}), root)  # it reads the weights


@pytest.mark.parametrize("path", [teacher_path("attributes"), features_path("landcover", "attributes")])
def test_missing_teachers_and_features_are_named(root: Path, params: Params, path: Path) -> None:
    (root / path).unlink()
    with pytest.raises(UserError, match=f"{path}: file is missing"):
        write_plans(params, root, ["distil-attributes"])


@pytest.mark.parametrize(
    ("change", "counts"),
    [({"sha256": "f" * 64}, True), ({"taps": []}, True), ({"licence": "GPL"}, False)],
)
def test_a_run_counts_its_teacher_not_the_licence(root: Path, params: Params, change: dict[str, Any], counts: bool) -> None:
    row = resolve(params, "distil-attributes")
    before = run_fingerprint(make_plan(params, row, root), 0)
    write_teachers(root, **change)
    assert (run_fingerprint(make_plan(params, row, root), 0) != before) == counts


def test_the_order_of_teachers_does_not_count(root: Path, params: Params) -> None:
    row = resolve(params, "distil-attributes")
    orders = (["attributes", "restoration"], ["restoration", "attributes"])
    plans = [make_plan(params, row.model_copy(update={"teachers": names}), root) for names in orders]
    assert run_fingerprint(plans[0], 0) == run_fingerprint(plans[1], 0)
    for plan, name in zip(plans, "ab", strict=True):
        write_json(root / f"{name}.json", plan)
    assert (root / "a.json").read_bytes() == (root / "b.json").read_bytes(), "a run reads its plan from the file"


def changed_teacher(params: Params, **changes: Any) -> Params:
    teachers = {**params.teachers, "attributes": params.teachers["attributes"] | changes}
    return params.model_copy(update={"teachers": teachers})


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"taps": [1]}, True),
        ({"dtype": "bf16"}, True),
        ({"bands": ["red"]}, True),
        ({"why": "x"}, False),
        ({"licence": "x"}, True),  # a card from the cache would name the old one
    ],
)
def test_a_teacher_s_own_settings_count_for_it_alone(params: Params, changes: dict[str, Any], counts: bool) -> None:
    other = changed_teacher(params, **changes)
    assert (teacher_key(params, "attributes") != teacher_key(other, "attributes")) == counts
    assert (rule_digest(params, "teach", name="attributes") != rule_digest(other, "teach", name="attributes")) == counts
    assert teacher_key(params, "restoration") == teacher_key(other, "restoration")
    for before, after in zip(rows(params, active=False), rows(other, active=False), strict=True):
        assert row_key(before, "train") == row_key(after, "train"), "a row follows its teacher's card, not its settings"


def test_a_longer_lesson_is_another_teacher(params: Params) -> None:
    lesson = params.teachers["attributes"]["taught"]
    longer = changed_teacher(params, taught={**lesson, "set": {**lesson["set"], "train": {"steps": 7}}})
    assert teacher_key(params, "attributes") != teacher_key(longer, "attributes")
    assert teacher_key(params, "attributes-untrained") != teacher_key(longer, "attributes-untrained")


def test_a_change_of_a_teacher_changes_the_plans_of_its_rows_alone(root: Path, params: Params) -> None:
    names = ["clouds-student", "distil-student", "distil-attributes", "distil-restoration"]
    before = {path.stem: path.read_bytes() for path in write_plans(params, root, names)}
    made = teacher_card("attributes", sha256="f" * 64)
    write_json(root / teacher_path("attributes"), made)
    write_json(root / features_path("landcover", "attributes"), {"teacher": made["sha256"], "sha256": "3" * 64})
    write_plans(params, root, names)
    assert [name for name in names if (root / plan_path(name)).read_bytes() != before[name]] == ["distil-attributes"]


def test_plan_and_the_rules_import_nothing_heavy() -> None:
    code = (
        "import sys, georelay.cli, georelay.plan, georelay.stage;"
        "heavy = {'torch', 'numpy', 'timm', 'mlflow', 'zarr', 'xarray', 'dask', 'rasterio', 'matplotlib', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
