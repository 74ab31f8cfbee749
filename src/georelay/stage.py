"""One way to run any stage: a log of its own, a lock, the cache before the work, and a clean end when interrupted."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from georelay.errors import UserError
from georelay.files import digest, remove
from georelay.progress import say

if TYPE_CHECKING:
    from georelay.cache import Cache


@dataclass(frozen=True)
class Stage:
    """A unit of work: what to call it, what it leaves, what it depends on, and how it is done."""

    name: str
    subject: str
    compute: Callable[[], None]
    outputs: list[Path] = field(default_factory=list)
    fingerprint: str | None = None  # None: too cheap to be worth keeping
    place: str = ""  # the subject as a path, where it is more than one word
    ahead: Sequence[Callable[[], Stage]] = ()  # other stages whose results are kept while what all need is in memory

    @property
    def label(self) -> str:
        """The stage as a person would name it."""
        return f"{self.name} {self.subject}".strip()

    @property
    def key(self) -> str | None:
        """The cache's name for the result. Kept files are known by their output's number, so the list is part of it."""
        if self.fingerprint is None:
            return None
        # A folder is named after its row or source, which its content does not depend on.
        return digest([self.fingerprint, [output.name if output.suffix else "" for output in self.outputs]])

    def doing(self, compute: Callable[[], None]) -> Stage:
        """The same stage with this for its work."""
        return replace(self, compute=compute)

    @property
    def log(self) -> Path:
        """Where its log lies; the engines' `log:` names the same file."""
        return Path("results/logs") / self.name / f"{self.place or self.subject or 'all'}.log"

    def clear(self) -> None:
        """Remove what it leaves."""
        for output in self.outputs:
            remove(output)


def run_stage(stage: Stage) -> None:
    """Do the work of a stage, or restore it from the cache."""
    if int(os.environ.get("RANK", "0")) > 0:
        _assist(stage)
        return
    with _locked(stage), _logged(stage.log), _interruptible():
        if stage.key is None:
            stage.compute()
        else:
            _restore_or_compute(stage, stage.key)


def _restore_or_compute(stage: Stage, key: str) -> None:
    from georelay.cache import Cache

    cache = Cache.here()
    stage.clear()  # nothing stale may stay beside what is restored or made
    if entry := cache.restore(key, stage.outputs):
        say(f"{stage.label}: restored from the cache ({entry.seconds:.0f} s saved)")
        return
    _compute_and_keep(stage, key, cache)
    for other in stage.ahead:
        _keep_ahead(other(), cache)


def _compute_and_keep(stage: Stage, key: str, cache: Cache) -> None:
    started = time.monotonic()
    stage.compute()
    seconds = time.monotonic() - started
    cache.save(key, stage.label, stage.outputs, seconds)
    say(f"{stage.label}: done in {seconds:.1f} s")


def _keep_ahead(stage: Stage, cache: Cache) -> None:
    """Leave the result of another stage in the cache, and only there: that stage itself then has to restore it."""
    if stage.key is None or cache.holds(stage.key):
        return
    stage.clear()
    try:
        _compute_and_keep(stage, stage.key, cache)
        for other in stage.ahead:
            _keep_ahead(other(), cache)
    finally:
        stage.clear()


def _assist(stage: Stage) -> None:
    """What a torchrun process beside the first does: its share of the work, when there is work."""
    from georelay.cache import Cache

    with _interruptible():
        if stage.key is None or not Cache.here().holds(stage.key):
            stage.compute()


@contextmanager
def _locked(stage: Stage) -> Iterator[None]:
    """Only one process may run a stage of a checkout; the lock dies with its process."""
    path = Path("results/.locks") / f"{stage.label.replace(' ', '-')}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = f"`georelay {stage.label}` is already running in this folder"
            raise UserError(what, Path.cwd(), "wait for it, or stop it") from None
        yield


class _Tee:
    """Writes to the terminal and to the log; says of itself what the terminal says."""

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self.terminal, self.log = terminal, log

    def write(self, text: str) -> int:
        self.log.write(text)
        return self.terminal.write(text)

    def flush(self) -> None:
        self.log.flush()
        self.terminal.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.terminal, name)


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    stdout, stderr = sys.stdout, sys.stderr
    with open(path, "w", encoding="utf-8") as log:
        sys.stdout, sys.stderr = _Tee(stdout, log), _Tee(stderr, log)  # type: ignore[assignment]
        try:
            yield
        except (UserError, KeyboardInterrupt) as error:
            log.write(f"{type(error).__name__}: {error}\n")
            raise
        except BaseException:
            log.write(traceback.format_exc())
            raise
        finally:
            sys.stdout, sys.stderr = stdout, stderr


@contextmanager
def _interruptible() -> Iterator[None]:
    """A cluster's SIGTERM ends a stage as Ctrl-C does: temporary files go, resume state stays."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
