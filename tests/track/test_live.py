"""Live curves: what is told of a history, to whom, and that nothing of it reaches the training."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from georelay.params import load_params
from georelay.track import live
from georelay.track.live import LIVE, Mirror, listening
from georelay.track.store import make_embedded

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_embedded(tmp_path_factory.mktemp("live"))


def rows(count: int, **last: float) -> list[dict[str, float]]:
    found: list[dict[str, float]] = [{"step": step, "lr": 0.1, "loss": 1.0 / (step + 1)} for step in range(count)]
    return [*found[:-1], {**found[-1], **last}]


def test_every_few_steps_and_each_validation_are_told_once(uri: str) -> None:
    mirror = Mirror(uri, "clouds", "row/seed3", every=4)
    mirror.hear(rows(5))
    mirror.hear(rows(5))
    mirror.hear(rows(7, val_miou=0.5))
    mirror.close("FINISHED")
    client = live.open_client(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("clouds").experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (4, 0.2), (6, pytest.approx(1 / 7))]
    assert run.data.metrics["val_miou"] == 0.5 and run.info.status == "FINISHED"
    assert run.data.tags[LIVE] == "row/seed3" and run.info.run_name == "row seed 3 (live)"


def test_a_server_that_goes_away_is_told_of_once(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*words: Any) -> None:
        raise ConnectionError("nobody at http://me:secret@host")

    monkeypatch.setattr(Mirror, "_send", staticmethod(away))
    monkeypatch.setattr(live, "open_client", lambda address: real(uri))
    mirror = Mirror("http://me:secret@host", "clouds", "row/seed4", every=1)
    mirror.hear(rows(1))
    mirror.thread.join(60)
    mirror.hear(rows(2))
    mirror.close("FINISHED")
    told = capsys.readouterr().err.splitlines()
    assert (
        told == ["no live curves: http://host does not answer (nobody at http://host); the training goes on"]
        and mirror.waiting.qsize() == 1
    )


real = live.open_client


@pytest.mark.parametrize("address", ["", "sqlite:///there.db"])
def test_without_a_server_nobody_listens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with listening(partial(load_params, ROOT / "params.yaml"), "clouds-student", 0) as listener:
        assert listener is None


def test_only_the_first_of_several_processes_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("RANK", "1")
    with listening(partial(load_params, ROOT / "params.yaml"), "clouds-student", 0) as listener:
        assert listener is None


def test_without_a_server_training_does_not_import_mlflow() -> None:
    code = """
import os, sys
os.environ.pop("MLFLOW_TRACKING_URI", None)
from georelay.params import load_params
from georelay.track.live import listening
with listening(load_params, "clouds-student", 0) as listener:
    print(listener, "mlflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None False"
