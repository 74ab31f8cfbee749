"""Unpacking what strangers packed: nothing outside the folder, no links, no devices, no bombs."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, Any

from georelay.download.record import room_on_disk
from georelay.download.wanted import FOLDER
from georelay.errors import UserError
from georelay.progress import Progress

BLOCK = 1 << 18
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
ZIP_HEADER = 30  # bytes before each member, at least
TAR_BLOCK = 512
TAR_HEADER_LIMIT = 1 << 20  # bytes: far more than any true name or attribute takes
COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, UnicodeDecodeError)


class Unusable(UserError):
    """An archive that cannot or must not be unpacked."""


class Unsafe(Exception):
    """An archive holds what none of ours would."""


@dataclass(frozen=True)
class Bounds:
    """How much an archive may hold: no dataset comes near, every bomb goes beyond."""

    ratio: int = 200  # bytes unpacked for one packed: rasters of few classes reach some dozens
    floor: int = 4 << 30  # bytes that no ratio forbids
    members: int = 2_000_000

    def room(self, path: Path) -> int:
        """Bytes that an archive may unpack to."""
        return max(self.floor, self.ratio * path.stat().st_size)


@dataclass(frozen=True)
class Member:
    """One entry of an archive."""

    name: str
    folder: bool
    open: Callable[[], IO[bytes]]


def unpack(path: Path, folder: Path, bounds: Bounds, bar: Progress) -> int:
    """Write every file of an archive into a new folder; their number."""
    room, files = bounds.room(path), 0
    with _readable(path), room_on_disk(folder):
        folder.mkdir(parents=True)
        for count, member in enumerate(_members(path, room), 1):
            if count > bounds.members:
                raise Unsafe(f"it has more than {bounds.members} members")
            target = folder / safe_name(member.name)
            if member.folder:
                target.mkdir(parents=True, exist_ok=True)
            else:
                room -= _write(member, target, room, bar)
                files += 1
        if not files:
            raise Unsafe("it holds no file")
    return files


def unpacked_size(path: Path) -> int:
    """Bytes that unpacking takes: a zip file tells it, of others it is at least their own size."""
    with _readable(path):
        if not _is_zip(path):
            return path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            return sum(info.file_size for info in archive.infolist())


def safe_name(name: str) -> PurePosixPath:
    """The path of a member below the folder; some archives from Windows separate with backslashes."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or re.match("[A-Za-z]:", plain) or ".." in parts or FOLDER in parts:
        raise Unsafe(f'"{name}" would lie outside the folder')
    return PurePosixPath(*parts)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what an archive can be wrong about into a message that names it."""
    try:
        yield
    except Unsafe as error:
        raise Unusable(f"is not safe to unpack: {error}", path, "nothing of it was kept; ask those who publish it") from None
    except (FileExistsError, NotADirectoryError) as error:
        what = f'two of its members are called "{Path(str(error.filename)).name}"'
        raise Unusable(f"cannot be unpacked: {what}", path, "nothing of it was kept; ask those who publish it") from None
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the archive's
        hint = "it is broken, or no zip or tar file: move it away and run the same command again"
        raise Unusable(f"cannot be unpacked: {error or type(error).__name__}", path, hint) from None


def _write(member: Member, target: Path, room: int, bar: Progress) -> int:
    """Write one file; its size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with member.open() as source, target.open("xb") as stream:
        while block := source.read(BLOCK):
            size += len(block)
            if size > room:
                raise _too_large()
            stream.write(block)
            bar.advance(len(block))
    return size


def _too_large() -> Unsafe:
    return Unsafe("it unpacks to far more than its own size")


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in ZIP_STARTS


def _members(path: Path, room: int) -> Iterator[Member]:
    return (_zip_members if _is_zip(path) else _tar_members)(path, room)


def _zip_members(path: Path, room: int) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_layout(infos, room)
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Unsafe(f'"{info.filename}" is a link or a device')
            if info.flag_bits & 1:
                raise zipfile.BadZipFile(f'"{info.filename}" is encrypted')
            yield Member(info.filename, info.is_dir() or kind == stat.S_IFDIR, partial(archive.open, info))


def _check_layout(infos: list[zipfile.ZipInfo], room: int) -> None:
    if sum(info.file_size for info in infos) > room:
        raise _too_large()
    spans = sorted((info.header_offset, info.header_offset + ZIP_HEADER + info.compress_size) for info in infos)
    if any(start < end for (_, end), (start, _) in pairwise(spans)):
        raise Unsafe("its members overlap")


def _tar_members(path: Path, room: int) -> Iterator[Member]:
    with path.open("rb") as raw, _Bounded(_decompressed(raw), room) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as archive:  # type: ignore[call-overload]
            while (info := archive.next()) is not None:
                if not (info.isreg() or info.isdir()):
                    raise Unsafe(f'"{info.name}" is {_kind(info)}')
                yield Member(info.name, info.isdir(), partial(_extracted, archive, info))
                archive.members.clear()  # kept for links, which there are none of
        stream.require_end()


def _extracted(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    source = archive.extractfile(info)
    assert source is not None  # as it is a regular file
    return source


def _kind(info: tarfile.TarInfo) -> str:
    return "a link" if info.issym() or info.islnk() else "a device, or of no known kind"


def _decompressed(raw: IO[bytes]) -> Any:
    head = raw.read(8)
    raw.seek(0)
    return next((opened(raw) for start, opened in COMPRESSIONS.items() if head.startswith(start)), raw)


class _Bounded:
    """The bytes of a tar file, as many as there may be."""

    def __init__(self, stream: Any, room: int) -> None:
        self.stream, self.room, self.last = stream, room, b""

    def __enter__(self) -> _Bounded:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def read(self, size: int) -> bytes:
        # Blocks of files are smaller; a header of gigabytes would be read into memory at once.
        if size > TAR_HEADER_LIMIT:
            raise Unsafe(f"it has a header of {size} bytes")
        self.last = self.stream.read(size)
        self._check()
        return self.last

    def seek(self, position: int) -> int:
        if position > self.room:
            raise _too_large()
        return int(self.stream.seek(position))

    def tell(self) -> int:
        return int(self.stream.tell())

    def require_end(self) -> None:
        """The archive ends as tar files end, not in the middle; reading all of it makes compressions check their sums."""
        if self.last != bytes(TAR_BLOCK):
            raise tarfile.ReadError("unexpected end of data")
        while self.read(BLOCK):
            pass

    def _check(self) -> None:
        if self.tell() > self.room:
            raise _too_large()
