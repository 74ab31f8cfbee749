"""The commands as people meet them: bad input ends in one message and exit code 2, and nothing half-written stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkouts import Checkout, make_checkout


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A small checkout with rasters, tiles and plans."""
    checkout = make_checkout(tmp_path_factory.mktemp("ready"), tmp_path_factory.mktemp("cache"), [0])
    for words in (("fetch", "clouds"), ("tile", "clouds"), ("plan",)):
        checkout.run("georelay", *words)
    return checkout


@pytest.fixture
def checkout(ready: Checkout, tmp_path: Path) -> Checkout:
    """A copy of it that a test may spoil, with an empty cache."""
    shutil.copytree(ready.folder, tmp_path / "copy", symlinks=True)
    return Checkout(tmp_path / "copy", tmp_path / "cache")


def refused(checkout: Checkout, *words: str) -> str:
    """What a refused command says; it must be one message without a traceback."""
    output = checkout.run("georelay", *words, expect=2)
    assert "Traceback" not in output
    assert "georelay: " in output
    return output


def leftovers(folder: Path) -> list[str]:
    """Unfinished outputs of a folder; not of the folders in it, which may vanish under the search."""
    return [path.name for path in folder.glob("*partial*")] if folder.exists() else []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fetch", "cloudz"), 'params.yaml: sources: unknown source "cloudz"'),
        (("tile", "cloudz"), 'params.yaml: tasks: unknown task "cloudz"'),
        (("plan", "clouds-studnet"), 'unknown experiment "clouds-studnet"\n  did you mean "clouds-student"?'),
        (("train", "nothing", "0"), "results/plans/nothing.json: file is missing"),
        (("predict", "clouds-student", "7"), "model.safetensors: file is missing"),
        (("compare", "cloudz"), 'unknown study "cloudz"'),
    ],
)
def test_unknown_names_and_missing_files(checkout: Checkout, words: tuple[str, ...], message: str) -> None:
    assert message in refused(checkout, *words)


@pytest.mark.parametrize("stage", ["train", "predict"])
def test_a_plan_of_other_code_is_refused(checkout: Checkout, stage: str) -> None:
    """Its digests would name results that this code does not give."""
    path = checkout.folder / "results/plans/clouds-student.json"
    plan = json.loads(path.read_text())
    plan["code"][stage] = "0" * 64
    path.unlink()
    path.write_text(json.dumps(plan))
    output = refused(checkout, stage, "clouds-student", "0")
    assert "clouds-student.json" in output and "run `georelay plan clouds-student`" in output


