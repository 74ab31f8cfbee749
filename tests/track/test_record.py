"""Records: what a run tells, and when its digest changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evidence import Project, finish_study
from georelay.files import write_json
from georelay.report.compare import compare_study
from georelay.report.provenance import Checkout
from georelay.track.curves import CURVE_POINTS, mean_curves, read_curves
from georelay.track.record import Record, distinguishing, flat, narrowed, row_record, seed_record, study_figures

CHECKOUT = Checkout("c0ffee", "2026-01-02", False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    finish_study(Project(tmp_path, scenes=3), "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, [0, 1])
    return tmp_path


def method_row(**changes: object) -> dict[str, object]:
    row = {
        "experiment": "clouds-method",
        "study": "clouds",
        "parent": "clouds-student",
        "why": "all of it",
        "method": "ktda",
        "task": "clouds",
        "core": True,
    }
    return {**row, **changes}


def record(root: Path, seed: int = 0, **changes: object) -> Record:
    found = seed_record(method_row(**changes), seed, root, CHECKOUT)
    assert found is not None
    return found


def test_a_run_tells_settings_scores_curves_and_origin(root: Path) -> None:
    told = record(root)
    scores = json.loads((root / "results/scores/clouds-method/seed0.json").read_text())
    assert told.params["model.width"] == "48" and told.params["train.lr"] == "0.003" and told.params["inputs"] == "optical"
    assert told.metrics["miou"] == scores["miou"] and told.metrics["iou.grass"] == scores["iou"]["grass"]
    assert told.metrics["run.seconds"] == 9.5 and told.end - told.start == pytest.approx(9.5)
    assert [(value > 0, step) for name, value, step in told.curves if name == "val_miou"] == [
        (True, 50),
        (True, 100),
        (True, 150),
        (True, 200),
    ]
    assert told.tags["imported.commit"] == "c0ffee" and told.tags["like"] == "clouds-student" and told.tags["seed"] == "0"
    assert len(told.tags["plan.sha256"]) == len(told.tags["tiles.sha256"]) == 64
    assert told.shown == ("clouds-method", 0)
    assert [(data.name, data.context) for data in told.data] == [("clouds", "train"), ("clouds", "test")]


def test_numbers_that_a_curve_ends_with_are_told_once(root: Path) -> None:
    assert not {"val_miou", "loss"} & set(record(root).metrics) and record(root).metrics["parameters"] == 411_000


def test_an_unevaluated_run_has_no_record(root: Path) -> None:
    assert seed_record(method_row(), 2, root, CHECKOUT) is None


def test_the_digest_follows_results_and_reason_but_not_times_or_commit(root: Path) -> None:
    before = record(root).digest
    write_json(root / "results/runs/clouds-method/seed0/timing.json", {"seconds": 1.0})
    found = seed_record(method_row(), 0, root, Checkout("beef", "2026-01-03", True))
    assert found is not None and found.digest == before
    assert record(root, why="another reason").digest != before
    history = root / "results/runs/clouds-method/seed0/history.csv"
    history.write_text(history.read_text().replace("200,", "201,"))
    assert record(root).digest != before


def test_a_row_tells_mean_interval_and_what_its_seeds_share(root: Path) -> None:
    compare_study(
        "clouds", [method_row(experiment="clouds-student", parent=None), method_row()], [0, 1], root, resamples=100, seed=0
    )
    children = [record(root, seed) for seed in (0, 1)]
    told = row_record(method_row(), children, root, CHECKOUT)
    assert told.metrics["miou"] == pytest.approx(sum(child.metrics["miou"] for child in children) / 2, abs=1e-6)
    assert told.metrics["oa"] == pytest.approx(sum(child.metrics["oa"] for child in children) / 2)
    assert told.metrics["miou.n"] == 2 and {"miou.sd", "difference", "difference.low", "difference.high", "p"} <= set(
        told.metrics
    )
    assert told.metrics["run.seconds"] == 9.5 and told.metrics["parameters"] == 411_000
    assert "seed" not in told.params and told.params["train.steps"] == "200"
    assert {path.name for path, _ in told.files} == {"clouds.csv", "clouds.md"}


def test_new_columns_and_scores_are_told_where_there_are_any(root: Path) -> None:
    compare_study("clouds", [method_row(parent=None)], [0, 1], root, resamples=10, seed=0)
    table = root / "results/tables/clouds.csv"
    head, line = table.read_text().splitlines()
    table.write_text(f"{head},p_holm,base_difference\n{line},0.04,-0.01\n")
    path = root / "results/scores/clouds-method/seed0.json"
    write_json(path, {**json.loads(path.read_text()), "boundary_f1": 0.25, "calibration": {"ece": 0.125, "bins": []}})
    told = row_record(method_row(), [record(root, 0), record(root, 1)], root, CHECKOUT)
    assert told.metrics["p_holm"] == 0.04 and told.metrics["base.difference"] == -0.01
    assert record(root, 0).metrics["boundary_f1"] == 0.25 and record(root, 0).metrics["ece"] == 0.125
    assert "ece" not in told.metrics, "the other seed was scored before there was one"


def test_parameters_are_those_that_tell_a_studys_runs_apart(root: Path) -> None:
    runs = [
        replace(record(root, seed), params={"train.lr": "0.1", "a": "1", "b": str(seed), **extra})
        for seed, extra in enumerate(({}, {"c": "x"}))
    ]
    told = narrowed(runs)
    assert [run.params for run in told] == [{"train.lr": "0.1", "b": "0"}, {"train.lr": "0.1", "b": "1"}]
    assert distinguishing(told) == ["b"] and told[0].digest not in (runs[0].digest, told[1].digest)


def test_of_parameters_that_part_a_studys_rows_alike_the_first_is_told(root: Path) -> None:
    rows = [
        {"decoder": "fpn", "method": "supervised", "task": "clouds", "teachers": "[]"},
        {"decoder": "uper", "method": "ktda", "task": "clouds", "teachers": "[]", "weight": "0"},
        {"decoder": "uper", "method": "ktda", "task": "clouds", "teachers": "attributes", "weight": "1"},
    ]
    assert distinguishing([replace(record(root, 0), params=params) for params in rows]) == ["decoder", "teachers"]


def test_mean_curves_have_the_points_that_all_runs_have() -> None:
    one, two = [("loss", 1.0, 10), ("loss", 0.5, 20)], [("loss", 2.0, 10), ("loss", 0.7, 30)]
    assert mean_curves([one, two]) == [("loss", 1.5, 10)]


def test_figures_of_studies_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "results/figures"
    folder.mkdir(parents=True)
    for name in ("land-curves", "land-panel", "land-few-panel", "clouds-curves"):
        (folder / f"{name}.png").touch()
    assert [path.name for path in study_figures("land", tmp_path)] == ["land-curves.png", "land-panel.png"]
    assert [path.name for path in study_figures("land-few", tmp_path)] == ["land-few-panel.png"]


def test_settings_become_flat_words() -> None:
    nested = {"a": {"b": {"c": 0.001}, "d": None}, "e": ["x", "y"], "f": [1, 2], "g": True, "h": "word"}
    assert flat(nested) == {"a.b.c": "0.001", "a.d": "null", "e": "x, y", "f": "[1, 2]", "g": "true", "h": "word"}


def test_long_curves_are_thinned_but_keep_their_end_and_all_validations() -> None:
    lines = ["step,loss,val_miou", *(f"{step},{step / 10},{'0.5' if step % 333 == 0 else ''}" for step in range(1, 1001))]
    points = read_curves("\n".join(lines))
    losses = [step for name, _, step in points if name == "loss"]
    assert len(losses) == CURVE_POINTS and losses[-1] == 1000 and losses == sorted(losses)
    assert [step for name, _, step in points if name == "val_miou"] == [333, 666, 999]


def test_terms_of_the_data_are_told(root: Path) -> None:
    assert "licence" not in record(root).tags, "no card of its tiles lies there"
    card = {"licence": "CC-BY-NC-4.0", "brought": {"licence_accepted": True, "subset": False, "files": []}}
    write_json(root / "results/tiles/clouds.json", card)
    assert record(root).tags["licence"] == "CC-BY-NC-4.0" and record(root).tags["licence.accepted"] == "true"
