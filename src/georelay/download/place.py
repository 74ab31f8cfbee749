"""An archive's files brought to their place: all of them, or none where one would change a file that is there."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from georelay.download.archive import Bounds, Unusable, unpack, unpacked_size
from georelay.download.record import Record
from georelay.download.wanted import Download
from georelay.errors import UserError
from georelay.files import remove, require_space
from georelay.progress import BYTES, Progress


def settle(download: Download, record: Record, label: str, bounds: Bounds) -> None:
    """Unpack an archive beside its place and move what it holds there; the record says so last."""
    path = record.path(download)
    work = record.folder / f"{download.name}.unpacking"
    remove(work)  # an interrupted one: its files may be half-written
    what, into = f"{label}: unpack {download.name}", download.unpack or ""
    try:
        size = unpacked_size(path)
        require_space(record.folder, size, what)
        with Progress(what, size, BYTES) as bar:
            members = unpack(path, work, bounds, bar)
        top = sorted(entry.name for entry in work.iterdir())
        merge(work, record.dataset / into, path)
    except Unusable:
        record.change(download.name, None)  # the first file that came is not the one to trust
        raise
    finally:
        remove(work)
    done: dict[str, Any] = {"into": into, "members": members, "top": top}
    record.change(download.name, record.entries[download.name] | {"unpacked": done})


def merge(source: Path, target: Path, archive: Path) -> None:
    """Move a folder's entries into another one, where files of the same bytes may already lie."""
    for entry, place in _meeting(source, target):
        if not (entry.is_file() and place.is_file() and filecmp.cmp(entry, place, shallow=False)):
            hint = f"{archive} holds another one under that name: move the one that is there away"
            raise UserError("would be replaced by other bytes", place, hint)
    _move(source, target)


def _meeting(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Entries of `source` with what is already in their place."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            yield from _meeting(entry, place)
        elif place.exists() or place.is_symlink():
            yield entry, place


def _move(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place)
        elif not place.exists():
            shutil.move(entry, place)  # a rename, unless the user has put a folder on another disk
