"""Several ways to do the same training step, in turns within one process, so that a busy machine slows both.

Peak memory comes from a process of each way. The last line that is printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from georelay.models.device import keep_memory

OURS = "ours"


class Way(Protocol):
    """A method with its optimiser and a batch."""

    def step(self) -> None:
        """One whole step, optimiser and all."""
        ...


# A way to step, by the label of the comparison and its own name.
Build = Callable[[str, str], Way]


def run(name: str, text: str | None, goals: Mapping[str, float], build: Build, others: Sequence[str] = ("public",)) -> None:
    """Compare ours with others in every size and print what was found; `goals` are the ratios aimed at, to the first of them."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--only", choices=list(goals), help="this size alone")
    parser.add_argument("--peak", nargs=2, metavar=("SIZE", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    if options.peak:
        label, way = options.peak
        print(round(_peak(build(label, way)), 1))
        return
    found: dict[str, dict[str, Any]] = {}
    for label in [options.only] if options.only else goals:
        found[label] = {"goal": goals[label]} | _compared(label, build, others, options.rounds, options.steps)
        found[label] |= {"peak_mb": {way: _peak_of_own_process(label, way) for way in (OURS, *others)}}
        print(f"{label}: {found[label]}", file=sys.stderr)
    print(json.dumps({"benchmark": name, "n": options.rounds, "threads": 1, "step": found}))


def _compared(label: str, build: Build, others: Sequence[str], rounds: int, steps: int) -> dict[str, Any]:
    """Others over ours, per round, after a round that warms up: median, least and most."""
    ways = {way: build(label, way) for way in (OURS, *others)}
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            seconds = statistics.fmean(_seconds(way) for _ in range(steps))
            if turn:
                spent[name].append(seconds)
    ratios = {way: sorted(other / ours for other, ours in zip(spent[way], spent[OURS], strict=True)) for way in others}
    found = {way: [round(fact, 2) for fact in (statistics.median(all_), all_[0], all_[-1])] for way, all_ in ratios.items()}
    return {"ratio": found, "ms": {way: round(1e3 * statistics.median(values), 1) for way, values in spent.items()}}


def _seconds(way: Way) -> float:
    started = time.perf_counter()
    way.step()
    return time.perf_counter() - started


def _peak_of_own_process(label: str, way: str) -> float:
    """What a process of its own needs at most, above what it had before its first step."""
    command = [sys.executable, sys.argv[0], "--peak", label, way]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def _peak(way: Way) -> float:
    # The size of a process, not its highest: what was needed to build the networks would hide in that.
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark starts anew
    way.step()
    way.step()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return (int(status["VmHWM"].split()[0]) * 1024 - before) / 2**20
