"""Import into a real SQLite store: complete, idempotent, mended after a kill, and by one writer at a time.

The store of an import is made once and copied: MLflow takes seconds to make the tables of a new database.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evidence import Project, finish_study

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from georelay.errors import UserError
from georelay.files import read_json
from georelay.track import mlflow as track
from georelay.track.mlflow import track_runs, writer_lock

SEEDS = [0, 1]
Studies = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and no experiment of ours."""
    folder = tmp_path_factory.mktemp("store")
    track._embedded(folder)
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[Path, Studies]:
    """A project of two rows and two seeds, nothing of it imported."""
    root = tmp_path_factory.mktemp("project")
    rows = finish_study(Project(root, scenes=2), "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, SEEDS)
    (root / "results/mlflow").mkdir()
    shutil.copy(empty_store, root / "results/mlflow/mlflow.db")
    return root, {"clouds": rows}


@pytest.fixture
def project(finished: tuple[Path, Studies], tmp_path: Path) -> tuple[Path, Studies]:
    root = tmp_path / "project"
    shutil.copytree(finished[0], root)
    return root, {study: [dict(row) for row in rows] for study, rows in finished[1].items()}


def client(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root / 'results/mlflow/mlflow.db'}")


def runs(root: Path, view: int = ViewType.ACTIVE_ONLY) -> dict[str, Run]:
    experiment = client(root).get_experiment_by_name("clouds")
    found = client(root).search_runs([experiment.experiment_id], run_view_type=view)
    named = {run.data.tags["georelay.run"]: run for run in found}
    assert len(named) == len(found) or view != ViewType.ACTIVE_ONLY
    return named


def identities(root: Path) -> dict[str, str]:
    return {key: run.info.run_id for key, run in runs(root).items()}


def test_a_study_becomes_parents_and_children(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    found = runs(root)
    assert set(found) == {name + seed for name in ("clouds-student", "clouds-method") for seed in ("", "/seed0", "/seed1")}
    child, parent = found["clouds-method/seed1"], found["clouds-method"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id and "mlflow.parentRunId" not in parent.data.tags
    assert child.data.metrics["miou"] == read_json(root / "results/scores/clouds-method/seed1.json")["miou"]
    assert child.data.params["train.lr"] == "0.003" and child.info.status == "FINISHED"
    assert child.info.end_time - child.info.start_time == 9500
    assert [point.step for point in client(root).get_metric_history(child.info.run_id, "val_miou")] == [50, 100, 150, 200]
    maps = {file.path for file in client(root).list_artifacts(child.info.run_id, "maps")}
    assert maps == {f"maps/test-00{index}.{kind}" for index in (0, 1) for kind in ("png", "tif")}
    assert read_json(root / "results/track.json")["clouds-method/seed1"] == child.data.tags["georelay.digest"]


def test_twice_changes_nothing_and_a_changed_run_alone_is_made_anew(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    before, marker = identities(root), (root / "results/track.json").read_bytes()
    track_runs(studies, SEEDS, root, None)
    assert identities(root) == before and (root / "results/track.json").read_bytes() == marker
    (root / "results/runs/clouds-method/seed0/metrics.json").write_text('{"steps": 300}')
    track_runs(studies, SEEDS, root, None)
    after = identities(root)
    assert {key for key in after if after[key] != before[key]} == {"clouds-method", "clouds-method/seed0"}
    kept = runs(root)["clouds-method/seed1"]
    assert kept.data.tags["mlflow.parentRunId"] == after["clouds-method"]  # the kept child follows its new parent
    folders = {path.name for path in (root / "results/mlflow/artifacts/clouds").iterdir()}
    assert before["clouds-method/seed0"] not in folders and after["clouds-method/seed0"] in folders


def test_a_killed_import_is_mended(project: tuple[Path, Studies], monkeypatch: pytest.MonkeyPatch) -> None:
    root, studies = project
    log_artifact: Callable[..., None] = MlflowClient.log_artifact
    calls: list[str] = []

    def die_in_the_third_run(self: MlflowClient, run: str, *words: Any) -> None:
        calls.append(run)
        if len(set(calls)) == 3:
            raise SystemExit  # as a kill: nothing of ours may catch it and tidy up
        log_artifact(self, run, *words)

    monkeypatch.setattr(MlflowClient, "log_artifact", die_in_the_third_run)
    with pytest.raises(SystemExit):
        track_runs(studies, SEEDS, root, None)
    monkeypatch.undo()
    assert not (root / "results/track.json").exists()
    half = [run.info.run_id for run in runs(root).values() if run.info.status != "FINISHED"]
    assert len(half) == 1
    track_runs(studies, SEEDS, root, None)
    found = runs(root)
    assert len(found) == 6 and {run.info.status for run in found.values()} == {"FINISHED"}
    assert half[0] not in identities(root).values()


def test_removed_rows_stay_and_foreign_runs_are_left_alone(
    project: tuple[Path, Studies], capsys: pytest.CaptureFixture[str]
) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    experiment = client(root).get_experiment_by_name("clouds").experiment_id
    foreign = client(root).create_run(experiment).info.run_id
    track_runs({"clouds": studies["clouds"][:1]}, SEEDS, root, None)
    assert "no longer asked for: clouds-method, clouds-method/seed0, clouds-method/seed1" in capsys.readouterr().err
    everything = client(root).search_runs([experiment])
    assert len(everything) == 7 and foreign in {run.info.run_id for run in everything}


def test_failed_seeds_and_rows_without_runs_are_passed_over(project: tuple[Path, Studies]) -> None:
    root, studies = project
    (root / "results/scores/clouds-method/seed0.json").unlink()
    shutil.rmtree(root / "results/runs/clouds-student")
    track_runs(studies, SEEDS, root, None)
    assert set(runs(root)) == {"clouds-method", "clouds-method/seed1"}


def test_a_second_writer_waits_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entered, order = threading.Event(), []

    def second() -> None:
        with writer_lock(tmp_path):
            order.append("second")
            entered.set()

    with writer_lock(tmp_path):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.1)
        order.append("first")
    assert entered.wait(5)
    waiting.join()
    assert order == ["first", "second"] and "another import is writing" in capsys.readouterr().err


def test_a_broken_store_is_one_clear_message(project: tuple[Path, Studies]) -> None:
    root, studies = project
    with pytest.raises(UserError, match=r"nowhere://x: MLflow refuses"):
        track_runs(studies, SEEDS, root, "nowhere://x")
    (root / "results/mlflow/mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(
        UserError, match=r"results/mlflow: MLflow refuses: .*file is not a database\n.*may be deleted and imported again"
    ):
        track_runs(studies, SEEDS, root, None)
    assert not (root / "results/track.json").exists()


def test_a_new_database_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> None:
    class Dying:
        def __init__(self, uri: str) -> None:
            shutil.copy(empty_store, uri.removeprefix("sqlite:///"))

        def search_experiments(self, max_results: int) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(track, "_client", Dying)
    with pytest.raises(KeyboardInterrupt):
        track._embedded(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_this_module_imports_mlflow() -> None:
    code = "import sys, georelay.track.record, georelay.track.mlflow; print('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "told"), [("iou.thick cloud", "iou.thick cloud"), ("iou.grass (20-50 %)", "iou.grass _20-50 __")]
)
def test_class_names_become_metric_names(name: str, told: str) -> None:
    assert track._metric_name(name) == told
