"""Both engines run the real files: same commands, same bytes, and only what a change touches runs again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkouts import Checkout, make_checkout

pytestmark = pytest.mark.engine

METHOD = "src/georelay/methods/supervised.py"


def test_both_engines_call_the_same_commands(snakemade: Checkout) -> None:
    commands = {command.removesuffix(" --ahead 1") for command in snakemade.planned_commands("-F")}
    assert commands == snakemade.dvc_commands("--dry", "-f")
    stages = {command.split()[0] for command in commands}
    assert stages == {"fetch", "tile", "plan", "train", "predict", "evaluate", "compare", "report", "track"}


def test_seeds_of_a_row_share_a_process(snakemade: Checkout) -> None:
    assert "train clouds-student 0 --ahead 1" in snakemade.planned_commands("-F")
    log = snakemade.folder / "results/logs/train/clouds-student/seed1.log"
    assert "restored from the cache" in log.read_text()


def test_a_second_run_has_nothing_to_do(snakemade: Checkout) -> None:
    assert snakemade.planned_jobs() == set()


def test_both_engines_give_the_same_bytes(snakemade: Checkout, reproduced: Checkout) -> None:
    assert len(snakemade.weights()) == 2
    assert snakemade.weights() == reproduced.weights()


def test_cores_do_not_change_the_bytes(snakemade: Checkout, tmp_path: Path) -> None:
    single = make_checkout(tmp_path / "single", tmp_path / "cache", [0, 1])
    single.run("snakemake", "--cores", "1", *snakemade.weights())
    assert single.weights() == snakemade.weights()


def test_dvc_takes_over_from_snakemake(snakemade: Checkout) -> None:
    snakemade.run("make", "adopt-dvc", "READY=params.yaml")
    assert snakemade.dvc_is_current()
    assert "Data and pipelines are up to date." in snakemade.run("dvc", "repro")
    assert "results/metrics/clouds/clouds-student.json" in snakemade.run("dvc", "metrics", "show")
    curves = "results/runs/clouds-student/seed0/history.csv"
    assert '"step"' in snakemade.run("dvc", "plots", "show", "--show-vega", curves)


def test_snakemake_takes_over_from_dvc(reproduced: Checkout) -> None:
    assert reproduced.dvc_is_current()
    reproduced.run("make", "adopt-snakemake", "READY=params.yaml")
    assert reproduced.planned_jobs() == set()


def test_new_times_alone_run_nothing(snakemade: Checkout) -> None:
    """As after `git checkout` and `dvc checkout`, which stamp every file anew, in any order."""
    files = [path for name in ("results", "data", "src") for path in (snakemade.folder / name).rglob("*") if path.is_file()]
    start = time.time() - len(files) / 1000  # in the future would be a clock gone wrong
    for index, path in enumerate(sorted(files, key=lambda path: path.name)):
        os.utime(path, (start + index / 1000, start + index / 1000))
    assert snakemade.planned_jobs() == set()
    assert snakemade.dvc_is_current()


def test_statistics_redraw_the_tables_and_train_nothing(snakemade: Checkout) -> None:
    snakemade.edit("params.yaml", "resamples: 2000", "resamples: 200")
    assert snakemade.planned_jobs() == {"compare", "report", "track", "all"}
    snakemade.edit("params.yaml", "resamples: 200", "resamples: 2000")
    assert snakemade.planned_jobs() == set()


def test_another_tolerance_scores_again_and_trains_nothing(snakemade: Checkout) -> None:
    snakemade.edit("params.yaml", "boundary: 3", "boundary: 2")
    assert snakemade.planned_jobs() == {"evaluate", "compare", "report", "track", "all"}
    snakemade.edit("params.yaml", "boundary: 2", "boundary: 3")
    assert snakemade.planned_jobs() == set()


def test_a_second_clone_trains_nothing(snakemade: Checkout, tmp_path: Path) -> None:
    clone = make_checkout(tmp_path / "clone", snakemade.cache, [0, 1])
    clone.run("snakemake", "--cores", "2", *snakemade.weights())
    assert clone.weights() == snakemade.weights()
    for seed in (0, 1):
        log = (clone.folder / f"results/logs/train/clouds-student/seed{seed}.log").read_text()
        assert "restored from the cache" in log


def test_a_comment_runs_no_run_again_and_code_runs_only_its_own(snakemade: Checkout) -> None:
    text = (snakemade.folder / METHOD).read_text()
    (snakemade.folder / METHOD).write_text(text + "\n# a remark\n")
    assert snakemade.planned_jobs() == set()
    snakemade.run("dvc", "repro", "plan@clouds-student")
    assert "changed" not in snakemade.run("dvc", "status", "train")
    (snakemade.folder / METHOD).write_text(text + "\nSOMETHING = 1\n")
    assert snakemade.planned_jobs() >= {"plan", "train", "predict"}
    assert not snakemade.planned_jobs() & {"fetch", "tile"}
    (snakemade.folder / METHOD).write_text(text)


def test_a_foreign_method_does_not_touch_the_runs(snakemade: Checkout) -> None:
    options = "src/georelay/methods/options.py"
    copy = snakemade.folder / "src/georelay/methods/other.py"
    copy.write_text((snakemade.folder / METHOD).read_text())
    text = (snakemade.folder / options).read_text()
    (snakemade.folder / options).write_text(text + "\nMETHODS['other'] = METHODS['supervised']\n")
    assert snakemade.planned_jobs() == set()
    (snakemade.folder / options).write_text(text)
    copy.unlink()


def test_a_number_changed_and_changed_back_is_restored(snakemade: Checkout) -> None:
    target = "results/runs/clouds-student/seed0/model.safetensors"
    before = snakemade.weights()[target]
    snakemade.edit("params.yaml", "lr: 0.003", "lr: 0.002")
    snakemade.run("snakemake", "--cores", "2", target)
    assert snakemade.weights()[target] != before
    snakemade.edit("params.yaml", "lr: 0.002", "lr: 0.003")
    snakemade.run("snakemake", "--cores", "2", target)
    assert snakemade.weights()[target] == before
    log = (snakemade.folder / "results/logs/train/clouds-student/seed0.log").read_text()
    assert "restored from the cache" in log


def stored(database: Path, what: str) -> int:
    """How many lines the store has of something; none while it is being made."""
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as store:
            return int(store.execute(f"select count(*) from {what}").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_an_import_killed_in_the_middle_is_made_whole(snakemade: Checkout) -> None:
    marker, database = snakemade.folder / "results/track.json", snakemade.folder / "results/mlflow/mlflow.db"
    finished = "runs where status = 'FINISHED' and lifecycle_stage = 'active'"
    before, whole = marker.read_bytes(), stored(database, finished)
    shutil.rmtree(database.parent)
    marker.unlink()
    command = [sys.executable, "-m", "georelay", "track"]
    process = subprocess.Popen(command, cwd=snakemade.folder, env=snakemade.environment, stderr=subprocess.PIPE, text=True)
    while not stored(database, "experiments where name != 'Default'"):
        assert process.poll() is None, "it ended before it could be killed"
        os.sched_yield()
    process.kill()
    process.communicate()
    assert not marker.exists()
    snakemade.run("georelay", "track")
    assert marker.read_bytes() == before
    assert stored(database, finished) == stored(database, "runs") == whole == 3, "a parent and two seeds"


def test_a_bad_params_file_stops_the_engine_before_any_work(snakemade: Checkout) -> None:
    snakemade.edit("params.yaml", "lr: 0.003", "lrr: 0.003")
    output = snakemade.run("snakemake", "-n", expect=1)
    assert "defaults.train.lr" in output and "did you mean" in output
    assert "defaults.train.lrr: unknown key" in snakemade.run("georelay", "plan", expect=2)
    snakemade.edit("params.yaml", "lrr: 0.003", "lr: 0.003")


def test_published_experiments_are_planned_though_their_data_are_not_here(snakemade: Checkout) -> None:
    """The day the files are there, one command runs them: rasters, teachers, every row and seed, the table."""
    for study, teachers in (("grass", {"ktda-dinov2-b", "ktda-dinov2-b-last", "ktda-dinov2-l"}), ("cloud", {"ktda-dinov2-b"})):
        commands = snakemade.planned_commands(f"study-paper-ktda-{study}")
        assert {f"fetch ktda-{study}", f"tile ktda-{study}", f"compare paper-ktda-{study}"} <= commands
        assert {f"teach {name}" for name in teachers} <= commands
        assert {f"train paper-ktda-{study}{row} {seed}" for row in ("", "-plain", "-teacher") for seed in (0, 1)} <= commands
