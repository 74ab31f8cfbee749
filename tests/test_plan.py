"""The resolver: what a plan holds, what a fingerprint counts, and that neither waits for heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from georelay.errors import UserError
from georelay.files import write_json
from georelay.params import load_params
from georelay.plan import card_path, make_plan, predict_key, row_key, rule_digest, run_fingerprint, write_plans
from georelay.rows import resolve

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
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for task in load_params(REPOSITORY / "params.yaml").tasks:
        write_json(tmp_path / card_path(task), card(task))
    return tmp_path


@pytest.fixture
def plan(root: Path) -> dict[str, Any]:
    params = load_params(REPOSITORY / "params.yaml")
    return make_plan(params, resolve(params, "clouds-student"), root)


def test_a_plan_holds_all_that_its_runs_need(plan: dict[str, Any]) -> None:
    assert plan["tiles"] == {"path": "results/tiles/clouds.zarr.zip", "sha256": "0" * 64}
    assert plan["source"] == {"name": "clouds", "folder": "data/raw/clouds", "receipt": "1" * 64}
    assert plan["classes"] == ["a", "b"] and plan["labels"] == 32
    assert plan["settings"]["train"]["steps"] == 200
    assert plan["settings"]["method"] == {"label_smoothing": 0.0}
    assert set(plan["modalities"]) == {"optical"}
    assert "why" not in plan, "a reason reworded must not train anything"


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


def test_a_domain_the_tiles_do_not_have_is_named(root: Path) -> None:
    params = load_params(REPOSITORY / "params.yaml")
    row = resolve(params, "crosscity-source-only").model_copy(update={"test_domain": "targett"})
    with pytest.raises(UserError, match=r'test_domain: task crosscity has no domain "targett"'):
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


def test_plan_and_the_rules_import_nothing_heavy() -> None:
    code = (
        "import sys, georelay.cli, georelay.plan, georelay.stage;"
        "heavy = {'torch', 'numpy', 'timm', 'mlflow', 'zarr', 'xarray', 'dask', 'rasterio', 'matplotlib', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
