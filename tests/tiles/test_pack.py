"""The archive is an ordinary zip, aligned, at a constant stride, and its bytes depend on its content alone."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from georelay.tiles.pack import AlignedZip, Run, directory_comment

COUNT, SIZE = 120, 100  # names of 1, 2 and 3 digits


def chunk(index: int) -> bytes:
    return bytes([index]) * SIZE


def build(path: Path, order: list[int]) -> Path:
    archive = AlignedZip(path)
    archive.add("zarr.json", b"{}")
    run = archive.reserve([f"a/c/{i}/0" for i in range(COUNT)], SIZE)
    archive.add("b/c/0", b"tail")
    for index in order:
        run.write(index, [chunk(index)])
    archive.finish()
    return path


def data_at(path: Path, entry: zipfile.ZipInfo) -> int:
    with open(path, "rb") as stream:
        stream.seek(entry.header_offset + 26)
        name, extra = struct.unpack("<2H", stream.read(4))
    return entry.header_offset + 30 + name + extra


def test_any_reader_finds_every_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(build(tmp_path / "a.zip", list(range(COUNT)))) as archive:
        assert archive.testzip() is None
        assert archive.read("zarr.json") == b"{}" and archive.read("b/c/0") == b"tail"
        assert [archive.read(f"a/c/{i}/0") for i in range(COUNT)] == [chunk(i) for i in range(COUNT)]


def test_members_of_a_run_are_aligned_and_equally_spaced(tmp_path: Path) -> None:
    path = build(tmp_path / "a.zip", list(range(COUNT)))
    with zipfile.ZipFile(path) as archive:
        places = np.array([data_at(path, archive.getinfo(f"a/c/{i}/0")) for i in range(COUNT)])
        assert all(data_at(path, entry) % 64 == 0 for entry in archive.infolist())
    assert len(set(np.diff(places))) == 1


def test_no_byte_lies_between_members(tmp_path: Path) -> None:
    path = build(tmp_path / "a.zip", list(range(COUNT)))
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        ends = [data_at(path, entry) + entry.file_size for entry in entries]
        assert ends == [entry.header_offset for entry in entries[1:]] + [archive.start_dir]


def test_order_of_writing_leaves_no_trace(tmp_path: Path) -> None:
    forward = build(tmp_path / "a.zip", list(range(COUNT)))
    backward = build(tmp_path / "b.zip", list(reversed(range(COUNT))))
    assert forward.read_bytes() == backward.read_bytes()


def test_comment_is_the_digest_of_the_directory(tmp_path: Path) -> None:
    path = build(tmp_path / "a.zip", list(range(COUNT)))
    with zipfile.ZipFile(path) as archive:
        start, comment = archive.start_dir, archive.comment
    tail = path.read_bytes()[start : -len(comment)]
    assert comment == directory_comment(tail) != directory_comment(tail[:-1] + b"\xff")


def test_a_chunk_of_another_size_is_refused(tmp_path: Path) -> None:
    run = AlignedZip(tmp_path / "a.zip").reserve(["a", "b"], SIZE)
    with pytest.raises(ValueError, match="b has 3 bytes"):
        run.write(1, [b"abc"])


def picked_up(path: Path) -> tuple[AlignedZip, Run]:
    archive = AlignedZip(path, fresh=False)
    archive.add("zarr.json", b"{}")
    run = archive.reserve([f"a/c/{i}/0" for i in range(COUNT)], SIZE)
    archive.add("b/c/0", b"tail")
    return archive, run


@pytest.mark.parametrize("kept", [0, 1, 57, COUNT])
def test_an_unfinished_archive_is_picked_up(tmp_path: Path, kept: int) -> None:
    whole = build(tmp_path / "a.zip", list(range(COUNT)))
    unfinished = AlignedZip(tmp_path / "b.zip")
    unfinished.add("zarr.json", b"{}")
    unfinished.reserve([f"a/c/{i}/0" for i in range(COUNT)], SIZE).write(0, [chunk(i) for i in range(kept)])
    archive, run = picked_up(unfinished.path)
    assert run.recover(COUNT) == kept
    run.write(kept, [chunk(i) for i in range(kept, COUNT)])
    archive.finish()
    assert archive.path.read_bytes() == whole.read_bytes()


def test_only_whole_members_are_taken_over(tmp_path: Path) -> None:
    path = build(tmp_path / "a.zip", list(range(COUNT)))
    content = path.read_bytes()
    _, run = picked_up(path)
    places = {"data": run.data + 7 * run.stride + 5, "name": run.header_at(7) + 31, "checksum": run.header_at(7) + 14}
    for place in places.values():
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert run.recover(COUNT) == 7 and run.recover(5) == 5
    path.write_bytes(content[: run.data + 7 * run.stride + SIZE - 1])
    assert run.recover(COUNT) == 7


def test_nothing_is_left_behind_the_directory(tmp_path: Path) -> None:
    whole = build(tmp_path / "a.zip", list(range(COUNT))).read_bytes()
    path = tmp_path / "b.zip"
    path.write_bytes(whole + b"of a longer file")
    archive, run = picked_up(path)
    run.write(0, [chunk(i) for i in range(COUNT)])
    archive.finish()
    assert path.read_bytes() == whole


def test_more_than_65535_members(tmp_path: Path) -> None:
    archive = AlignedZip(tmp_path / "many.zip")
    run = archive.reserve([str(i) for i in range(70_000)], 4)
    run.write(69_998, [b"left", b"last"])
    archive.finish()
    with zipfile.ZipFile(archive.path) as reader:
        assert len(reader.infolist()) == 70_000 and reader.read("69999") == b"last"


def test_more_than_four_gigabytes(tmp_path: Path) -> None:
    archive = AlignedZip(tmp_path / "big.zip")
    run = archive.reserve(["a", "b", "c"], 3 << 30)  # never written: a hole in the file
    archive.add("end", b"beyond")
    archive.finish()
    with zipfile.ZipFile(archive.path) as reader:
        assert reader.getinfo("c").header_offset == run.header_at(2) > 1 << 32
        assert reader.read("end") == b"beyond"
