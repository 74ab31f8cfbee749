"""Unpacking: every kind of archive by its content, and nothing that would do harm."""

from __future__ import annotations

import errno
import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packed import tarred, zipped

from georelay.download.archive import Bounds, safe_name, unpack, unpacked_size
from georelay.errors import UserError
from georelay.progress import Progress

FILES = [("a/b.tif", b"b" * 3000), ("c.txt", b"c"), ("a/empty", b"")]
TIGHT = Bounds(ratio=20, floor=100_000, members=50)


def opened(tmp_path: Path, body: bytes, bounds: Bounds = TIGHT) -> dict[str, bytes]:
    """What an archive of these bytes holds."""
    path, folder = tmp_path / "archive", tmp_path / "out"
    path.write_bytes(body)
    with Progress("unpack", 0, "bytes") as bar:
        count = unpack(path, folder, bounds, bar)
    found = {entry.relative_to(folder).as_posix(): entry.read_bytes() for entry in folder.rglob("*") if entry.is_file()}
    assert count == len(found)
    return found


@pytest.mark.parametrize("compression", ["zip", "stored", "", "gz", "bz2", "xz"])
def test_archives_are_known_by_their_content(tmp_path: Path, compression: str) -> None:
    if compression in ("zip", "stored"):
        body = zipped(("a/", b""), *FILES, method=zipfile.ZIP_STORED if compression == "stored" else zipfile.ZIP_DEFLATED)
    else:
        body = tarred(FILES, compression)
    assert opened(tmp_path, body) == dict(FILES)


def test_a_zip_tells_what_it_needs_and_others_need_their_own_size_at_least(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(zipped(*FILES))
    assert unpacked_size(path) == 3001
    path.write_bytes(tarred(FILES, "gz"))
    assert unpacked_size(path) == path.stat().st_size


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:/x", "c:\\x", "..\\x", "\\x", "a/.downloads/x"])
@pytest.mark.parametrize("pack", [zipped, lambda member: tarred([member])], ids=["zip", "tar"])
def test_no_member_leaves_the_folder(tmp_path: Path, name: str, pack: Any) -> None:
    with pytest.raises(UserError, match=r"is not safe to unpack: .* would lie outside the folder"):
        opened(tmp_path, pack((name, b"x")))
    assert not [path for path in tmp_path.rglob("x")]


def test_harmless_names_are_kept_and_backslashes_separate() -> None:
    names = {"./a//b.tif": "a/b.tif", "a\\b.tif": "a/b.tif", "a..b/..c": "a..b/..c", "./": "."}
    assert {name: str(safe_name(name)) for name in names} == names


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_no_links_or_devices_from_a_zip(tmp_path: Path, kind: int) -> None:
    with pytest.raises(UserError, match='"good" is a link or a device'):
        opened(tmp_path, zipped(("good", b"/etc/passwd"), mode=kind | 0o777))


@pytest.mark.parametrize(
    "kind, said",
    [(tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.CHRTYPE, "a device"), (tarfile.FIFOTYPE, "a device")],
)
def test_no_links_or_devices_from_a_tar(tmp_path: Path, kind: bytes, said: str) -> None:
    with pytest.raises(UserError, match=f'is not safe to unpack: "bad" is {said}'):
        opened(tmp_path, tarred([("bad", b"")], "gz", kind, "/etc/passwd"))
    assert not list(tmp_path.rglob("bad"))


@pytest.mark.parametrize("pack", [lambda m: zipped(*m), tarred], ids=["zip", "tar"])
@pytest.mark.parametrize("names", [("a/x", "a/x"), ("a/x", "./a//x"), ("a", "a/x"), ("a/x", "a")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path, pack: Any, names: tuple[str, str]) -> None:
    with pytest.raises(UserError, match=r'two of its members are called "(x|a)"'):
        opened(tmp_path, pack([(name, b"1") for name in names]))


@pytest.mark.parametrize("compression", ["zip", "gz", "xz", "bz2"])
def test_bombs_are_refused(tmp_path: Path, compression: str) -> None:
    members = [(f"{index}", bytes(400_000)) for index in range(2)]
    body = zipped(*members) if compression == "zip" else tarred(members, compression)
    assert 20 * len(body) < 800_000
    with pytest.raises(UserError, match="it unpacks to far more than its own size"):
        opened(tmp_path, body)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) <= 100_000


def test_a_tar_of_holes_is_a_bomb_too(tmp_path: Path) -> None:
    info = tarfile.TarInfo("hole")
    info.size = 512
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10**9)}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"1\n1000000000\n0\n".ljust(512, b"\0")))
    with pytest.raises(UserError, match="it unpacks to far more than its own size"):
        opened(tmp_path, stream.getvalue())


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 2 << 20
    body = gzip.compress(info.tobuf() + bytes(2 << 20) + bytes(1024))
    with pytest.raises(UserError, match="it has a header of 2097152 bytes"):
        opened(tmp_path, body, Bounds(floor=10 << 20))


def test_many_members_are_a_bomb_too(tmp_path: Path) -> None:
    members = [(f"{index}", b"") for index in range(51)]
    fitting = tmp_path / "fitting"
    fitting.mkdir()
    assert len(opened(fitting, zipped(*members[:50]))) == 50
    with pytest.raises(UserError, match="it has more than 50 members"):
        opened(tmp_path, zipped(*members))


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    body = bytearray(zipped(("a", b"x" * 40), ("b", b"x" * 40), method=zipfile.ZIP_STORED))
    second = body.rfind(b"PK\x01\x02")
    body[second + 42 : second + 46] = bytes(4)  # the second member's offset becomes the first one's
    with pytest.raises(UserError, match="its members overlap"):
        opened(tmp_path, bytes(body))


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    body = bytearray(zipped(("a", b"x")))
    body[body.rfind(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UserError, match='"a" is encrypted'):
        opened(tmp_path, bytes(body))


@pytest.mark.parametrize("body", [b"", b"text", b"PK\x03\x04 no zip", gzip.compress(b"no tar", mtime=0), zipped(), tarred([])])
def test_what_is_no_archive_or_holds_nothing_is_named(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(UserError, match=r"archive: (cannot be unpacked|is not safe to unpack: it holds no file)"):
        opened(tmp_path, body)


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
@pytest.mark.parametrize("lost", [0.1, 0.5, 0.9])
def test_a_tar_that_ends_early_is_not_taken_for_whole(tmp_path: Path, compression: str, lost: float) -> None:
    body = tarred([(f"{index}", bytes([index]) * 512) for index in range(40)], compression)
    end = int(len(body) * (1 - lost))
    end -= end % 512 if not compression else 0
    if not compression and lost == 0.1:
        end = 40 * 1024  # behind the last member: only the end is missing
    with pytest.raises(UserError, match="cannot be unpacked"):
        opened(tmp_path, body[:end])


def test_a_wrong_byte_is_noticed(tmp_path: Path) -> None:
    body = bytearray(zipped(("a", b"x" * 40), method=zipfile.ZIP_STORED))
    body[40] ^= 1
    with pytest.raises(UserError, match="cannot be unpacked: Bad CRC-32"):
        opened(tmp_path, bytes(body))


def test_a_disk_that_fills_up_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.open

    def full(path: Path, *how: Any, **more: Any) -> Any:
        if how == ("xb",) and path.name == "c.txt":
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, *how, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match="the disk is full"):
        opened(tmp_path, zipped(*FILES))
