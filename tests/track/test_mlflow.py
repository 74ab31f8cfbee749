"""Import into a real SQLite store: complete, idempotent, mended after a kill.

The store of an import is made once and copied: MLflow takes seconds to make the tables of a new database.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evidence import PLACE, Project, finish_study

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from georelay.errors import UserError
from georelay.files import read_json, sha256_file
from georelay.geo.raster import write_raster
from georelay.track import entry, mlflow, store
from georelay.track.database import Database
from georelay.track.mlflow import Study
from georelay.track.pictures import draw_pictures
from georelay.track.server import Server

SEEDS, SCENES = [0, 1], 2
Studies = dict[str, list[dict[str, Any]]]


def track_runs(studies: Studies, seeds: list[int], root: Path, uri: str | None) -> None:
    mlflow.track_runs([Study(name, rows, None) for name, rows in studies.items()], seeds, root, uri, SCENES)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and no experiment of ours."""
    root = tmp_path_factory.mktemp("store")
    store.make_embedded(root)
    return root / "results/mlflow/mlflow.db"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[Path, Studies]:
    """A project of two rows and two seeds, nothing of it imported."""
    root = tmp_path_factory.mktemp("project")
    rows = finish_study(Project(root, scenes=2), "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, SEEDS)
    (root / "results/mlflow").mkdir()
    for place in ("results/mlflow/mlflow.db", "empty.db"):
        shutil.copy(empty_store, root / place)
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
    place = {"digest": child.data.tags["georelay.digest"], "run_id": child.info.run_id, "experiment_id": child.info.experiment_id}
    noted = read_json(root / "results/track.json")
    assert noted["uri"] == "sqlite:///results/mlflow/mlflow.db" and noted["runs"]["clouds-method/seed1"] == place
    assert set(noted["runs"]) == set(found)


def test_an_experiment_says_what_it_is_and_how_to_compare(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    note = client(root).get_experiment_by_name("clouds").tags["mlflow.note.content"]
    assert "| clouds-method | clouds-student | supervised | 10% of the pixels wrong |" in note
    assert "bare, grass, crop, tree; from optical (blue, green, red, nir)" in note and 'tags.kind = "row"' in note
    studies["clouds"][1]["why"] = "another reason"
    track_runs(studies, SEEDS, root, None)
    assert "| another reason |" in client(root).get_experiment_by_name("clouds").tags["mlflow.note.content"]


def test_an_experiment_has_prepared_views(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    tags = client(root).get_experiment_by_name("clouds").tags
    views = {name: json.loads(tags[f"mlflow.sharedViewState.georelay-{name}"]) for name in ("rows", "charts")}
    assert views["rows"]["searchFilter"] == 'tags.kind = "row"' and "metrics.`miou`" in views["rows"]["selectedColumns"]
    charts = {chart["type"]: chart for chart in views["charts"]["compareRunCharts"]}
    assert charts["IMAGE"]["imageKeys"] == [f"test-00{i}/{kind}" for i in (0, 1) for kind in ("truth", "prediction", "errors")]
    sections = {section["uuid"] for section in views["charts"]["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts.values()} == sections
    track_runs(studies, SEEDS, root, None)
    assert client(root).get_experiment_by_name("clouds").tags == tags


def test_entropy_is_shown_where_it_was_written(project: tuple[Path, Studies]) -> None:
    root, studies = project
    folder = root / "results/maps/clouds-method/seed0"
    write_raster(
        folder / "test-000-entropy.tif", np.full((1, 32, 32), 127, np.uint8), **PLACE, nodata=255, band_names=["entropy"]
    )
    found = draw_pictures(studies["clouds"], {("clouds-method", 0), ("clouds-student", 0)}, root, 1)
    keys = {row: [picture.key for picture in pictures] for (row, _), pictures in found.items()}
    assert keys["clouds-student"] == [f"test-000/{kind}" for kind in ("truth", "prediction", "errors")]
    assert keys["clouds-method"] == [*keys["clouds-student"], "test-000/entropy"]
    picture = Image.open(io.BytesIO(found["clouds-method", 0][-1].png))
    assert picture.size == (32, 32) and set(picture.getdata()) == {127}


def test_without_scenes_there_are_no_pictures(project: tuple[Path, Studies]) -> None:
    root, studies = project
    shutil.rmtree(root / "data")
    track_runs(studies, SEEDS, root, None)
    assert client(root).list_artifacts(runs(root)["clouds-student"].info.run_id, "images") == []
    charts = json.loads(client(root).get_experiment_by_name("clouds").tags["mlflow.sharedViewState.georelay-charts"])
    assert "IMAGE" not in {chart["type"] for chart in charts["compareRunCharts"]}


def test_runs_name_what_they_read_by_digest(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    plan = read_json(root / "results/plans/clouds-method.json")
    for key in ("clouds-method", "clouds-method/seed0"):
        inputs = runs(root)[key].inputs.dataset_inputs
        told = {given.tags[0].value: (given.dataset.name, given.dataset.digest) for given in inputs}
        assert told == {"train": ("clouds", plan["tiles"]["sha256"][:36]), "test": ("clouds", "c" * 36)}
        assert {given.tags[0].key for given in inputs} == {"mlflow.data.context"}
    assert json.loads(inputs[0].dataset.source)["uri"] in ("results/tiles/clouds.zarr.zip", "data/raw/clouds/receipt.json")


def test_pictures_have_the_names_that_mlflow_gives_them(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    shape = re.compile(r"images/(.+?)\+step\+0\+timestamp\+\d+\+[0-9a-f-]{36}(\+compressed\.webp|\.png)")
    keys = {}
    for key in ("clouds-student", "clouds-student/seed1", "clouds-method/seed1"):
        found = [shape.fullmatch(file.path) for file in client(root).list_artifacts(runs(root)[key].info.run_id, "images")]
        keys[key] = sorted((name[1], name[2]) for name in found if name)
        assert len(keys[key]) == len(found) == 2 * 3 * SCENES
    assert keys["clouds-student"] == keys["clouds-student/seed1"] == keys["clouds-method/seed1"]
    assert {name for name, _ in keys["clouds-student"]} == {
        f"test-00{i}~{kind}" for i in (0, 1) for kind in ("errors", "prediction", "truth")
    }
    other = client(root).create_run(client(root).create_experiment("other", str(root / "other"))).info.run_id
    client(root).log_image(other, np.zeros((8, 8, 3), np.uint8), key="test-000/errors", step=0, timestamp=1)
    theirs = [file.path for file in client(root).list_artifacts(other, "images")]
    assert len(theirs) == 2 and all(shape.fullmatch(path) for path in theirs)
    assert set(client(root).get_run(other).data.tags) - set(runs(root)["clouds-student"].data.tags) <= {"mlflow.user"}


def test_both_ways_of_writing_give_the_same_runs(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    embedded = runs(root)
    (root / "results/mlflow/mlflow.db").rename(root / "embedded.db")
    shutil.copy(root / "empty.db", root / "results/mlflow/mlflow.db")
    uri = f"sqlite:///{root / 'results/mlflow/mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        track_runs(studies, SEEDS, root, uri)
    served = runs(root)
    assert read_json(root / "results/track.json")["uri"] == uri
    own = {"mlflow.parentRunId", "mlflow.user", "mlflow.source.name", "mlflow.source.type"}
    for key, run in embedded.items():
        other = served[key]
        assert run.data.metrics == other.data.metrics and run.data.params == other.data.params
        assert {k: v for k, v in run.data.tags.items() if k not in own} == {
            k: v for k, v in other.data.tags.items() if k not in own
        }
        assert (run.info.start_time, run.info.end_time, run.info.status) == (
            other.info.start_time,
            other.info.end_time,
            "FINISHED",
        )
        assert [given.dataset for given in run.inputs.dataset_inputs] == [given.dataset for given in other.inputs.dataset_inputs]


def test_a_store_made_anew_is_the_same(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    before, marker, first = contents(root), (root / "results/track.json").read_bytes(), identities(root)
    shutil.rmtree(root / "results/mlflow/artifacts")
    shutil.copy(root / "empty.db", root / "results/mlflow/mlflow.db")
    (root / "results/track.json").unlink()
    track_runs(studies, SEEDS, root, None)
    assert contents(root) == before and identities(root) == first
    assert (root / "results/track.json").read_bytes() == marker


def test_a_moved_checkout_finds_its_artefacts_and_imports_nothing_again(
    project: tuple[Path, Studies], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    before, foreign = identities(root), client(root).create_experiment("foreign", artifact_location="s3://bucket/results")
    model = client(root).create_logged_model(client(root).get_experiment_by_name("clouds").experiment_id)
    client(root).create_registered_model("student")
    client(root).create_model_version("student", model.artifact_location)
    moved = root.rename(tmp_path / "moved here")
    capsys.readouterr()
    track_runs(studies, SEEDS, moved, None)
    assert capsys.readouterr().err.count("its artefacts are now looked for in") == 1 and identities(moved) == before
    place = f"file://{tmp_path}/moved%20here/results/mlflow/artifacts/clouds"
    assert {run.info.artifact_uri for run in runs(moved).values()} == {f"{place}/{run}/artifacts" for run in before.values()}
    assert client(moved).get_experiment_by_name("clouds").artifact_location == place
    assert client(moved).get_experiment(foreign).artifact_location == "s3://bucket/results"
    addresses = (
        client(moved).get_logged_model(model.model_id).artifact_location,
        client(moved).get_model_version("student", "1").source,
    )
    assert addresses == (f"{place}/models/{model.model_id}/artifacts",) * 2
    track_runs(studies, SEEDS, moved, None)
    assert "looked for" not in capsys.readouterr().err


def contents(root: Path) -> dict[str, str]:
    folder = root / "results/mlflow/artifacts"
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def test_twice_changes_nothing_and_a_changed_run_alone_is_made_anew(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs(studies, SEEDS, root, None)
    before, marker = identities(root), (root / "results/track.json").read_bytes()
    track_runs(studies, SEEDS, root, None)
    assert identities(root) == before and (root / "results/track.json").read_bytes() == marker
    (root / "results/runs/clouds-method/seed0/metrics.json").write_text('{"steps": 300}')
    track_runs(studies, SEEDS, root, None)
    assert identities(root) == before, "links hold"
    changed = read_json(root / "results/track.json")["runs"]
    old = json.loads(marker)["runs"]
    assert {key for key in changed if changed[key] != old[key]} == {"clouds-method", "clouds-method/seed0"}
    assert runs(root)["clouds-method/seed0"].data.metrics["steps"] == 300
    assert runs(root)["clouds-method/seed1"].data.tags["mlflow.parentRunId"] == before["clouds-method"]
    assert {path.name for path in (root / "results/mlflow/artifacts/clouds").iterdir()} == set(before.values())


@pytest.mark.parametrize(("kind", "call"), [(Database, "flush"), (Server, "_log_data")])
def test_a_killed_import_is_mended(project: tuple[Path, Studies], monkeypatch: pytest.MonkeyPatch, kind: type, call: str) -> None:
    root, studies = project
    uri = None if kind is Database else f"sqlite:///{root / 'results/mlflow/mlflow.db'}"
    monkeypatch.chdir(root)

    def die(self: object, *words: object) -> None:
        raise SystemExit  # as a kill: nothing of ours may catch it and tidy up

    monkeypatch.setattr(kind, call, die)
    with pytest.raises(SystemExit):
        track_runs(studies, SEEDS, root, uri)
    monkeypatch.undo()
    monkeypatch.chdir(root)
    assert not (root / "results/track.json").exists()
    half = [run.info.run_id for run in runs(root).values()]
    assert len(half) == (0 if kind is Database else 1)
    track_runs(studies, SEEDS, root, uri)
    found = runs(root)
    assert len(found) == 6 and {run.info.status for run in found.values()} == {"FINISHED"}
    assert not set(half) & set(identities(root).values())


def test_live_runs_give_way_to_what_became_of_them(project: tuple[Path, Studies]) -> None:
    root, studies = project
    track_runs({"clouds": studies["clouds"][:1]}, SEEDS, root, None)
    experiment = client(root).get_experiment_by_name("clouds").experiment_id
    end = (root / "results/runs/clouds-method/seed0/metrics.json").stat().st_mtime * 1000
    tags = {"georelay.live": "clouds-method/seed0"}
    became = client(root).create_run(experiment, start_time=int(end) - 9000, tags=tags).info.run_id
    trains = client(root).create_run(experiment, start_time=int(end) + 1000, tags=tags).info.run_id
    track_runs(studies, SEEDS, root, None)
    left = {run.info.run_id for run in client(root).search_runs([experiment])}
    assert became not in left and trains in left and len(left) == 7


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

    monkeypatch.setattr(store, "open_client", Dying)
    (tmp_path / "results/mlflow").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        store.make_embedded(tmp_path)
    assert list((tmp_path / "results/mlflow").iterdir()) == []


def test_mlflow_and_torch_are_imported_when_they_are_needed() -> None:
    code = "import sys, georelay.track.live, georelay.track.mlflow; print({'mlflow', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "told"), [("iou.thick cloud", "iou.thick cloud"), ("iou.grass (20-50 %)", "iou.grass _20-50 __")]
)
def test_class_names_become_metric_names(name: str, told: str) -> None:
    assert entry.metric_name(name) == told
