"""What all commands share: where they stand, what they look like, and what is said of a file that is missing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from georelay.errors import UserError

ROOT = Path(".")

# A function and the words that follow its name on the command line.
Commands = Mapping[Callable[[argparse.Namespace], None], Sequence[str]]


def existing(path: Path, command: str) -> Path:
    """The path itself, if it is there; else the command that makes it."""
    if not path.exists():
        raise UserError("file is missing", path, f"`{command}` writes it")
    return path
