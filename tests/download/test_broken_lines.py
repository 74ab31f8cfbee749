"""Fetching: going on where a line dropped, mirrors, checksums, pages in place of files."""

from __future__ import annotations

import errno
import hashlib
import random
import socket
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from served import FtpServer, Server, ftp_server

from georelay import files
from georelay.download import part, web
from georelay.download.wanted import Download
from georelay.errors import UserError

BODY = random.Random(0).randbytes(1_500_000)
SHA256, MD5 = hashlib.sha256(BODY).hexdigest(), hashlib.md5(BODY).hexdigest()
OTHER = random.Random(1).randbytes(1_500_000)


def left(folder: Path) -> list[str]:
    """What lies beside the archives."""
    return sorted(path.name for path in (folder / ".downloads").iterdir())


def kept(folder: Path) -> bytes:
    return (folder / ".downloads/a.bin").read_bytes()


def test_a_file_arrives_whole_and_the_second_time_nothing_is_asked(server: Server, fetch: Any, folder: Path) -> None:
    url = server.put("a.bin", BODY)
    download = Download("a.bin", (url,), len(BODY), MD5.upper(), SHA256)
    facts = fetch(download)
    assert facts == [{"name": "a.bin", "url": url, "size": len(BODY), "sha256": SHA256, "md5": MD5}]
    assert kept(folder) == BODY and left(folder) == ["a.bin", "downloads.json"]
    asked = list(server.asked)
    assert asked == [("GET", "/a.bin", "")]
    before = (folder / ".downloads/downloads.json").stat().st_mtime_ns
    assert fetch(download) == facts and server.asked == asked
    assert (folder / ".downloads/downloads.json").stat().st_mtime_ns == before


