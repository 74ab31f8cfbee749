"""What differs between two plans, as it is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from georelay.changes import plan_changes, same_maps, same_run

DIGEST = "0123456789abcdef" * 4


def plan(**changes: Any) -> dict[str, Any]:
    facts = {
        "experiment": "a-row",
        "method": "ktda",
        "inputs": ["optical"],
        "test_domain": "main",
        "modalities": {"optical": {"mean": [1.0]}},
        "classes": ["a", "b"],
        "colours": [[0, 0, 0], [1, 1, 1]],
        "ignore": 255,
        "settings": {"train": {"lr": 0.003, "device": "cpu"}, "predict": {"overlap": 0.5}, "method": {"fam": True}},
        "tiles": {"path": "tiles.zarr.zip", "sha256": DIGEST},
        "source": {"receipt": DIGEST},
        "teachers": {},
        "code": {"train": "t" * 64, "predict": "p" * 64, "modules": {"methods.ktda": "1" * 12, "train.loop": "2" * 12}},
        "versions": {"torch": "2.13.0"},
    }
    return facts | changes


def changed(*keys: str, to: Any) -> dict[str, Any]:
    made = copy.deepcopy(plan())
    place = made
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return made


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (changed("settings", "train", "lr", to=0.006), "train.lr: 0.003 -> 0.006"),
        (changed("settings", "method", "fam", to=False), "fam: true -> false"),
        (changed("settings", "method", "extra", to=[1, 2]), "extra: (absent) -> [1,2]"),
        (changed("inputs", to=["optical", "sar"]), 'inputs: ["optical"] -> ["optical","sar"]'),
        (changed("tiles", "sha256", to="f" * 64), "tiles.sha256: 0123456789ab -> ffffffffffff"),
        (changed("teachers", to={"vit": {"taps": 2}}), "teachers.vit.taps: (absent) -> 2"),
        (changed("code", "modules", "train.loop", to="3" * 12), "code of georelay.train.loop: 222222222222 -> 333333333333"),
        (changed("versions", "torch", to="2.14.0"), "versions.torch: 2.13.0 -> 2.14.0"),
    ],
)
def test_a_change_is_said_in_one_line(new: dict[str, Any], said: str) -> None:
    assert said in [str(change) for change in plan_changes(plan(), new)]


def test_a_name_is_no_change_and_a_plan_is_like_itself() -> None:
    assert plan_changes(plan(), plan(experiment="another-row")) == []


def test_code_of_plans_without_modules_is_told_by_the_method() -> None:
    old = plan(code={"train": "a" * 64, "predict": "p" * 64})
    said = [change.key for change in plan_changes(old, plan())]
    assert said == ["code that would train method ktda"]


@pytest.mark.parametrize(
    ("new", "run", "maps"),
    [
        (plan(experiment="another-row"), True, True),
        (changed("settings", "predict", "overlap", to=0.0), True, False),
        (changed("code", "predict", to="q" * 64), True, False),
        (changed("code", "train", to="u" * 64), False, False),
        (changed("code", "modules", to={}), True, True),
    ],
)
def test_what_is_the_same_run_and_what_has_the_same_maps(new: dict[str, Any], run: bool, maps: bool) -> None:
    assert (same_run(plan(), new), same_maps(plan(), new)) == (run, maps)
