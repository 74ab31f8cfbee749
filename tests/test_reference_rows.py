"""Rows of the reference: the plain rows trained longer, under names of their own, and never active."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from georelay.cli import main
from georelay.errors import UserError
from georelay.files import read_json, write_json
from georelay.params import load_params
from georelay.plan import card_path, make_plan, plan_path, row_key, run_fingerprint, write_plans
from georelay.reading import load_yaml
from georelay.rows import bounds_of, resolve, rows, seeds_of, studies
from georelay.settings import Params

REPOSITORY = Path(__file__).parents[1]
POLY = {"schedule": "poly", "steps": 75, "warmup_steps": 5, "poly_begin": 15}
BAND = {"bands": ["blue"], "dtype": "uint16", "scale": 1e-4, "nodata": 0, "unit": "reflectance", "mean": [1.0], "std": [1.0]}
CARD = {"sha256": "0" * 64, "receipt": "1" * 64, "classes": [], "ignore": 255, "domains": ["main"]}


@pytest.fixture
def values() -> dict[str, Any]:
    """Three rows of two studies, of which one has a reference."""
    values: dict[str, Any] = load_yaml(REPOSITORY / "params.yaml")
    base = {"method": "supervised", "task": "clouds", "why": "x"}
    values["experiments"] = {
        "base": base | {"study": "sky"},
        "child": {"like": "base", "why": "y", "set": {"train": POLY}},
        "other": base | {"study": "ground"},
    }
    values["active"] |= {"experiments": ["base"], "studies": ["sky"], "set": {}, "times": 1.0}
    values["compare"]["gaps"] = {"sky": {"lower": "base", "upper": "child"}}
    values["reference"] = {"studies": ["sky"], "seeds": [3, 4], "times": 1.5}
    return values


def loaded(values: dict[str, Any], folder: Path) -> Params:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return load_params(path)


def test_every_row_of_a_listed_study_has_a_longer_twin(values: dict[str, Any], tmp_path: Path) -> None:
    params = loaded(values, tmp_path)
    assert studies(params) == {
        "sky": ["base", "child"],
        "ground": ["other"],
        "sky-reference": ["base-reference", "child-reference"],
    }
    twins = rows(params, "sky-reference", active=False)
    assert [(row.name, row.parent) for row in twins] == [("base-reference", None), ("child-reference", "base-reference")]
    assert [resolve(params, row.name) for row in twins] == twins
    assert [row.name for row in rows(params)] == ["base"]


def test_steps_are_stretched_and_nothing_else(values: dict[str, Any], tmp_path: Path) -> None:
    params = loaded(values, tmp_path)
    plain, twin = resolve(params, "child"), resolve(params, "child-reference")
    assert (twin.train.steps, twin.train.warmup_steps, twin.train.poly_begin) == (112, 8, 22)  # of 75, 5 and 15; 112.5 to even
    assert all(type(value) is int for value in (twin.train.steps, twin.train.warmup_steps, twin.train.poly_begin))
    train = twin.train.model_copy(update={key: POLY[key] for key in ("steps", "warmup_steps", "poly_begin")})
    assert twin.model_copy(update={"name": "child", "study": "sky", "parent": "base", "train": train}) == plain


def test_active_rows_may_have_a_budget_that_the_reference_has_not(values: dict[str, Any], tmp_path: Path) -> None:
    values["active"]["set"] = {"train": {"batch": 4, "steps": 50}}
    params = loaded(values, tmp_path)
    (small,) = rows(params)
    assert (small.name, small.train.batch, small.train.steps) == ("base", 4, 50)
    full = values["defaults"]["train"]
    found = {row.name: (row.train.batch, row.train.steps) for row in rows(params, active=False)}
    assert found["child"] == (full["batch"], 75)  # not active
    assert found["base-reference"] == (full["batch"], 1.5 * full["steps"])
    values["active"]["times"] = 0.01
    (short,) = rows(loaded(values, tmp_path))
    assert (short.train.steps, short.train.warmup_steps) == (1, 0)
    values["active"]["set"] = {"train": {"batsh": 4}}
    with pytest.raises(UserError, match=r"params\.yaml: active\.set\.train\.batsh: unknown key"):
        loaded(values, tmp_path)


def test_a_reference_has_seeds_of_its_own(values: dict[str, Any], tmp_path: Path) -> None:
    params = loaded(values, tmp_path)
    assert seeds_of(params, "sky-reference") == [3, 4]
    assert seeds_of(params, "sky") == params.active.seeds


def test_bounds_of_a_reference_are_its_own_rows(values: dict[str, Any], tmp_path: Path) -> None:
    params = loaded(values, tmp_path)
    assert bounds_of(params, "sky") == ("base", "child")
    assert bounds_of(params, "sky-reference") == ("base-reference", "child-reference")
    assert bounds_of(params, "ground") is None


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("experiments", {"more-reference": {"like": "base", "why": "x"}}, "experiments.more-reference: no name of yours may end"),
        ("experiments", {"base-reference": {"like": "base", "why": "x"}}, "experiments.base-reference: no name of yours may end"),
        ("experiments", {"more": {"like": "base", "study": "sky-reference", "why": "x"}}, "more.study: no name of yours may end"),
        ("reference", {"studies": ["skies"]}, 'reference.studies: unknown study "skies"'),
        ("reference", {"studies": ["sky-reference"]}, 'reference.studies: unknown study "sky-reference"'),
        ("reference", {"times": 0.5}, "reference.times: input should be greater than or equal to 1"),
        ("reference", {"tmes": 2}, "reference.tmes: unknown key"),
        ("reference", {"seeds": []}, "reference.seeds"),
        ("active", {"studies": ["sky", "sky-reference"]}, 'active.studies: unknown study "sky-reference"'),
        ("active", {"experiments": ["base-reference"]}, 'active.experiments: unknown experiment "base-reference"'),
    ],
)
def test_what_is_refused(values: dict[str, Any], tmp_path: Path, section: str, change: dict[str, Any], message: str) -> None:
    values[section] |= change
    with pytest.raises(UserError) as caught:
        loaded(values, tmp_path)
    assert message in str(caught.value)


def test_names_that_are_no_rows(values: dict[str, Any], tmp_path: Path) -> None:
    params = loaded(values, tmp_path)
    with pytest.raises(
        UserError, match=r"reference\.studies: other-reference is no row: study ground is not listed\n  add ground"
    ):
        resolve(params, "other-reference")
    with pytest.raises(UserError, match='unknown experiment "bose"'):
        resolve(params, "bose-reference")


def with_card(folder: Path) -> Path:
    write_json(folder / card_path("clouds"), CARD | {"modalities": {"optical": BAND}})
    return folder


@pytest.mark.parametrize(("times", "same"), [(1, True), (1.5, False)])
def test_as_long_as_the_plain_rows_they_are_the_same_runs(
    values: dict[str, Any], tmp_path: Path, times: float, same: bool
) -> None:
    values["reference"]["times"] = times
    params = loaded(values, tmp_path)
    for name in ("base", "child"):
        pair = [resolve(params, row) for row in (name, f"{name}-reference")]
        plain, twin = (run_fingerprint(make_plan(params, row, with_card(tmp_path)), 0) for row in pair)
        assert (plain == twin) is same
        assert (row_key(pair[0], "train") == row_key(pair[1], "train")) is same


def test_plans_are_written_by_their_names_and_not_without(values: dict[str, Any], tmp_path: Path) -> None:
    params = loaded(values, with_card(tmp_path))
    assert write_plans(params, tmp_path, []) == [tmp_path / plan_path("base")]
    with contextlib.chdir(tmp_path):
        assert main(["plan", "child-reference"]) == 0
        assert main(["plan", "other-reference"]) == 2
    assert read_json(tmp_path / plan_path("child-reference"))["settings"]["train"]["steps"] == 112
