"""A file under way: the bytes so far, their digests, and what its server called them, so that a transfer can go on."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event
from typing import Any

from georelay.download.check import Digests, complaint, digests_of
from georelay.download.record import DiskFull, room_on_disk
from georelay.download.wanted import Download, shown
from georelay.errors import UserError
from georelay.files import read_json, remove, write_json
from georelay.progress import Progress


class Dropped(Exception):
    """A transfer broke off; the same address is worth another try."""


class Refused(Exception):
    """An address will not give the file; the next one may."""


class Stopped(Exception):
    """Another transfer, or the user, has ended the work."""


class Part:
    """`<name>.part`, and `<name>.part.json` beside it: the address, what its server called the file, and its size."""

    def __init__(self, folder: Path, wanted: Download, bar: Progress, stop: Event) -> None:
        self.wanted, self.bar, self.stop = wanted, bar, stop
        self.path, self.final = folder / f"{wanted.name}.part", folder / wanted.name
        self.notes = folder / f"{wanted.name}.part.json"
        self.digests = Digests(md5=wanted.md5 is not None)
        self.total: int | None = None
        self.promised = 0  # bytes to come that the bar knows of

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> str:
        """What the server at `url` called the file that these bytes are of; empty where there is nothing to go on from."""
        notes = self._read_notes()
        if notes.get("url") != shown(url) or not self.size:
            return ""
        self.total = notes["total"]
        return str(notes["validator"])

    def complete(self, url: str) -> bool:
        """Whether every byte of `url` is here: what was interrupted after the last one asks for nothing more."""
        return bool(self.validator(url)) and self.total == self.size

    def restart(self, url: str, validator: str, total: int | None) -> None:
        """Begin a file of `total` bytes anew."""
        meant = self.wanted.size
        if total is not None and meant is not None and total != meant:
            raise Refused(f"its size is {total}, it must be {meant}")
        self.discard()
        with room_on_disk(self.path):
            self.path.touch()
            write_json(self.notes, {"url": shown(url), "validator": validator, "total": total})
        self.total = total
        self.promise(total or 0)

    def resume(self) -> None:
        """Go on behind the bytes that are here."""
        if self.digests.size != self.size:
            self.digests = digests_of(self.path, md5=self.wanted.md5 is not None)
        self.promise((self.total or self.size) - self.size)

    def write(self, block: bytes) -> None:
        """Append some bytes. Opened for each block: a disk that fills up then shows here, and what fits stays."""
        if self.stop.is_set():
            raise Stopped
        try:
            with room_on_disk(self.path), self.path.open("ab") as stream:
                stream.write(block)
        except DiskFull:
            self.stop.set()
            raise
        self.digests.update(block)
        self.promise(max(self.promised, len(block)))
        self.promised -= len(block)
        self.bar.advance(len(block))

    def require_whole(self) -> None:
        """The transfer has brought what its server promised."""
        size = self.size
        if self.total is not None and size > self.total:
            self.discard()
        if self.total is not None and size != self.total:
            raise Dropped(f"broke off at {size} of {self.total} bytes")

    def finish(self) -> dict[str, Any]:
        """Give the file its name if it is the one that is meant; else nothing of it stays."""
        self.resume()
        facts = self.digests.facts()
        if wrong := complaint(self.path, self.wanted, facts):
            self.discard()
            raise Refused(wrong)
        os.replace(self.path, self.final)
        remove(self.notes)
        return facts

    def discard(self) -> None:
        """Forget the bytes so far."""
        remove(self.path)
        remove(self.notes)
        self.digests = Digests(md5=self.wanted.md5 is not None)

    def promise(self, left: int) -> None:
        """Tell the bar how many bytes are to come."""
        self.bar.expect(left - self.promised)
        self.promised = left

    def _read_notes(self) -> dict[str, Any]:
        try:
            notes = read_json(self.notes)
        except UserError:  # missing or broken: nothing to go on from
            return {}
        return notes if isinstance(notes, dict) and {"url", "validator", "total"} <= notes.keys() else {}
