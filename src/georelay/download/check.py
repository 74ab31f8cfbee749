"""Whether a file is the one that is meant: its size and digests, and pages of a web site in place of an archive."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from georelay.download.wanted import Download
from georelay.files import READ_BLOCK

PAGE = "it is an HTML page, no such file: perhaps one that asks for a log-in, or says that a quota is used up"
PAGE_STARTS = (b"<!doctype html", b"<html")
PAGE_SUFFIXES = (".html", ".htm")
HEAD = 512  # bytes: enough for blanks and a byte order mark before the page


class Digests:
    """Size and digests of bytes as they pass: sha256 always, md5 where one was published."""

    def __init__(self, md5: bool) -> None:
        self.size = 0
        self.hashers: dict[str, Any] = {"sha256": hashlib.sha256()}
        if md5:
            self.hashers["md5"] = hashlib.md5(usedforsecurity=False)

    def update(self, block: bytes) -> None:
        """Some more bytes."""
        self.size += len(block)
        for hasher in self.hashers.values():
            hasher.update(block)

    def facts(self) -> dict[str, Any]:
        """What the bytes so far amount to."""
        return {"size": self.size, **{name: hasher.hexdigest() for name, hasher in self.hashers.items()}}


def digests_of(path: Path, md5: bool) -> Digests:
    """The digests of a file's bytes; more may follow."""
    digests = Digests(md5)
    with path.open("rb") as stream:
        while block := stream.read(READ_BLOCK):
            digests.update(block)
    return digests


def complaint(path: Path, wanted: Download, facts: dict[str, Any]) -> str:
    """What is wrong with a file whose size and digests are `facts`; empty where nothing is."""
    if not wanted.name.lower().endswith(PAGE_SUFFIXES) and _is_page(path):
        return PAGE
    wrong = {key: meant for key, meant in wanted.figures.items() if facts.get(key, meant) != meant}
    return "; ".join(f"its {key} is {facts[key]}, it must be {meant}" for key, meant in wrong.items())


def _is_page(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGE_STARTS)
