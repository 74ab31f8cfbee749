"""Finished results by the fingerprint of what made them: restored instead of computed, in either engine, in any clone.

The files lie in the content-addressed store that DVC itself is built on (dvc-data); an entry here is one small JSON
that says which files a fingerprint stands for. GEORELAY_CACHE shares one store between clones and users.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc_data.hashfile.db.local import LocalHashFileDB
from dvc_objects.fs.local import localfs

from georelay.errors import UserError
from georelay.files import digest, read_json, remove, replacing, sha256_file, write_json

DEFAULT_FOLDER = Path(".georelay/cache")


@dataclass(frozen=True)
class Entry:
    """One finished result: its name for people, its files, and what it cost."""

    fingerprint: str
    label: str
    seconds: float
    files: dict[str, dict[str, Any]]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(int(file["size"]) for file in self.files.values())


class Cache:
    """The store and its entries; `root` is the checkout that entries' paths are relative to."""

    def __init__(self, folder: Path, root: Path, shared: bool = False) -> None:
        self.folder, self.root = folder.resolve(), root
        self.objects = LocalHashFileDB(localfs, str(self.folder / "files"), hash_name="sha256", shared=shared)

    @classmethod
    def here(cls, root: Path = Path(".")) -> Cache:
        """The cache of this checkout, or the shared one that GEORELAY_CACHE names."""
        shared = os.environ.get("GEORELAY_CACHE")
        return cls(Path(shared) if shared else root / DEFAULT_FOLDER, root, shared=bool(shared))

    def restore(self, fingerprint: str, outputs: Sequence[Path]) -> Entry | None:
        """Put the files of a fingerprint in the places of `outputs`; None when there are none, or damaged ones.

        The places may be others than those the files were kept from: a row renamed finds the runs it had.
        """
        entry = self.find(fingerprint)
        if entry is None or not self._intact(entry):
            return None
        for name, file in entry.files.items():
            number, _, inner = name.partition("/")
            self._place(self.place(file["sha256"]), self.root / outputs[int(number)] / inner)
        os.utime(self._entry_path(fingerprint))  # prune goes by the last use
        return entry

    def find(self, fingerprint: str) -> Entry | None:
        """What is kept under a fingerprint; its files are not read."""
        return self._read(self._entry_path(fingerprint))

    def place(self, sha256: str) -> Path:
        """Where the bytes of this digest lie."""
        return Path(self.objects.oid_to_path(sha256))

    def holds(self, fingerprint: str) -> bool:
        """Whether a fingerprint's files are there and whole."""
        entry = self.find(fingerprint)
        return entry is not None and self._intact(entry)

    def save(self, fingerprint: str, label: str, outputs: Sequence[Path], seconds: float) -> None:
        """Keep finished files under a fingerprint; folders are taken with all that is in them."""
        paths = {name: path for number, output in enumerate(outputs) for name, path in _named(number, self.root / output)}
        files = {name: _fact(path) for name, path in paths.items()}
        self._add(list(paths.values()), [file["sha256"] for file in files.values()])
        body = {"label": label, "seconds": round(seconds, 1), "files": files}
        # The entry carries its own digest: a half-written or edited one is noticed.
        write_json(self._entry_path(fingerprint), {**body, "digest": digest(body)})

    def entries(self) -> Iterator[Entry]:
        """All readable entries, last used first."""
        paths = sorted(self.folder.glob("entries/*/*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        yield from (entry for entry in map(self._read, paths) if entry is not None)

    def verify(self) -> list[str]:
        """Hash every file of every entry; drop and name what is damaged."""
        return [entry.label for entry in list(self.entries()) if not self._intact(entry)]

    def prune(self, keep_bytes: int) -> int:
        """Drop the entries used longest ago until the rest fits; returns the bytes freed."""
        kept: set[str] = set()
        total: int = 0
        for entry in list(self.entries()):
            new = {file["sha256"]: int(file["size"]) for file in entry.files.values()}
            total += sum(size for oid, size in new.items() if oid not in kept)
            if total > keep_bytes:
                self._entry_path(entry.fingerprint).unlink()
                total -= sum(size for oid, size in new.items() if oid not in kept)
            else:
                kept |= set(new)
        return sum(self._delete(oid) for oid in list(self.objects.all()) if oid not in kept)

    def _entry_path(self, fingerprint: str) -> Path:
        return self.folder / "entries" / fingerprint[:2] / f"{fingerprint}.json"

    def _read(self, path: Path) -> Entry | None:
        try:
            body = read_json(path)
            if body.pop("digest") == digest(body):
                return Entry(path.stem, **body)
        except (UserError, KeyError, AttributeError, TypeError):
            if not path.exists():
                return None
        remove(path)
        return None

    def _intact(self, entry: Entry) -> bool:
        """Whether every file has its bytes; damaged ones are dropped with the entry."""
        bad = [file["sha256"] for file in entry.files.values() if not self._has_bytes(file["sha256"])]
        for oid in bad:
            remove(self.place(oid))
        if bad:
            remove(self._entry_path(entry.fingerprint))
        return not bad

    def _has_bytes(self, oid: str) -> bool:
        path = self.place(oid)
        return path.is_file() and sha256_file(path) == oid

    def _add(self, paths: list[Path], oids: list[str]) -> None:
        for oid in oids:  # what is there but damaged would be taken for granted
            if self.place(oid).exists() and not self._has_bytes(oid):
                remove(self.place(oid))
        self.objects.add([str(path) for path in paths], localfs, oids, hardlink=True)

    def _place(self, stored: Path, target: Path) -> None:
        with replacing(target) as temporary:
            try:
                os.link(stored, temporary)
                os.utime(temporary, (time.time(), time.time()))  # engines compare times: a restored output is new
            except OSError:  # another disk, or another user's file
                remove(temporary)
                shutil.copyfile(stored, temporary)

    def _delete(self, oid: str) -> int:
        path = self.place(oid)
        size = path.stat().st_size
        remove(path)
        return size


def _named(number: int, output: Path) -> list[tuple[str, Path]]:
    """An output's files by the output's number, and in a folder by their path inside it."""
    if not output.is_dir():
        return [(str(number), output)]
    inner = sorted(path for path in output.rglob("*") if path.is_file())
    return [(f"{number}/{path.relative_to(output).as_posix()}", path) for path in inner]


def _fact(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_file(path), "size": path.stat().st_size}
