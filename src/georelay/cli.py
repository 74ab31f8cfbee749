"""The command line: one sub-command a stage, the same strings in the Snakefile and in dvc.yaml.

Heavy modules are imported inside the functions that need them: `georelay plan` must not wait for torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import georelay
from georelay.arguments import add_word
from georelay.commands import data, evidence, outlook, runs, teaching, upkeep
from georelay.errors import UserError

COMMANDS = {**data.COMMANDS, **teaching.COMMANDS, **runs.COMMANDS, **outlook.COMMANDS, **evidence.COMMANDS, **upkeep.COMMANDS}


def parser() -> argparse.ArgumentParser:
    """The command line as argparse sees it."""
    top = argparse.ArgumentParser(prog="georelay", description=georelay.__doc__)
    top.add_argument("--version", action="version", version=georelay.__version__)
    commands = top.add_subparsers(required=True, metavar="stage")
    for function, words in COMMANDS.items():
        command = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        command.set_defaults(function=function)
        for word in words:
            add_word(command, word)
    return top


def _refuse_foreign_code() -> None:
    """Under `dvc exp run --temp` an editable install would run another checkout's code on this one's files."""
    here, ours = Path("src/georelay").resolve(), Path(georelay.__file__).resolve().parent
    if here.is_dir() and here != ours:
        hint = f"set PYTHONPATH={here.parent}, or install this checkout: pip install -e ."
        raise UserError(f"this folder has its own src/georelay, but the code of {ours} is running", here, hint)


def _quiet_thread_pools() -> None:
    """One thread for numpy's libraries: two jobs of one thread beat one of two, and pools that spin slow both."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def main(words: Sequence[str] | None = None) -> int:
    """Run one sub-command; 2 for what a person can mend."""
    arguments = parser().parse_args(words)
    try:
        _refuse_foreign_code()
        _quiet_thread_pools()
        arguments.function(arguments)
    except UserError as error:
        print(f"georelay: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("georelay: interrupted; the same command goes on from where it can", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != 28:  # ENOSPC
            raise
        print(
            f"georelay: {error.filename or Path.cwd()}: the disk is full\n  free some space and run the same command again",
            file=sys.stderr,
        )
        return 2
    return 0