def test_a_truncated_raster_is_named_and_no_store_is_left(checkout: Checkout) -> None:
    raster = next((checkout.folder / "data/raw/clouds").rglob("optical.tif"))
    raster.chmod(0o644)
    raster.write_bytes(raster.read_bytes()[: raster.stat().st_size // 2])
    output = refused(checkout, "tile", "clouds")
    assert raster.name in output and "georelay fetch clouds" in output
    assert not (checkout.folder / "results/tiles/clouds.zarr.zip").exists()
    assert leftovers(checkout.folder / "results/tiles") == []


def test_a_corrupt_store_is_refused_before_training(checkout: Checkout) -> None:
    store = checkout.folder / "results/tiles/clouds.zarr.zip"
    content = bytearray(store.read_bytes())
    content[len(content) // 2] ^= 0xFF
    store.unlink()
    store.write_bytes(content)
    output = refused(checkout, "train", "clouds-student", "0")
    assert "clouds.zarr.zip" in output and "georelay tile clouds" in output
    assert not (checkout.folder / "results/runs").exists()


def test_a_damaged_receipt_and_a_damaged_plan_are_named(checkout: Checkout) -> None:
    for name, words in (
        ("data/raw/clouds/receipt.json", ("tile", "clouds")),
        ("results/plans/clouds-student.json", ("train", "clouds-student", "0")),
    ):
        path = checkout.folder / name
        path.unlink()
        path.write_text('{"half": ')
        assert name in refused(checkout, *words)


def test_a_budget_beyond_the_tiles_is_refused_before_training(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "labels: 6", "labels: 600")
    checkout.run("georelay", "plan")
    assert "600 labelled tiles are wanted" in refused(checkout, "train", "clouds-student", "0")


def test_the_cache_can_be_listed_checked_and_emptied(ready: Checkout, tmp_path: Path) -> None:
    shutil.copytree(ready.cache, tmp_path / "cache")
    look = Checkout(ready.folder, tmp_path / "cache")
    listed = look.run("georelay", "cache", "list")
    assert "fetch clouds" in listed and "tile clouds" in listed
    assert "2 entries are whole" in look.run("georelay", "cache", "verify")
    assert " MB freed" in look.run("georelay", "cache", "prune")
    assert "fetch clouds" not in look.run("georelay", "cache", "list")


def made_maps(checkout: Checkout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (checkout.folder / "results/maps/clouds-student/seed0").iterdir()}


def test_training_makes_the_maps_that_predict_restores_without_torch(checkout: Checkout, tmp_path: Path) -> None:
    run = ("clouds-student", "0")
    checkout.run("georelay", "train", *run)
    assert not list((checkout.folder / "results/maps").glob("*/*"))
    code = "import sys; from georelay.cli import main; main(sys.argv[1:]); print(sorted({'torch', 'timm'} & set(sys.modules)))"
    for stage in ("predict", "evaluate"):
        assert checkout.run("python", "-c", code, stage, *run).startswith("[]")
    assert "restored from the cache" in (checkout.folder / "results/logs/predict/clouds-student/seed0.log").read_text()
    restored = made_maps(checkout)
    Checkout(checkout.folder, tmp_path / "another-cache").run("georelay", "predict", *run)
    assert made_maps(checkout) == restored and len(restored) > 2


def test_other_seeds_are_trained_ahead_with_the_same_bytes(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run("georelay", "train", "clouds-student", "0", "--ahead", "1", "2")
    assert sorted(path.name for path in (checkout.folder / "results/runs").glob("*/*")) == ["seed0"]
    alone = Checkout(checkout.folder, tmp_path / "another-cache")
    for place, stage, seed in (("runs", "train", "1"), ("maps", "predict", "1"), ("runs", "train", "2")):
        folder = checkout.folder / "results" / place / f"clouds-student/seed{seed}"
        checkout.run("georelay", stage, "clouds-student", seed)
        log = checkout.folder / f"results/logs/{stage}/clouds-student/seed{seed}.log"
        assert "restored from the cache" in log.read_text()
        restored = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timing.json"}
        alone.run("georelay", stage, "clouds-student", seed)
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timing.json"} == restored


def test_processes_that_share_a_run_train_no_others_ahead(checkout: Checkout) -> None:
    said = checkout.run("env", "WORLD_SIZE=2", "georelay", "train", "clouds-student", "0", "--ahead", "1", expect=2)
    assert "--ahead: several processes train one seed at a time" in said


def test_torchrun_shares_one_run(checkout: Checkout) -> None:
    """Two processes, one set of files; the second leaves locks, logs and results to the first."""
    run = ("--nproc-per-node", "2", "--master-addr", "127.0.0.1", "-m", "georelay", "train", "clouds-student", "0")
    for _ in range(2):  # the second time both find the result in the cache
        checkout.run("torchrun", *run)
        folder = checkout.folder / "results/runs/clouds-student/seed0"
        assert {path.name for path in folder.iterdir()} >= {"model.safetensors", "history.csv", "metrics.json", "plan.json"}
    assert "restored from the cache" in (checkout.folder / "results/logs/train/clouds-student/seed0.log").read_text()


def test_code_of_another_checkout_is_refused(checkout: Checkout) -> None:
    environment = checkout.environment | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    command = [sys.executable, "-m", "georelay", "plan"]
    result = subprocess.run(command, cwd=checkout.folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert f"PYTHONPATH={checkout.folder / 'src'}" in result.stderr


def started(checkout: Checkout, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "georelay", *words]
    options = {"cwd": checkout.folder, "env": checkout.environment, "stderr": subprocess.PIPE, "text": True}
    # A shell starts what it puts into the background deaf to Ctrl-C, and children inherit that.
    return subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options)


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    """Watch until something has happened inside the running command."""
    deadline = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, f"ended too early: {process.stderr.read() if process.stderr else ''}"
        assert time.monotonic() < deadline
        os.sched_yield()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_training_stopped_in_the_middle_ends_with_the_same_bytes(checkout: Checkout, number: int, tmp_path: Path) -> None:
    with checkout.changed("defaults", "train", "steps", to=60):
        checkout.run("georelay", "plan")
    run, kept = ("train", "clouds-student", "0"), checkout.folder / "results/runs/clouds-student/seed0/model.safetensors"
    process = started(checkout, *run)
    wait_for(lambda: list((checkout.folder / "results/resume").glob("*/last.pt")), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 2), said
    assert not kept.exists() and "Traceback" not in said
    assert "resume" in checkout.run("georelay", *run)
    resumed = kept.read_bytes()
    undisturbed = Checkout(checkout.folder, tmp_path / "another-cache")
    undisturbed.run("georelay", *run)
    assert kept.read_bytes() == resumed
    assert not list((checkout.folder / "results/resume").glob("*/last.pt"))


@pytest.mark.parametrize("words", [("fetch", "clouds"), ("tile", "clouds")])
def test_data_stages_killed_in_the_middle_end_with_the_same_bytes(checkout: Checkout, words: tuple[str, str]) -> None:
    results = {"fetch": "data/raw/clouds/receipt.json", "tile": "results/tiles/clouds.zarr.zip"}
    target = checkout.folder / results[words[0]]
    before = target.read_bytes()
    process = started(checkout, *words)
    wait_for(lambda: leftovers(target.parent if words[0] == "tile" else target.parents[1]), process)
    process.kill()
    process.communicate()
    assert not target.exists()
    checkout.run("georelay", *words)
    assert target.read_bytes() == before
    assert leftovers(checkout.folder / "results/tiles") == [] and leftovers(checkout.folder / "data/raw") == []


def test_two_at_once_in_one_folder(checkout: Checkout) -> None:
    with checkout.changed("defaults", "train", "steps", to=100):
        checkout.run("georelay", "plan")
    process = started(checkout, "train", "clouds-student", "0")
    wait_for(lambda: list((checkout.folder / "results/resume").glob("*/last.pt")), process)
    assert "already running in this folder" in refused(checkout, "train", "clouds-student", "0")
    process.kill()
    process.communicate()
