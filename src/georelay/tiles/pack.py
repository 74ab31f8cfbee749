"""An uncompressed zip whose bytes depend on its content alone and whose equal members lie at a constant stride.

Any zip reader opens it. Members that belong together are reserved as a run: their sizes are known beforehand, so
each one's place is too, and threads write them in any order straight to where they stay. The gap that alignment
needs is an extra field of the local header, as zipalign does it. The archive's comment is the digest of its
directory, so that a damaged directory is noticed on opening.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ALIGNMENT = 64  # a cache line; every element type divides it
COMMENT = b"directory sha256 "

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_PADDING = struct.Struct("<3H")
_PADDING_ID = 0xD935  # the id that Android's zipalign registered for alignment
_UNIX, _PLAIN, _ZIP64 = 3 << 8, 20, 45
_FIRST_DAY = (1 << 5) | 1  # 1980-01-01, the earliest date a zip can hold
_MODE = 0o644 << 16
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF


class Run:
    """Members of equal size whose data begins at `data`, `data + stride`, `data + 2 * stride`, ..."""

    def __init__(self, path: Path, start: int, names: Sequence[str], size: int) -> None:
        self.path, self.start, self.names, self.size = path, start, names, size
        longest = max((len(name) for name in names), default=0)
        head = _LOCAL.size + _PADDING.size
        self.data = _aligned(start + head + len(names[0])) if names else start
        self.stride = _aligned(size + head + longest)
        self.crcs = [0] * len(names)

    @property
    def end(self) -> int:
        """The first byte after the last member."""
        return self.data + (len(self.names) - 1) * self.stride + self.size if self.names else self.start

    def header_at(self, index: int) -> int:
        """Where a member's local header begins: right behind the data before it."""
        return self.data + (index - 1) * self.stride + self.size if index else self.start

    def write(self, first: int, chunks: Iterable[Any]) -> None:
        """Write consecutive members from `first` on; safe from several threads for different members."""
        with open(self.path, "r+b", buffering=1 << 20) as stream:
            stream.seek(self.header_at(first))
            for index, chunk in enumerate(chunks, start=first):
                data = memoryview(chunk).cast("B")
                if len(data) != self.size:
                    raise ValueError(f"{self.names[index]} has {len(data)} bytes, {self.size} were reserved")
                self.crcs[index] = zlib.crc32(data)
                stream.write(self._header(index))
                stream.write(data)

    def recover(self, count: int) -> int:
        """Take over members that an earlier writer left, from the first on; returns how many of `count` are whole."""
        with open(self.path, "rb", buffering=1 << 20) as stream:
            for index in range(count):
                stream.seek(self.header_at(index))
                head = stream.read(self.data + index * self.stride - self.header_at(index))
                data = stream.read(self.size)
                self.crcs[index] = zlib.crc32(data)
                # The header holds the checksum, so it vouches for the data as well.
                if len(data) != self.size or head != self._header(index):
                    return index
        return count

    def _header(self, index: int) -> bytes:
        name = self.names[index].encode()
        padding = self.data + index * self.stride - self.header_at(index) - _LOCAL.size - len(name)
        facts = (self.crcs[index], self.size, self.size, len(name), padding)
        head = _LOCAL.pack(b"PK\3\4", _PLAIN, 0, 0, 0, _FIRST_DAY, *facts)
        gap = _PADDING.pack(_PADDING_ID, padding - 4, ALIGNMENT)
        return head + name + gap.ljust(padding, b"\0")

    def directory(self) -> bytes:
        """The entries of the members in the archive's directory."""
        return b"".join(self._entry(index) for index in range(len(self.names)))

    def _entry(self, index: int) -> bytes:
        name, offset, extra = self.names[index].encode(), self.header_at(index), b""
        if offset >= _MAX32:
            extra, offset = struct.pack("<2HQ", 1, 8, offset), _MAX32
        version = _ZIP64 if extra else _PLAIN
        facts = (self.crcs[index], self.size, self.size, len(name), len(extra))
        entry = _CENTRAL.pack(b"PK\1\2", _UNIX | version, version, 0, 0, 0, _FIRST_DAY, *facts, 0, 0, 0, _MODE, offset)
        return entry + name + extra


class AlignedZip:
    """Writes the archive: reserve runs or add members in order, fill the runs, then `finish`.

    An unfinished archive is picked up with `fresh=False`, the same reservations, and `recover` of its runs.
    """

    def __init__(self, path: Path, fresh: bool = True) -> None:
        self.path, self.position = Path(path), 0
        self.runs: list[Run] = []
        if fresh:
            self.path.write_bytes(b"")

    def reserve(self, names: Sequence[str], size: int) -> Run:
        """Keep room for members of `size` bytes each."""
        run = Run(self.path, self.position, list(names), size)
        self.runs.append(run)
        self.position = run.end
        return run

    def add(self, name: str, data: bytes) -> None:
        """Write one member."""
        self.reserve([name], len(data)).write(0, [data])

    def finish(self) -> None:
        """Write the directory and its digest."""
        count = sum(len(run.names) for run in self.runs)
        directory = b"".join(run.directory() for run in self.runs)
        tail = directory + self._end(count, len(directory))
        with open(self.path, "r+b") as stream:
            stream.seek(self.position)
            stream.write(tail + directory_comment(tail))
            stream.truncate()  # an archive that was picked up may have been longer

    def _end(self, count: int, size: int) -> bytes:
        length = len(directory_comment(b""))
        if count < _MAX16 and self.position < _MAX32:
            return _END.pack(b"PK\5\6", 0, 0, count, count, size, self.position, length)
        rest = (_UNIX | _ZIP64, _ZIP64, 0, 0, count, count, size, self.position)
        end64 = _END64.pack(b"PK\6\6", _END64.size - 12, *rest)
        locator = _LOCATOR.pack(b"PK\6\7", 0, self.position + size, 1)
        return end64 + locator + _END.pack(b"PK\5\6", 0, 0, _MAX16, _MAX16, _MAX32, _MAX32, length)


def directory_comment(tail: bytes) -> bytes:
    """The archive comment that vouches for all bytes between the last member and itself."""
    return COMMENT + hashlib.sha256(tail).hexdigest().encode()


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT
