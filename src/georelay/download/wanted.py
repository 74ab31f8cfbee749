"""What is to be fetched: a file, where it can be had, what it must be, and where it is unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from georelay.errors import UserError

FOLDER = ".downloads"  # below a dataset's folder: its archives, and what is known of them


@dataclass(frozen=True)
class Download:
    """One file of a dataset."""

    name: str  # on the disk
    urls: tuple[str, ...] = ()  # the address and its mirrors, tried in order; empty: it takes a log-in
    size: int | None = None  # bytes, where published
    md5: str | None = None
    sha256: str | None = None
    unpack: str | None = None  # folder below the dataset's folder, "" for that itself; None: kept as a file
    manual: str | None = None  # one sentence: where a person gets it

    def __post_init__(self) -> None:
        """Refuse names that would leave the dataset's folder."""
        if self.name in ("", ".", "..") or Path(self.name).name != self.name:
            raise UserError("is no plain file name", f'download "{self.name}"', "give it a name without a folder")
        target = Path(self.unpack or "")
        if target.is_absolute() or ".." in target.parts or FOLDER in target.parts:
            raise UserError(f'"{self.unpack}" is no folder inside the dataset\'s', f'download "{self.name}"', 'use "" or "a/b"')

    @property
    def figures(self) -> dict[str, Any]:
        """Size and digests that are known beforehand."""
        facts = {"size": self.size, "md5": self.md5 and self.md5.lower(), "sha256": self.sha256 and self.sha256.lower()}
        return {key: value for key, value in facts.items() if value is not None}


def shown(url: str) -> str:
    """An address for people and records: without the log-in that it may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
