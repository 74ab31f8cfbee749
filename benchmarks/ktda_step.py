"""A KTDA step as we arrange it against the same step as the public code arranges it: same networks, same batch, one run.

Ours: the teacher's maps come from the store, one pass of the student, FAM's 1x1 convolution where there are fewer cells,
channels-last memory, fused AdamW. Public: the teacher in each step, a second pass of the student for the distillation,
convolution before resizing, plain memory order, AdamW as torch has it by default. Both compute the same loss (stochastic
depth apart, which these students do not have). Whole steps in turns within one process, so that a busy machine slows
both; peak memory from a process of each. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from georelay.batches.geometry import identity
from georelay.batches.streams import Batch
from georelay.methods.ktda import KtdaMethod
from georelay.models import alignment
from georelay.models.decoders.blocks import resized
from georelay.models.device import keep_memory
from georelay.params import load_params
from georelay.reading import PARAMS
from georelay.rows import merged, resolve, resolve_teacher, teacher_row
from georelay.settings import Params
from georelay.teachers.intake import make_intake
from georelay.teachers.network import TeacherNetwork, build_network

OPTICAL = {
    "bands": ["blue", "green", "red", "nir"],
    "unit": "reflectance",
    "scale": 1e-4,
    "nodata": 0,
    "mean": [1000.0] * 4,
    "std": [500.0] * 4,
}
CLASSES = 4
ROW = "clouds-ktda"


@dataclass(frozen=True)
class Size:
    """One comparison: a row's student before a teacher on tiles of some side."""

    teacher: str
    side: int
    batch: int
    goal: float
    change: dict[str, Any]


WIDE = {"channels": 768, "stride": 14}
# As the paper's light students: no neck, SegFormer's decoder, one MLP block.
LIGHT = {"model": {"neck": [], "decoder": "segformer"}, "modulation": {"kind": "mlp"}}
SIZES = {
    "embedded": Size("attributes", 64, 16, 2.0, {}),
    "ViT-B/14 at 224, light student": Size("dinov2-b", 224, 4, 4.0, WIDE | LIGHT),
    "ViT-B/14 at 224, neck and UPerNet": Size("dinov2-b", 224, 4, 4.0, WIDE),
}


def facts_of(params: Params, size: Size) -> tuple[dict[str, Any], TeacherNetwork]:
    """A plan for a row like `clouds-ktda`, and its teacher; random weights take as long as any."""
    entry = params.experiments[ROW]
    changed = entry.model_copy(update={"set": merged(entry.set, size.change)})
    row = resolve(params.model_copy(update={"experiments": params.experiments | {ROW: changed}}), ROW)
    lesson = teacher_row(params, size.teacher)
    settings = resolve_teacher(params, size.teacher).model_dump()
    taught = None
    if lesson is not None:
        levels = len(lesson.options["targets"]) * (len(lesson.options["edges"]) + 1)
        taught = {"model": lesson.model.model_dump(), "bands": 4, "classes": levels}
        settings |= {"bands": OPTICAL["bands"], "statistics": "task"}
    network = build_network(settings, taught, None)
    teacher = TeacherNetwork(network, make_intake(settings, size.teacher, OPTICAL), settings)
    facts = zip(settings["taps"], network.channels, network.strides, strict=True)
    taps = [{"tap": tap, "channels": channels, "stride": stride} for tap, channels, stride in facts]
    groups = {key: getattr(row, key).model_dump() for key in ("model", "train", "augment", "predict")}
    plan = {
        "experiment": row.name,
        "settings": groups | {"method": row.options},
        "classes": ["class"] * CLASSES,
        "ignore": 255,
        "inputs": ["optical"],
        "pair": [],
        "train_domain": "main",
        "modalities": {"optical": OPTICAL},
        "teacher_view": "cached",
        "teachers": {size.teacher: {"taps": taps, "settings": settings}},
    }
    return plan, teacher