def test_a_file_that_is_known_is_not_read_again(
    server: Server, fetch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = Download("a.bin", (server.put("a.bin", BODY),))
    facts = fetch(download)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("georelay.download.record.digests_of", refuse)
    assert fetch(download) == facts
    (folder / ".downloads/a.bin").touch()
    with pytest.raises(AssertionError, match="read again"):
        fetch(download)


def test_a_dropped_line_is_taken_up_where_it_broke(server: Server, fetch: Any, folder: Path) -> None:
    fetch(Download("a.bin", (server.put("a.bin", BODY, drops=[600_000, 300_000]),), sha256=SHA256))
    assert kept(folder) == BODY and server.sent == len(BODY)
    assert server.gets() == ["", "bytes=600000-", "bytes=900000-"]


def test_another_run_takes_up_what_one_has_left(server: Server, fetch: Any, folder: Path) -> None:
    download = Download("a.bin", (server.put("a.bin", BODY, drops=[600_000, 0, 0, 0]),), md5=MD5)
    with pytest.raises(UserError, match=r"broke off at 600000 of 1500000 bytes \(3 times\)"):
        fetch(download)
    assert left(folder) == ["a.bin.part", "a.bin.part.json"]
    fetch(download)
    assert kept(folder) == BODY and server.sent == len(BODY) and server.gets()[-1] == "bytes=600000-"


def test_a_file_that_lacked_only_its_name_is_not_fetched_again(
    server: Server, fetch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = Download("a.bin", (server.put("a.bin", BODY),), size=len(BODY))
    with monkeypatch.context() as patch:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(part, "complaint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(download)
    asked = len(server.asked)
    fetch(download)
    assert kept(folder) == BODY and len(server.asked) == asked


@pytest.mark.parametrize("how", [{"ranges": False}, {"tag": ""}, {"tag": 'W/"1"'}])
def test_without_ranges_or_a_sure_name_a_file_is_fetched_anew(
    server: Server, fetch: Any, folder: Path, how: dict[str, Any]
) -> None:
    fetch(Download("a.bin", (server.put("a.bin", BODY, drops=[600_000], **how),)))
    assert kept(folder) == BODY and server.sent == len(BODY) + 600_000


def test_the_time_of_the_last_change_serves_as_a_name_too(server: Server, fetch: Any, folder: Path) -> None:
    modified = "Mon, 01 Jan 2024 00:00:00 GMT"
    fetch(Download("a.bin", (server.put("a.bin", BODY, drops=[600_000], tag="", modified=modified),)))
    assert kept(folder) == BODY and server.sent == len(BODY)


@pytest.mark.parametrize("honours", [True, False])
@pytest.mark.parametrize("size", [1_500_000, 1_000_000, 500_000])
def test_a_file_that_changed_on_the_server_is_fetched_anew(
    server: Server, fetch: Any, folder: Path, honours: bool, size: int
) -> None:
    download = Download("a.bin", (server.put("a.bin", BODY, drops=[600_000, 0, 0, 0]),))
    with pytest.raises(UserError, match="broke off"):
        fetch(download)
    server.put("a.bin", OTHER[:size], tag='"2"', honours_if_range=honours)
    fetch(download)
    assert kept(folder) == OTHER[:size], "no byte of the old one, though a server may not look at If-Range, or answer 416"


def test_a_file_without_a_length_ends_where_it_ends(server: Server, fetch: Any, folder: Path) -> None:
    assert fetch(Download("a.bin", (server.put("a.bin", BODY, tells_length=False),)))[0]["size"] == len(BODY)


def test_a_server_that_asks_for_patience_gets_it_and_no_more_than_that(server: Server, fetch: Any, folder: Path) -> None:
    url = server.put("a.bin", BODY, codes=[503, 429])
    fetch(Download("a.bin", (url,)))
    assert kept(folder) == BODY and len(server.gets()) == 3
    server.put("b.bin", BODY, codes=[500] * 9)
    with pytest.raises(UserError, match=r"answers 500 .*\(3 times\)"):
        fetch(Download("b.bin", (server.url("b.bin"),)))
    assert len(server.gets()) == 6


@pytest.mark.parametrize("size", [None, 1_500_000])
def test_a_wrong_checksum_leaves_nothing_to_trust(server: Server, fetch: Any, folder: Path, size: int | None) -> None:
    url = server.put("a.bin", OTHER)
    found = hashlib.md5(OTHER).hexdigest()
    with pytest.raises(UserError, match=f"its md5 is {found}, it must be {MD5}") as caught:
        fetch(Download("a.bin", (url,), size, md5=MD5))
    assert url in str(caught.value) and "put the right file there" in caught.value.hint
    assert left(folder) == []
    server.put("a.bin", BODY)
    fetch(Download("a.bin", (url,), size, md5=MD5))
    assert kept(folder) == BODY


def test_a_file_of_another_size_is_not_even_fetched(server: Server, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part.Part, "write", None)
    with pytest.raises(UserError, match="its size is 1500000, it must be 7"):
        fetch(Download("a.bin", (server.put("a.bin", BODY),), size=7))


def test_mirrors_are_tried_in_order(server: Server, fetch: Any, folder: Path) -> None:
    wrong, page = server.put("wrong", OTHER), server.put("page", b"<html>", kind="text/html; charset=utf-8")
    bare = server.put("bare", b"\xef\xbb\xbf\n <!DOCTYPE HTML><title>Quota exceeded")
    good = server.put("good", BODY)
    server.redirects["/moved"] = good
    names = ("http://no.such.host.invalid/a", server.url("gone"), "gopher://x/a", wrong, page, bare, server.url("moved"))
    assert fetch(Download("a.bin", names, sha256=SHA256))[0]["url"] == server.url("moved")
    assert kept(folder) == BODY


def test_when_all_mirrors_fail_each_is_named_with_what_it_said(server: Server, fetch: Any, folder: Path) -> None:
    closed, page = server.put("closed", BODY, codes=[403]), server.put("page", b"<html>", kind="text/html")
    bare = server.put("bare", b"<!doctype html>")
    urls = ("http://user:secret@no.such.host.invalid/a", server.url("gone"), closed, page, bare)
    with pytest.raises(UserError) as caught:
        fetch(Download("a.zip", urls, manual="Ask at example.org."))
    text = str(caught.value)
    nameless = f"http://no.such.host.invalid/a: [Errno {socket.EAI_NONAME}] Name or service not known"
    assert text.startswith(f"{folder}/.downloads/a.zip: could not be fetched\n  {nameless}\n")
    assert "secret" not in text
    assert f"{server.url('gone')}: answers 404 Not Found\n" in text
    assert f"{closed}: answers 403 Forbidden: it may ask for a log-in\n" in text
    assert text.count("it is an HTML page") == 2 and "log-in, or says that a quota" in text
    assert "by any other way. Ask at example.org." in text
    assert left(folder) == []


def test_other_files_still_arrive_when_one_does_not(server: Server, fetch: Any, folder: Path) -> None:
    good = [Download(f"{name}.bin", (server.put(name, BODY),)) for name in "ab"]
    bad = [Download(f"{name}.bin", (server.url(name),)) for name in "xy"]
    with pytest.raises(UserError, match=r"2 files could not be fetched:\n.*x\.bin: could not[^$]*y\.bin: could not"):
        fetch(bad[0], *good, bad[1])
    assert left(folder) == ["a.bin", "b.bin", "downloads.json"]


def test_several_at_a_time_end_like_one_by_one(server: Server, fetch: Any, folder: Path) -> None:
    bodies = {f"{index}.bin": random.Random(index).randbytes(300_000) for index in range(6)}
    downloads = [Download(name, (server.put(name, body, drops=[100_000]),)) for name, body in bodies.items()]
    facts = fetch(*downloads, workers=4)
    assert [fact["name"] for fact in facts] == list(bodies)
    assert {name: (folder / ".downloads" / name).read_bytes() for name in bodies} == bodies
    assert server.sent == 6 * 300_000


def test_two_files_of_one_name_are_refused(server: Server, fetch: Any) -> None:
    with pytest.raises(UserError, match=r"two files are called a\.bin"):
        fetch(Download("a.bin", ("x",)), Download("a.bin", ("y",)))


@pytest.mark.parametrize("wrong", [{"name": "../a"}, {"name": ""}, {"unpack": "/etc"}, {"unpack": "a/../.."}])
def test_a_download_stays_in_its_folder(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="is no "):
        Download(**({"name": "a", "urls": ()} | wrong))


def test_too_little_space_is_said_before_anything_is_fetched(server: Server, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(10**10, 10**10, 1_600_000))
    first, second = Download("a.bin", (server.put("a", BODY),)), Download("b.bin", (server.put("b", BODY),))
    with pytest.raises(UserError, match=r"loveda needs about 0\.0 GB, the disk has"):
        fetch(first, second)
    assert server.gets() == []
    fetch(first)


def test_a_disk_that_fills_up_keeps_what_has_come(
    server: Server, fetch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = Download("a.bin", (server.put("a.bin", BODY),), md5=MD5)
    plain = Path.open

    def full(path: Path, *how: Any, **more: Any) -> Any:
        if how == ("ab",) and path.exists() and path.stat().st_size > 700_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(UserError, match=r"a\.bin\.part: the disk is full") as caught:
            fetch(download)
    assert "goes on where it stopped" in caught.value.hint
    there = (folder / ".downloads/a.bin.part").stat().st_size
    assert there == 3 * web.BLOCK
    fetch(download)
    assert kept(folder) == BODY and server.gets() == ["", f"bytes={there}-"]


def test_a_full_disk_is_one_message(server: Server, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: part.Part, block: bytes) -> None:
        with part.room_on_disk(self.path):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(part.Part, "write", full)
    with pytest.raises(UserError) as caught:
        fetch(*(Download(name, (server.put(name, BODY),)) for name in "abc"))
    assert str(caught.value).count("the disk is full") == 1


def test_ftp_goes_on_too(fetch: Any, folder: Path) -> None:
    with ftp_server(FtpServer("/m1/a b.bin", BODY)) as server:
        server.drops = [600_000]
        facts = fetch(Download("a.bin", (f"ftp://m1:m1234@{server.address}/m1/a%20b.bin",), md5=MD5))
        assert facts[0]["url"] == f"ftp://{server.address}/m1/a%20b.bin", "no log-in in records"
        assert kept(folder) == BODY and "REST 600000" in server.commands
        assert [line for line in server.commands if line.startswith("USER")] == ["USER m1"] * 3, "the size, twice the file"


def test_a_file_that_changed_behind_ftp_is_fetched_anew(fetch: Any, folder: Path) -> None:
    with ftp_server(FtpServer("/a.bin", BODY)) as server:
        url = f"ftp://m1:m1234@{server.address}/a.bin"
        server.drops = [600_000, 0, 0, 0]
        with pytest.raises(UserError, match="426 broke off"):
            fetch(Download("a.bin", (url,)))
        server.body, server.changed = OTHER, "20210101000000"
        fetch(Download("a.bin", (url,)))
        assert kept(folder) == OTHER


@pytest.mark.parametrize("path, login, said", [("b.bin", "m1:m1234", "550 no such file"), ("a.bin", "m1:m1", "530 no")])
def test_what_ftp_refuses_is_told(fetch: Any, path: str, login: str, said: str) -> None:
    with ftp_server(FtpServer("/a.bin", BODY)) as server, pytest.raises(UserError, match=said) as caught:
        fetch(Download("a.bin", (f"ftp://{login}@{server.address}/{path}",)))
    assert login not in str(caught.value)
