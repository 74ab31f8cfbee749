"""Files: whole or not at all, and refused before the disk is full."""

from __future__ import annotations

import errno
import hashlib
import io
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from georelay import cli, progress
from georelay.errors import UserError, suggestion
from georelay.files import canonical_json, digest, read_json, replacing, require_digest, require_space, sha256_file, write_json
from georelay.progress import Progress


def test_a_file_takes_its_place_only_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "deep/x.zarr.zip"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.endswith(".zarr.zip")
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.zarr.zip"]


def test_json_has_one_form_and_one_digest(tmp_path: Path) -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'
    assert digest({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
    write_json(tmp_path / "x.json", {"b": 1, "a": 2})
    assert (tmp_path / "x.json").read_text() == '{\n "a": 2,\n "b": 1\n}\n'


@pytest.mark.parametrize("text", ["{", "\x00", ""])
def test_broken_and_missing_json_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(UserError, match=r"x\.json: file is missing"):
        read_json(path)
    path.write_text(text)
    with pytest.raises(UserError, match=r"x\.json: not valid JSON"):
        read_json(path)


def test_another_file_than_the_planned_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(UserError, match="run `make it`"):
        require_digest(path, "0", "make it")
    path.write_bytes(b"abc")
    require_digest(path, sha256_file(path), "make it")
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(UserError, match="not the file that the plan was made for"):
        require_digest(path, "0", "make it")


def test_too_little_space_is_said_before_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**10, 9 * 10**9, 10**9))
    require_space(tmp_path / "not/there/yet", 10**9, "tiling x")
    with pytest.raises(UserError, match=r"tiling x needs about 2.0 GB, the disk has 1.0 GB free"):
        require_space(tmp_path / "not/there/yet", 2 * 10**9, "tiling x")


def test_a_disk_that_fills_up_in_the_middle_ends_in_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "results/tiles/x.zarr.zip")

    monkeypatch.setitem(cli.COMMANDS, fill, ())
    assert cli.main(["fill"]) == 2
    assert "results/tiles/x.zarr.zip: the disk is full" in capsys.readouterr().err


def test_other_errors_of_the_system_are_bugs_and_show_their_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setitem(cli.COMMANDS, fail, ())
    with pytest.raises(OSError, match="input/output"):
        cli.main(["fail"])


def test_suggestions_name_the_closest_or_all() -> None:
    assert suggestion("stepz", ["steps", "batch"]) == 'did you mean "steps"?'
    assert suggestion("qqq", ["steps", "batch"]) == "known: batch, steps"


def test_progress_speaks_in_lines_where_no_one_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 4.0, 12.0, 12.0, 13.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("train x", 100, "steps") as bar:
        bar.advance(10)  # 4 s: too soon to say
        bar.advance(20, "loss 0.5")  # 12 s, 30 of 100: 28 s are left
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["train x: 30/100 steps 12 s, about 28 s left loss 0.5", "train x: 30/100 steps 13 s, about 30 s left done"]


def test_progress_of_bytes_speaks_in_gigabytes_and_of_their_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 20.0, 20.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("fetch x", 10**9, "bytes") as bar:
        bar.expect(10**9)  # another file's size is known by now
        bar.advance(5 * 10**8)
        bar.expect(-(10**9))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "fetch x: 0.50/2.00 GB, 25.0 MB/s, 20 s, about 60 s left",
        "fetch x: 0.50/1.00 GB, 16.7 MB/s, 30 s, about 30 s left done",
    ]


@pytest.mark.parametrize("unit, figures", [("blocks", "4/4"), ("bytes", "4/4 bytes")])
def test_progress_draws_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, unit: str, figures: str) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "__stderr__", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("tile x", 3, unit) as bar:
        bar.expect(1)
        bar.advance(4)
    assert "tile x" in screen.getvalue() and figures in screen.getvalue()
