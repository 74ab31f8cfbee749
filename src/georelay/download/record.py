"""What is known of a dataset's files: where each came from, its digests, and whether it is unpacked."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from georelay.download.check import complaint, digests_of
from georelay.download.wanted import FOLDER, Download
from georelay.errors import UserError
from georelay.files import read_json, write_json

NAME = "downloads.json"
FACTS = ("url", "size", "sha256", "md5")


class DiskFull(UserError):
    """No room is left; what has come so far stays."""


@contextmanager
def room_on_disk(path: Path) -> Iterator[None]:
    """Turn a full disk into a message that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        hint = "free some space and run the same command again: it goes on where it stopped"
        raise DiskFull("the disk is full", path, hint) from None


class Record:
    """The entries of `downloads.json`, written anew whenever one changes.

    An entry is what its file is trusted by from then on, published checksum or not: another file of that name is refused.
    """

    def __init__(self, dataset: Path) -> None:
        self.dataset, self.folder = dataset, dataset / FOLDER
        self.file = self.folder / NAME
        self.entries: dict[str, dict[str, Any]] = read_json(self.file) if self.file.exists() else {}
        self.lock = Lock()

    def path(self, download: Download) -> Path:
        """Where a file lies, or shall lie: what is fetched by hand may lie beside the dataset's other files."""
        path, beside = self.folder / download.name, self.dataset / download.name
        return beside if not download.urls and beside.is_file() and not path.exists() else path

    def wanted(self, download: Download) -> Download:
        """The download with every figure that it must have: the published ones, else those it had the first time."""
        entry = self.entries.get(download.name, {})
        if not _agrees(entry, download):
            return download  # another release is meant by now
        return replace(download, size=download.size or entry.get("size"), sha256=download.sha256 or entry.get("sha256"))

    def unpacked(self, download: Download) -> bool:
        """Whether all of an archive was unpacked to where it is wanted, and its topmost entries are still there."""
        entry = self.entries.get(download.name, {})
        done = entry.get("unpacked")
        if download.unpack is None or done is None or done["into"] != download.unpack or not _agrees(entry, download):
            return False
        return all((self.dataset / download.unpack / name).exists() for name in done["top"])

    def verify(self, download: Download) -> None:
        """The file that lies there is the one that is meant, or a UserError says why not; the first one is trusted.

        A file of the size and time noted is not read again: hashing takes minutes for what is fetched once and then
        only read, and whoever forges a time can forge the record, too.
        """
        path, entry = self.path(download), self.entries.get(download.name, {})
        stat = path.stat()
        known = (entry.get("size"), entry.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)
        if known and download.figures.keys() <= entry.keys():
            facts = entry
        else:
            facts = digests_of(path, md5=download.md5 is not None).facts()
        if wrong := complaint(path, self.wanted(download), facts):
            raise UserError(f"is not the file that is meant: {wrong}", path, self.advice(download))
        if facts is not entry:
            same = entry if entry.get("sha256") == facts["sha256"] else {}
            self.note(download, facts, same)

    def advice(self, download: Download) -> str:
        """What a person can do about a file that is not the one that is meant, or does not come."""
        path = self.path(download)
        again = f"move {path} away and run the same command again, or " if download.urls and path.exists() else ""
        lines = [f"{again}put the right file there by any other way. {download.manual or ''}".rstrip()]
        if download.name in self.entries and download.md5 is None and download.sha256 is None:
            lines.append(f"what it must be is what it was the first time; to trust another, delete its entry in {self.file}")
        return "\n  ".join(lines)

    def note(self, download: Download, facts: dict[str, Any], about: dict[str, Any]) -> None:
        """Write down what a file is that lies whole in its place, and what else is known about it."""
        stat = self.path(download).stat()
        self.change(download.name, {"url": None, **about, **facts, "mtime_ns": stat.st_mtime_ns})

    def change(self, name: str, entry: dict[str, Any] | None) -> None:
        """Put an entry in place of the one before; None: forget the file, whatever comes next is the first one."""
        with self.lock, room_on_disk(self.file):
            self.entries.pop(name, None)
            self.entries |= {name: entry} if entry else {}
            write_json(self.file, self.entries)

    def facts(self, download: Download) -> dict[str, Any]:
        """What is worth telling of a finished download; no times, so the same files give the same facts."""
        entry = self.entries[download.name]
        told = {"name": download.name} | {key: entry[key] for key in FACTS if key in entry}
        return told if download.unpack is None else told | {"members": entry["unpacked"]["members"]}


def _agrees(entry: dict[str, Any], download: Download) -> bool:
    """Whether what is known of a file does not contradict what is published."""
    return all(entry.get(key, meant) == meant for key, meant in download.figures.items())
