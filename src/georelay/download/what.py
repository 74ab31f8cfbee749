"""What there is to bring to the disk. Light: no network, no numpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """A file to bring to the disk."""

    name: str
    urls: tuple[str, ...] = ()  # address and mirrors, tried in order; empty: a log-in is needed
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    unpack: str | None = None  # folder below the dataset's to unpack into, "" the folder itself; None: kept as a file
    manual: str | None = None  # one sentence where to get it
