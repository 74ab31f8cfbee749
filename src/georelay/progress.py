"""Progress for long work: a bar when someone watches, a plain line now and then when no one does."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any

PLAIN_LINE_SECONDS = 10.0  # in an engine's log: often enough to see life, seldom enough to read
BYTES = "bytes"  # the unit of transfers: shown in GB, and with their rate


def say(message: str) -> None:
    """A line for people, beside the data and not in it."""
    print(message, file=sys.stderr, flush=True)


class Progress:
    """Counts towards a total and says how long is left. Threads may share one."""

    def __init__(self, label: str, total: int, unit: str = "") -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.started = 0, time.monotonic()
        self.spoken = self.started
        self.bar: Any = None
        self.lock = threading.Lock()

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._open_bar()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()
        elif kind is None and self.spoken > self.started:
            self._say("done")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count some work as done; `note` stands behind the figures."""
        with self.lock:
            self.done += count
            if self.bar is not None:
                self.bar.update(self.task, completed=self.done, note=note)
            elif time.monotonic() - self.spoken >= PLAIN_LINE_SECONDS:
                self._say(note)

    def expect(self, count: int) -> None:
        """More work has turned up than was known, or less."""
        with self.lock:
            self.total += count
            if self.bar is not None:
                self.bar.update(self.task, total=self.total)

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bar

        plain: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), TextColumn(self.unit))
        figures = (DownloadColumn(), TransferSpeedColumn()) if self.unit == BYTES else plain
        columns = (TextColumn("{task.description}"), BarColumn(), *figures, TimeRemainingColumn())
        # The terminal itself, not sys.stderr: a stage's log keeps no bars.
        self.bar = Bar(*columns, TextColumn("{task.fields[note]}"), console=Console(file=sys.__stderr__))
        self.bar.start()
        self.task = self.bar.add_task(self.label, total=self.total, note="")

    def _say(self, note: str) -> None:
        self.spoken = time.monotonic()
        elapsed = self.spoken - self.started
        left = elapsed / self.done * max(0, self.total - self.done) if self.done else float("nan")
        text = f"{self.label}: {self._figures(elapsed)} {elapsed:.0f} s, about {left:.0f} s left {note}"
        print(" ".join(text.split()), file=sys.stderr, flush=True)

    def _figures(self, elapsed: float) -> str:
        if self.unit != BYTES:
            return f"{self.done}/{self.total} {self.unit}"
        rate = self.done / max(elapsed, 1e-9) / 1e6
        return f"{self.done / 1e9:.2f}/{self.total / 1e9:.2f} GB, {rate:.1f} MB/s,"
