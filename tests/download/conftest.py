"""A web server of this machine, and a dataset's folder to bring its files into."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Server, web_server

from georelay.download.obtain import obtain
from georelay.download.transfer import Patience
from georelay.download.wanted import Download

Fetch = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no look-up of names: there is this machine alone."""
    plain = socket.getaddrinfo

    def look_up(host: str, *more: Any, **how: Any) -> Any:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return plain(host, *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")


@pytest.fixture
def server() -> Iterator[Server]:
    with web_server() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "loveda"


@pytest.fixture
def fetch(folder: Path) -> Fetch:
    def run(*downloads: Download, **how: Any) -> list[dict[str, Any]]:
        settings = {"label": "loveda", "workers": 2, "say": lambda line: None, "patience": Patience(5.0, 3, 0.0, 0.0)}
        return obtain(downloads, folder, **(settings | how))

    return run
