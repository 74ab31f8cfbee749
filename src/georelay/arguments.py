"""The words that follow a command, as argparse wants them."""

from __future__ import annotations

import argparse
from pathlib import Path

SAMPLE = 20  # files of each kind that `inspect` opens


def add_word(command: argparse.ArgumentParser, word: str) -> None:
    """A positional argument; some bring an option along."""
    if word == "source":
        command.add_argument(word)
        command.add_argument("--accept-licence", action="store_true", help="agree to the terms of what is downloaded")
        command.add_argument("--subset", action="store_true", help="only a small first look, where the source knows one")
    elif word in ("seed", "seed+"):
        command.add_argument("seed", type=int)
        if word == "seed+":
            said = "train these seeds as well, into the cache: one start of torch for all of them"
            command.add_argument("--ahead", type=int, nargs="+", default=[], metavar="SEED", help=said)
    elif word == "folder":
        command.add_argument(word, type=Path)
        command.add_argument("--sample", type=_positive, default=SAMPLE, metavar="N", help="files of each kind that are opened")
    elif word == "action":
        command.add_argument(word, choices=("list", "verify", "prune"))
        command.add_argument("--keep", type=float, default=0.0, metavar="GB", help="prune: how much may stay")
    elif word == "experiments*":
        command.add_argument("experiments", nargs="*", help="rows, and with --estimate studies; else the active ones")
        command.add_argument("--estimate", action="store_true", help="write nothing: say what would run, why, and what it costs")
        command.add_argument("--cores", type=_positive, metavar="N", help="with --estimate: how many there are (default: all)")
    elif word == "study?":
        command.add_argument("study", nargs="?", help="one study, on a page of its own; else all active ones")
    else:
        command.add_argument(word)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
