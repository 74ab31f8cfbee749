"""One file from the first address that gives it, with patience for lines that drop."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from georelay.download import ftp, web
from georelay.download.part import Dropped, Part, Refused, Stopped
from georelay.download.wanted import Download, shown
from georelay.errors import UserError

PROTOCOLS: dict[str, ModuleType] = {"http": web, "https": web, "ftp": ftp}


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to ask it again."""

    timeout: float = 30.0  # seconds without a byte
    tries: int = 5  # in a row that bring nothing
    wait: float = 1.0  # seconds after the first of them, twice as many after each other one
    longest: float = 60.0


def fetch(part: Part, patience: Patience, advice: str) -> tuple[str, dict[str, Any]]:
    """The address that gave the file, and the file's facts; `advice` is for when none does."""
    said = []
    for url in part.wanted.urls:
        try:
            _persist(url, part, patience)
            return shown(url), part.finish()
        except Refused as refusal:
            said.append(f"{shown(url)}: {refusal}")
    raise UserError("\n  ".join(["could not be fetched", *said]), part.final, advice)


def size_of(wanted: Download, patience: Patience) -> int | None:
    """The size of a file, as published or as the first server tells it."""
    if wanted.size is not None:
        return wanted.size
    for url in wanted.urls:
        with suppress(Dropped, Refused):
            if size := _protocol(url).size_of(url, patience.timeout):
                return int(size)
    return None


def _persist(url: str, part: Part, patience: Patience) -> None:
    """Bring all of `url`; tries that brought more than any before do not count."""
    protocol, failed, most = _protocol(url), 0, part.size
    while not part.complete(url):
        try:
            protocol.stream(url, part, patience.timeout)
            return
        except Dropped as drop:
            failed, most = (0, part.size) if part.size > most else (failed + 1, most)
            if failed >= patience.tries:
                raise Refused(f"{drop} ({failed} times)") from None
        if part.stop.wait(min(patience.wait * 2 ** max(failed - 1, 0), patience.longest)):
            raise Stopped


def _protocol(url: str) -> ModuleType:
    try:
        return PROTOCOLS[urlsplit(url).scheme]
    except KeyError:
        raise Refused(f"no address that begins with {', '.join(PROTOCOLS)}") from None
