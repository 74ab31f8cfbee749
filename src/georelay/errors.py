"""The one exception that people are meant to read: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """A mistake a person can mend; the command line prints it without a traceback and exits with 2."""

    def __init__(self, what: str, where: str | Path = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.hint = what, str(where), hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}" + (f"\n  {self.hint}" if self.hint else "")


def suggestion(word: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name: the closest known one, else all of them."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(names)}" if names else ""
