"""The stage runner: one at a time, logged, restored from the cache, clean when it fails or is interrupted."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from georelay.errors import UserError
from georelay.progress import say
from georelay.stage import Stage, run_stage


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GEORELAY_CACHE", raising=False)
    return tmp_path


def writing(text: str, calls: list[str]) -> Stage:
    def compute() -> None:
        calls.append(text)
        say(f"writing {text}")
        Path("out.txt").write_text(text)

    return Stage("write", "thing 0", compute, [Path("out.txt")], fingerprint=(text * 64)[:64], place="thing/seed0")


def test_the_second_time_is_restored_and_the_log_says_so() -> None:
    calls: list[str] = []
    for text in "aba":
        run_stage(writing(text, calls))
        assert Path("out.txt").read_text() == text
    assert calls == ["a", "b"]
    assert "restored from the cache" in Path("results/logs/write/thing/seed0.log").read_text()


def test_another_list_of_outputs_is_another_result() -> None:
    """An entry of an older version, with its files in another order, must not land in the wrong places."""
    calls: list[str] = []

    def stage(*names: str) -> Stage:
        def compute() -> None:
            calls.append("computed")
            for name in names:
                Path(name).write_text(name)

        return Stage("write", "thing", compute, [Path(name) for name in names], fingerprint="d" * 64)

    run_stage(stage("a.txt", "b.txt"))
    run_stage(stage("b.txt", "a.txt"))
    assert calls == ["computed", "computed"]
    assert (Path("a.txt").read_text(), Path("b.txt").read_text()) == ("a.txt", "b.txt")


def with_ahead(calls: list[str], fail: bool = False) -> Stage:
    """A stage that makes the result of the next one in another place."""

    def compute() -> None:
        calls.append("next")
        Path("beside").mkdir()
        Path("beside/map.txt").write_text(Path("out.txt").read_text())
        if fail:
            raise UserError("no good", "beside")

    return replace(writing("a", calls), ahead=[lambda: Stage("next", "thing 0", compute, [Path("beside")], fingerprint="n" * 64)])


def test_a_later_stage_restores_what_was_made_ahead() -> None:
    calls: list[str] = []
    run_stage(with_ahead(calls))
    assert calls == ["a", "next"] and not Path("beside").exists()
    run_stage(with_ahead(calls))
    run_stage(Stage("next", "thing 0", lambda: calls.append("computed"), [Path("own")], fingerprint="n" * 64))
    assert calls == ["a", "next"] and Path("own/map.txt").read_text() == "a"


def test_what_fails_ahead_loses_nothing_that_was_done() -> None:
    calls: list[str] = []
    with pytest.raises(UserError, match="no good"):
        run_stage(with_ahead(calls, fail=True))
    assert not Path("beside").exists()
    run_stage(with_ahead(calls))
    assert calls == ["a", "next"] and "restored from the cache" in Path("results/logs/write/thing/seed0.log").read_text()


def test_what_failed_is_not_kept_and_its_error_is_in_the_log() -> None:
    def compute() -> None:
        Path("out.txt").write_text("half")
        raise UserError("no good", "somewhere")

    stage = Stage("write", "thing", compute, [Path("out.txt")], fingerprint="c" * 64)
    for _ in range(2):
        with pytest.raises(UserError):
            run_stage(stage)
    assert "UserError: somewhere: no good" in Path("results/logs/write/thing.log").read_text()


def test_a_second_process_is_told_to_wait() -> None:
    def compute() -> None:
        with pytest.raises(UserError, match="already running in this folder"):
            run_stage(Stage("write", "thing 0", lambda: None))

    run_stage(Stage("write", "thing 0", compute))


def test_sigterm_ends_a_stage_like_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run_stage(Stage("write", "thing", lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert signal.getsignal(signal.SIGTERM) is before
