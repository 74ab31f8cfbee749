"""Weights of others: checked to the byte and to the key; the hub over a local server, and a closed port when there is none."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor

from georelay.errors import UserError
from georelay.files import sha256_file
from georelay.models.backbones import create_network
from georelay.teachers.obtain import obtain

Settings = Callable[..., dict[str, Any]]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RESNET = {"network": "test_resnet", "taps": [4], "normed": []}


@pytest.fixture
def state() -> dict[str, Tensor]:
    return dict(create_network("test_resnet", {}).state_dict())


@pytest.fixture
def given(tmp_path: Path, state: dict[str, Tensor], teacher_settings: Settings) -> dict[str, Any]:
    """Settings of a teacher whose file is there and right."""
    save_file(state, tmp_path / "w.safetensors")
    digest = sha256_file(tmp_path / "w.safetensors")
    return teacher_settings(**RESNET, origin="file", file="w.safetensors", sha256=digest)


def refusal(name: str, settings: dict[str, Any], root: Path) -> str:
    with pytest.raises(UserError) as caught:
        obtain(name, settings, root)
    return str(caught.value)


def test_a_file_gives_the_network_s_tensors(tmp_path: Path, given: dict[str, Any], state: dict[str, Tensor]) -> None:
    found = obtain("t", given, tmp_path)
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, given: dict[str, Any]) -> None:
    digest = given["sha256"]
    assert "teachers.t.file: the file is not named" in refusal("t", given | {"file": None}, tmp_path)
    assert "weight file is missing" in refusal("t", given | {"file": "none.pth"}, tmp_path)
    assert f"set `sha256: {digest}`" in refusal("t", given | {"sha256": None}, tmp_path)
    message = refusal("t", given | {"sha256": "0" * 64}, tmp_path)
    assert f"its sha256 is {digest}" in message and "w.safetensors: is not the file" in message
    assert "of another shape fc.weight" in refusal("t", given | {"arguments": {"num_classes": 9}}, tmp_path)
    assert "missing cls_token" in refusal("t", given | {"network": "test_vit"}, tmp_path)
    assert "test_resnet has taps 0 to 4" in refusal("t", given | {"taps": [5]}, tmp_path)


def test_extra_keys_are_refused_unless_ignored(tmp_path: Path, given: dict[str, Any], state: dict[str, Tensor]) -> None:
    torch.save({"teacher": {**state, "mask_token": torch.zeros(1)}}, tmp_path / "w.pth")
    settings = given | {"file": "w.pth", "sha256": sha256_file(tmp_path / "w.pth")}
    assert "unexpected mask_token" in refusal("t", settings, tmp_path)
    assert set(obtain("t", settings | {"ignored_keys": ["mask_*"]}, tmp_path)) == set(state)


class Hub:
    """The part of the hub that one download asks for, on this machine."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, list[str]()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                body = hub.files.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                if body is not None:
                    self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
                    self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if body is not None and self.command == "GET":
                    self.wfile.write(body)

            do_GET = do_HEAD

            def log_message(self, *args: Any) -> None:
                return

        return Handler


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's library, which must not go around the server either."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


def point_to(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(tmp_path: Path, state: dict[str, Tensor], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    save_file(state, tmp_path / "hub.safetensors")
    path = "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
    hub = Hub({path: (tmp_path / "hub.safetensors").read_bytes()})
    point_to(hub.endpoint, monkeypatch)
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def test_hub_weights_are_fetched_once_and_then_taken_from_the_cache(
    hub: Hub, tmp_path: Path, state: dict[str, Tensor], teacher_settings: Settings
) -> None:
    settings = teacher_settings(**RESNET, origin="hub", sha256=sha256_file(tmp_path / "hub.safetensors"))
    found = obtain("t", settings, tmp_path)
    assert all(torch.equal(found[name], state[name]) for name in state)
    asked = len(hub.asked)
    assert asked and "GET /timm/test_resnet.r160_in1k/resolve/main/model.safetensors" in hub.asked
    assert set(obtain("t", settings, tmp_path)) == set(state)
    assert len(hub.asked) == asked
    assert "is not the file that the settings name" in refusal("t", settings | {"sha256": "0" * 64}, tmp_path)


def test_weights_that_the_hub_does_not_have_are_a_clear_error(hub: Hub, tmp_path: Path, teacher_settings: Settings) -> None:
    hub.files.clear()
    message = refusal("t", teacher_settings(**RESNET, origin="hub"), tmp_path)
    assert "teachers.t: timm/test_resnet.r160_in1k is not in the local cache, and could not be fetched" in message


@pytest.mark.parametrize(("offline", "reason"), [(False, "does not answer"), (True, "HF_HUB_OFFLINE forbids to fetch it")])
def test_without_a_hub_the_file_to_fetch_is_named(
    cache: Path, tmp_path: Path, teacher_settings: Settings, monkeypatch: pytest.MonkeyPatch, offline: bool, reason: str
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        point_to(endpoint, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        message = refusal("t", teacher_settings(**RESNET, origin="hub"), tmp_path)
    assert f"is not in the local cache, and {'' if offline else endpoint + ' '}{reason}" in message
    assert f"fetch {endpoint}/timm/test_resnet.r160_in1k/resolve/main/model.safetensors" in message
    assert "`origin: file`" in message
