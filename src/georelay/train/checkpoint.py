"""Resume state: one file per run outside the declared outputs, replaced whole, never used by another plan."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch

from georelay.files import READ_BLOCK, remove, replacing

DIGEST = hashlib.sha256().digest_size


class Checkpoint:
    """The resume file of the run that a fingerprint names. Engines delete outputs of failed jobs; this they leave.

    It is what torch.save writes, followed by the digest of it: torch notices a cut file, but not a changed weight.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.path = root / "results" / "resume" / fingerprint / "last.pt"
        self.fingerprint = fingerprint

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file; a kill leaves the old one or the new one."""
        with replacing(self.path) as temporary:
            torch.save({"fingerprint": self.fingerprint, "state": state}, temporary)
            digest = _digest(temporary, temporary.stat().st_size)
            with open(temporary, "ab") as stream:
                stream.write(digest)

    def load(self) -> dict[str, Any] | None:
        """The state to go on from; none when there is no file, or one that is damaged or of another plan."""
        if not self.path.is_file():
            return None
        if not self._intact():
            return self._ignored("it is damaged")
        content = torch.load(self.path, map_location="cpu", weights_only=True)
        if content["fingerprint"] != self.fingerprint:
            return self._ignored("it belongs to another plan")
        state: dict[str, Any] = content["state"]
        return state

    def _intact(self) -> bool:
        length = self.path.stat().st_size - DIGEST
        if length <= 0:
            return False
        with open(self.path, "rb") as stream:
            stream.seek(length)
            return stream.read() == _digest(self.path, length)

    def remove(self) -> None:
        """Forget the run; it is finished."""
        remove(self.path.parent)

    def _ignored(self, reason: str) -> dict[str, Any] | None:
        print(f"{self.path}: not resumed, {reason}; training starts at step 0", file=sys.stderr, flush=True)
        return None


def _digest(path: Path, length: int) -> bytes:
    """The digest of the first `length` bytes of a file, read in pieces."""
    hasher = hashlib.sha256()
    with open(path, "rb") as stream:
        while length > 0:
            block = stream.read(min(READ_BLOCK, length))
            hasher.update(block)
            length -= len(block) or length  # a file that shrinks meanwhile must not hold us up
    return hasher.digest()
