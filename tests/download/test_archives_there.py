"""What is there already: trusted, refused, or asked for; and archives that are unpacked once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from packed import tarred, zipped
from served import Server

from georelay.download import archive, place
from georelay.download.wanted import Download
from georelay.errors import UserError

TRAIN = zipped(("Train/a.png", b"aa"), ("Train/deep/b.png", b"bbb"), ("readme", b"r"))
VAL = tarred([("./Train/c.png", b"c"), ("./Val/d.png", b"dddd"), ("./readme", b"r")], "gz")


def held(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset's folder but for its archives."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".downloads" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def known(folder: Path) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads((folder / ".downloads/downloads.json").read_text())
    return entries


@pytest.fixture
def both(server: Server) -> list[Download]:
    return [Download(f"{name}.x", (server.put(name, body),), unpack="") for name, body in (("train", TRAIN), ("val", VAL))]


def test_two_archives_fill_one_folder_and_then_nothing_is_to_do(
    server: Server, fetch: Any, folder: Path, both: list[Download], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    facts = fetch(*both, say=lines.append)
    files = {"Train/a.png": b"aa", "Train/deep/b.png": b"bbb", "Train/c.png": b"c", "Val/d.png": b"dddd", "readme": b"r"}
    assert held(folder) == files and [fact["members"] for fact in facts] == [3, 3]
    assert lines == ["loveda: fetch train.x, val.x", "loveda: train.x unpacked, 3 files", "loveda: val.x unpacked, 3 files"]
    assert sorted(path.name for path in (folder / ".downloads").iterdir()) == ["downloads.json", "train.x", "val.x"]
    asked = len(server.asked)
    monkeypatch.setattr(place, "unpack", None)
    assert fetch(*both, say=lines.append) == facts and len(lines) == 3 and len(server.asked) == asked


def test_archives_may_go_when_they_are_unpacked(server: Server, fetch: Any, folder: Path, both: list[Download]) -> None:
    facts = fetch(*both, keep_archives=False)
    assert [path.name for path in (folder / ".downloads").iterdir()] == ["downloads.json"]
    asked = len(server.asked)
    assert fetch(*both, keep_archives=False) == facts and len(server.asked) == asked
    (folder / "Val/d.png").unlink()
    (folder / "Val").rmdir()
    assert fetch(*both, keep_archives=False) == facts and held(folder)["Val/d.png"] == b"dddd", "fetched and unpacked anew"
    assert [path for _, path, _ in server.asked[asked:]] == ["/val"], "of a known size"


def test_what_is_fetched_anew_must_be_what_it_was_the_first_time(
    server: Server, fetch: Any, folder: Path, both: list[Download]
) -> None:
    fetch(*both)
    (folder / ".downloads/train.x").unlink()
    place.remove(folder / "Train")
    changed = zipped(("Train/a.png", b"ab"), ("Train/deep/b.png", b"bbb"), ("readme", b"r"))
    server.put("train", changed)
    first, then = (hashlib.sha256(body).hexdigest() for body in (TRAIN, changed))
    with pytest.raises(UserError, match=f"its sha256 is {then}, it must be {first}") as caught:
        fetch(*both)
    assert "to trust another, delete its entry in" in caught.value.hint and "Train/a.png" not in held(folder)
    server.put("train", TRAIN)
    fetch(*both)
    assert held(folder)["Train/a.png"] == b"aa"


def test_an_archive_that_changed_on_the_disk_is_refused(fetch: Any, folder: Path, both: list[Download]) -> None:
    fetch(*both)
    (folder / ".downloads/val.x").write_bytes(TRAIN)
    with pytest.raises(UserError, match=r"val\.x: is not the file that is meant: its size is \d+, it must be \d+; its sha256"):
        fetch(*both)


def test_another_release_is_not_what_is_there(server: Server, fetch: Any, folder: Path, both: list[Download]) -> None:
    fetch(*both)
    changed = zipped(("Train/a.png", b"new"))
    new = Download("train.x", (server.put("train", changed),), sha256=hashlib.sha256(changed).hexdigest(), unpack="")
    with pytest.raises(UserError, match=r"train\.x: is not the file that is meant.*\n.*move .*train\.x away"):
        fetch(new)
    (folder / ".downloads/train.x").unlink()
    with pytest.raises(UserError, match=r"Train/a\.png: would be replaced by other bytes\n.*train\.x holds another"):
        fetch(new)
    assert held(folder)["Train/a.png"] == b"aa"
    (folder / "Train/a.png").unlink()
    fetch(new)
    assert held(folder)["Train/a.png"] == b"new"


def test_another_release_put_in_place_by_hand_is_unpacked(fetch: Any, folder: Path, both: list[Download]) -> None:
    fetch(*both)
    changed = zipped(("Later/a.png", b"new"))
    (folder / ".downloads/train.x").write_bytes(changed)
    facts = fetch(Download("train.x", both[0].urls, sha256=hashlib.sha256(changed).hexdigest(), unpack=""))
    assert held(folder)["Later/a.png"] == b"new" and facts[0]["url"] is None and facts[0]["members"] == 1


@pytest.mark.parametrize("bad", [TRAIN[:-30], zipped(("../a", b"a"))])
def test_an_archive_that_is_of_no_use_is_not_trusted(server: Server, fetch: Any, folder: Path, bad: bytes) -> None:
    download = Download("train.x", (server.put("train", bad),), unpack="")
    for _ in range(2):
        with pytest.raises(UserError, match=r"train\.x: (cannot be unpacked|is not safe to unpack): "):
            fetch(download)
    assert held(folder) == {} and known(folder) == {} and not list(folder.rglob("*.unpacking"))
    (folder / ".downloads/train.x").unlink()
    server.put("train", TRAIN)
    assert fetch(download)[0]["members"] == 3


def test_a_file_of_other_bytes_is_named_before_any_is_moved(fetch: Any, folder: Path, both: list[Download]) -> None:
    (folder / "Train/deep").mkdir(parents=True)
    (folder / "Train/deep/b.png").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"Train/deep/b\.png: would be replaced by other bytes"):
        fetch(*both)
    assert held(folder) == {"Train/deep/b.png": b"mine"}
    assert not list(folder.rglob("*.unpacking"))


@pytest.mark.parametrize("moment", ["write", "move"])
def test_interrupted_unpacking_leaves_nothing_half_written(
    fetch: Any, folder: Path, both: list[Download], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    calls = iter(range(100))

    def once(plain: Any) -> Any:
        def run(*arguments: Any) -> Any:
            if next(calls) == 1:
                raise KeyboardInterrupt
            return plain(*arguments)

        return run

    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr(archive, "_write", once(archive._write))
        else:
            patch.setattr(place.shutil, "move", once(place.shutil.move))
        with pytest.raises(KeyboardInterrupt):
            fetch(*both)
    assert set(held(folder).values()) <= {b"aa", b"bbb"} and not list(folder.rglob("*.unpacking"))
    assert "unpacked" not in known(folder)["train.x"]
    fetch(*both)
    assert len(held(folder)) == 5


def test_what_a_killed_process_left_is_cleared_away(fetch: Any, folder: Path, both: list[Download]) -> None:
    (folder / ".downloads/train.x.unpacking/Train").mkdir(parents=True)
    (folder / ".downloads/train.x.unpacking/Train/half.png").write_bytes(b"h")
    fetch(*both)
    assert len(held(folder)) == 5


def test_files_to_be_fetched_by_hand_are_all_named_before_anything_is_fetched(
    server: Server, fetch: Any, folder: Path, both: list[Download]
) -> None:
    by_hand = [Download(f"{name}.zip", (), unpack=name, manual=f"Ask for {name} at isprs.org.") for name in ("p", "v")]
    with pytest.raises(UserError) as caught:
        fetch(both[0], *by_hand)
    text = str(caught.value)
    assert f"{folder}/.downloads/p.zip: Ask for p at isprs.org.\n" in text and "Ask for v at isprs.org." in text
    assert f"or into {folder}, and run the same command again" in text
    assert server.asked == []


@pytest.mark.parametrize("where", [".downloads", "."])
def test_a_file_fetched_by_hand_is_verified_unpacked_and_left(fetch: Any, folder: Path, where: str) -> None:
    download = Download("p.zip", (), md5=hashlib.md5(TRAIN).hexdigest(), unpack="potsdam", manual="Ask at isprs.org.")
    path = folder / where / "p.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(VAL)
    with pytest.raises(UserError, match=f"p.zip: is not the file that is meant: its md5 is .*{download.md5}.*\n.*isprs"):
        fetch(download)
    path.write_bytes(b" <!DOCTYPE html>")
    with pytest.raises(UserError, match=r"p\.zip: is not the file that is meant: it is an HTML page"):
        fetch(download)
    path.write_bytes(TRAIN)
    facts = fetch(download, keep_archives=False)
    assert facts[0]["url"] is None and facts[0]["md5"] == download.md5 and facts[0]["members"] == 3
    assert held(folder)["potsdam/Train/a.png"] == b"aa" and path.is_file()
    path.unlink()
    assert fetch(download) == facts, "unpacked is all that is needed"


def test_a_file_put_there_by_other_ways_is_taken(server: Server, fetch: Any, folder: Path) -> None:
    download = Download("a.zip", (server.url("gone"),), unpack="")
    (folder / ".downloads").mkdir(parents=True)
    (folder / ".downloads/a.zip").write_bytes(TRAIN)
    assert fetch(download)[0]["url"] is None and server.asked == []
    (folder / ".downloads/a.zip").write_bytes(TRAIN[:-1])
    with pytest.raises(UserError, match="its size is"):
        fetch(download)


def test_space_for_the_unpacked_files_is_looked_for(
    fetch: Any, folder: Path, both: list[Download], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, str]] = []
    monkeypatch.setattr(place, "require_space", lambda folder, size, what: asked.append((size, what)))
    fetch(*both)
    assert asked == [(6, "loveda: unpack train.x"), (len(VAL), "loveda: unpack val.x")]
