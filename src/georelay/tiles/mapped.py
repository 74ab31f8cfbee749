"""A Zarr store in one aligned zip, read at the speed of memory: every plain array is one strided view over the mapped file.

Light on purpose: training imports this, so zarr is imported only for a compressed store and xarray never.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from georelay.errors import UserError
from georelay.tiles.pack import directory_comment

_LOCAL_HEADER = 30  # bytes before the name; the lengths of name and extra field are its last four
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, LookupError, TypeError, OSError, NotImplementedError)


@dataclass
class _Opened:
    """What one process holds of a store."""

    pid: int
    memory: np.ndarray
    members: dict[str, tuple[int, int]]  # name -> (place of the local header, bytes)
    attrs: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class MappedStore:
    """Arrays in one file. Holds a path only, so it may be pickled or forked; each process maps the file for itself."""

    kind: ClassVar[str]  # what messages call it
    schema: ClassVar[tuple[str, int]]  # the attribute that numbers the layout, and the layout this version reads

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._state: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_state": None}

    @property
    def remedy(self) -> str:
        """How a person gets this store anew, as half a sentence."""
        return "run the stage that writes it"

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the store as a whole."""
        return self._opened().attrs

    def array(self, name: str) -> np.ndarray:
        """A read-only array over all tiles; indexing with a list of tiles copies just these."""
        opened = self._opened()
        if name not in opened.arrays:
            opened.arrays[name] = self._load(opened, name)
        return opened.arrays[name]

    def verify(self) -> None:
        """Read everything: checksums of all members, and that every array is whole."""
        with self._complaining(), zipfile.ZipFile(self.path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise self._corrupt(f'checksum of "{broken}" does not match')
        for name in self._opened().members:
            if name.endswith("/zarr.json"):
                self.array(name.removesuffix("/zarr.json"))

    def _opened(self) -> _Opened:
        # After a fork the parent's mapping still works, but a reader of a compressed store would share its file offset.
        if self._state is None or self._state.pid != os.getpid():
            self._state = self._open()
        return self._state

    def _open(self) -> _Opened:
        if not self.path.is_file():
            raise UserError(f"{self.kind} is missing", self.path, self.remedy)
        with self._complaining():
            with zipfile.ZipFile(self.path) as archive:
                members = {entry.filename: (entry.header_offset, entry.file_size) for entry in archive.infolist()}
                start, comment = archive.start_dir, archive.comment
                group = json.loads(archive.read("zarr.json"))
            memory = np.memmap(self.path, np.uint8, mode="r")
            if directory_comment(bytes(memory[start : len(memory) - len(comment)])) != comment:
                raise self._corrupt("the directory does not match its digest")
            attrs = group["attributes"]
            key, layout = self.schema
            if attrs[key] != layout:
                raise self._corrupt(f"has layout {attrs[key]}, this version reads {layout}")
        return _Opened(os.getpid(), memory, members, attrs)

    def _load(self, opened: _Opened, name: str) -> np.ndarray:
        if f"{name}/zarr.json" not in opened.members:
            raise self._corrupt(f'has no array "{name}"')
        with self._complaining():
            at, size = self._data(opened, f"{name}/zarr.json"), opened.members[f"{name}/zarr.json"][1]
            facts = json.loads(bytes(opened.memory[at : at + size]))
            plain = [codec["name"] for codec in facts["codecs"]] == ["bytes"]
            array = self._view(opened, name, facts) if plain else _decompress(self.path, name)
        return array

    def _view(self, opened: _Opened, name: str, facts: dict[str, Any]) -> np.ndarray:
        """The array as a view: one chunk, or chunks of one entry each at a constant stride."""
        shape, chunk = tuple(facts["shape"]), tuple(facts["chunk_grid"]["configuration"]["chunk_shape"])
        dtype = np.dtype(facts["data_type"]).newbyteorder("<")
        if chunk == shape:
            key = "/".join([name, "c", *("0" * len(shape))])
            self._require(opened, [key], math.prod(shape) * dtype.itemsize)
            return np.ndarray(shape, dtype, opened.memory, self._data(opened, key))
        if chunk != (1, *shape[1:]):
            raise self._corrupt(f'array "{name}" has chunks {chunk}, one tile each was expected')
        keys = ["/".join([name, "c", str(index), *("0" * (len(shape) - 1))]) for index in range(shape[0])]
        size = math.prod(chunk) * dtype.itemsize
        heads = self._require(opened, keys, size)
        first = self._data(opened, keys[0])
        # Behind each member's data comes the next header, so the headers tell where all data ends.
        stride = self._data(opened, keys[1]) - first
        if not np.array_equal(heads[1:], first + size + stride * np.arange(shape[0] - 1)):
            raise self._corrupt(f'tiles of "{name}" do not lie at a constant stride')
        inner = np.ndarray(chunk[1:], dtype).strides
        return np.ndarray(shape, dtype, opened.memory, first, (stride, *inner))

    def _require(self, opened: _Opened, keys: list[str], size: int) -> np.ndarray:
        found = [opened.members.get(key, (-1, -1)) for key in keys]
        if any(entry[1] != size for entry in found):
            raise self._corrupt(f'"{next(k for k, e in zip(keys, found, strict=True) if e[1] != size)}" is missing or cut short')
        return np.array([entry[0] for entry in found], np.int64)

    @staticmethod
    def _data(opened: _Opened, member: str) -> int:
        """Where a member's bytes begin: behind its local header, name and extra field."""
        head = opened.members[member][0]
        lengths = bytes(opened.memory[head + _LOCAL_HEADER - 4 : head + _LOCAL_HEADER])
        return head + _LOCAL_HEADER + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")

    def _corrupt(self, what: str) -> UserError:
        return UserError(what, self.path, f"delete it and {self.remedy} again")

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        """Turns what a damaged file makes the libraries raise into the one message that helps."""
        try:
            yield
        except DAMAGE as error:
            raise self._corrupt(f"is not a whole {self.kind} ({error})") from error


def _decompress(path: Path, name: str) -> np.ndarray:
    """All of an array, unpacked by zarr."""
    import zarr

    with zarr.storage.ZipStore(path, mode="r") as store:
        array = np.asarray(zarr.open_array(store, path=name, mode="r")[...])
    array.flags.writeable = False
    return array
