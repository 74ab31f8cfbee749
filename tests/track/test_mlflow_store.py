"""MLflow's store: one writer at a time, and servers told of without what is secret."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from georelay.track import store
from georelay.track.store import writer_lock


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


def test_addresses_are_told_without_passwords() -> None:
    assert store.public_address("https://me:secret@host:8080/ml") == "https://host:8080/ml"
    assert store.public_address("http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    refused = ValueError("request to https://me:secret@host failed\nfor long")
    assert store.public_words(refused, "https://me:secret@host/") == "request to https://host failed"


def test_a_server_that_is_not_there_is_said_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as free:
        uri = f"http://me:secret@127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(MlflowException) as refused:
        MlflowClient(uri).get_experiment_by_name("clouds")
    assert store.public_words(refused.value, uri) == f"{uri.replace('me:secret@', '')} does not answer (Connection refused)"