class Arrangement:
    """A student with its optimiser and a batch, ready to step one way or the other."""

    def __init__(self, params: Params, size: Size, public: bool) -> None:
        self.public, self.name = public, size.teacher
        plan, self.teacher = facts_of(params, size)
        plan["settings"]["method"] |= {"second_forward": "official" if public else "none"}
        torch.manual_seed(0)
        order = torch.contiguous_format if public else torch.channels_last
        method = KtdaMethod(plan, KtdaMethod.build_student(plan)).train()
        self.method = method.to(memory_format=order)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(self.method.parameters(), lr=1e-3, fused=None if public else True)
        self.batch = self._batch(size, order)
        self.raw = 1000 + 500 * torch.randn(size.batch, 4, size.side, size.side)
        self.stored = [map_.half() for map_ in self._answer()]

    def _batch(self, size: Size, order: torch.memory_format) -> Batch:
        image = torch.randn(size.batch, 4, size.side, size.side).to(memory_format=order)
        label = torch.randint(0, CLASSES, (size.batch, size.side, size.side))
        return Batch(image, label, label < CLASSES, torch.arange(size.batch), identity(size.batch, size.side))

    def _answer(self) -> list[Tensor]:
        maps: list[Tensor] = self.teacher(self.raw, torch.ones_like(self.raw[:, :1], dtype=torch.bool))
        return maps

    def step(self) -> float:
        """Seconds of one whole step."""
        started = time.perf_counter()
        maps = self._answer() if self.public else self.stored
        batch = Batch(**(vars(self.batch) | {"features": {self.name: tuple(maps)}}))
        self.method.loss({"labelled": batch}, 0).total.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.optimiser.zero_grad()
        return time.perf_counter() - started


def first_convolved(conv: Any, map_: Tensor, size: tuple[int, int]) -> Tensor:
    """FAM's level in the public order."""
    return resized(conv(map_), size)


def timed(arrangement: Arrangement, steps: int) -> float:
    if not arrangement.public:
        return statistics.fmean(arrangement.step() for _ in range(steps))
    with mock.patch.object(alignment, "_converted", first_convolved):
        return statistics.fmean(arrangement.step() for _ in range(steps))


def compared(params: Params, size: Size, rounds: int, steps: int) -> dict[str, Any]:
    """Public over ours, per round, after a round that warms up."""
    ways = {"ours": Arrangement(params, size, public=False), "public": Arrangement(params, size, public=True)}
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, arrangement in ways.items():
            seconds = timed(arrangement, steps)
            if turn:
                spent[way].append(seconds)
    ratios = sorted(public / ours for public, ours in zip(spent["public"], spent["ours"], strict=True))
    medians = {f"{way}_ms": round(1e3 * statistics.median(values), 1) for way, values in spent.items()}
    middle = {"ratio": round(statistics.median(ratios), 2), "low": round(ratios[0], 2), "high": round(ratios[-1], 2)}
    return {"goal": size.goal, **middle, **medians}


def peak_megabytes(label: str, way: str) -> float:
    """What a process of its own needs at most, above what it had before its first step."""
    command = [sys.executable, __file__, "--peak", label, way]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def print_peak(params: Params, label: str, way: str) -> None:
    # The size of a process, not its highest: the teacher's one answer before would hide in that.
    arrangement = Arrangement(params, SIZES[label], public=way == "public")
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark starts anew
    timed(arrangement, 2)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(round((int(status["VmHWM"].split()[0]) * 1024 - before) / 2**20, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--peak", nargs=2, metavar=("SIZE", "WAY"), help=argparse.SUPPRESS)
    options, params = parser.parse_args(), load_params(PARAMS)
    torch.set_num_threads(1)
    keep_memory()
    if options.peak:
        print_peak(params, *options.peak)
        return
    found = {}
    for label, size in SIZES.items():
        found[label] = compared(params, size, options.rounds, options.steps)
        found[label] |= {f"{way}_peak_mb": peak_megabytes(label, way) for way in ("ours", "public")}
        print(f"{label}: {found[label]}", file=sys.stderr)
    print(json.dumps({"benchmark": "ktda_step", "n": options.rounds, "threads": 1, "step": found}))


if __name__ == "__main__":
    main()
