"""A distillation step with stored features against one with the teacher in the step, and what either view is worth.

Time: whole steps (batch, student, losses, update) of the method `distil`, both ways in turns within one run, so that a
busy machine slows both. `warm` is how training reads the store; `cold` reads every batch from the disk, after the
store's pages were dropped. Agreement: how far the stored maps, moved as the image was, are from the teacher's answer to
the moved image, as a share of the maps' spread, for every augmentation on its own. Worth: test mIoU of the rows
`distil-attributes` and `distil-online`, from scores that are there already. The last line is one
JSON object.

    snakemake --cores all results/teachers/{attributes,restoration}.json
    snakemake --cores all results/scores/distil-{attributes,online}/seed{0,1,2,3,4}.json
    python benchmarks/teacher_cache.py [--rounds 5] [--batch 8]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import save_file

from georelay.batches import streams
from georelay.evaluate.scores import read_scores
from georelay.evaluate.statistics import paired_difference
from georelay.files import read_json, sha256_file, write_json
from georelay.models.device import keep_memory
from georelay.params import load_params
from georelay.plan import card_path, features_path, make_plan, teacher_path
from georelay.reading import PARAMS
from georelay.rows import resolve, resolve_teacher
from georelay.settings import Params
from georelay.sources.catalog import fetch_source
from georelay.sources.receipt import Receipt
from georelay.teachers.features import compute_features
from georelay.teachers.network import build_network
from georelay.tiles.write import write_tiles
from georelay.train.distributed import World
from georelay.train.loop import Session, _step
from georelay.train.run import open_session
from georelay.train.teach import teach

ROW, ONLINE = "distil-attributes", "distil-online"
BATCH = 32
SCENES = {"train": 3, "val": 0, "test": 1}
EMBEDDED = ("attributes", "restoration")
LARGE = {"ViT-S/14 at 224": "dinov2-s", "ViT-B/14 at 224": "dinov2-b"}
GOALS = {**dict.fromkeys(EMBEDDED, 1.3), "ViT-S/14 at 224": 4.0, "ViT-B/14 at 224": 8.0}
SEEDS = range(5)
STILL = {"flip": False, "turn": False}
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "none": STILL,
    "flip": STILL | {"flip": True},
    "turn": STILL | {"turn": True},
    "crop 32": STILL | {"crop": 32},
    "scale 0.8-1.25": STILL | {"scale": [0.8, 1.25]},
    "scale 0.5-2": STILL | {"scale": [0.5, 2.0]},
    "gain 0.05": STILL | {"gain": 0.05},
    "noise 0.2": STILL | {"noise": 0.2},
}


def small_task(params: Params, root: Path) -> None:
    """The landcover task with few scenes: a step costs the same however many tiles there are."""
    source, task = params.sources["landcover"], params.tasks["landcover"]
    few = source.model_copy(update={"scenes": source.scenes.model_copy(update=SCENES)})
    receipt = fetch_source("landcover", few, root / "data/raw")
    folder, store = root / "data/raw/landcover", root / "results/tiles/landcover.zarr.zip"
    store.parent.mkdir(parents=True)
    card = write_tiles(Receipt.read(folder), folder, "landcover", task, store, memory_mb=256, workers=1)
    write_json(root / card_path("landcover"), {**card, "receipt": sha256_file(folder / "receipt.json")})
    assert receipt.source == "landcover"


def ready_teacher(params: Params, label: str, root: Path) -> str:
    """Bring a teacher and its features into `root`; random weights will do for a timm network's time."""
    name = LARGE.get(label, label)
    weights = root / teacher_path(name).with_suffix(".safetensors")
    weights.parent.mkdir(parents=True, exist_ok=True)
    if label in LARGE:
        settings = {
            **resolve_teacher(params, name).model_dump(),
            "origin": "file",
            "size": 224,
            "taps": [11],
            "normed": [11],
            "file": "any.safetensors",
        }
        save_file(build_network(settings, None, None).net.state_dict(), root / "any.safetensors")
        settings["sha256"] = sha256_file(root / "any.safetensors")
        card = teach(name, settings, None, root, weights, "")
    else:
        shutil.copy(teacher_path(name).with_suffix(".safetensors"), weights)
        card = read_json(teacher_path(name))
    write_json(root / teacher_path(name), card)
    target = root / features_path("landcover", name)
    tiles = read_json(root / card_path("landcover"))
    write_json(target, compute_features(card, tiles, root, target.with_suffix(".zarr.zip"), name))
    return name


def session(params: Params, teacher: str, view: str, batch: int, root: Path, augment: Mapping[str, Any] = {}) -> Session:
    """A run of the row, ready to step."""
    row = resolve(params, ROW)
    train, augmented = row.train.model_copy(update={"batch": batch}), row.augment.model_copy(update=augment)
    change = {"teachers": [teacher], "teacher_view": view, "train": train, "augment": augmented, "labels": batch}
    row = row.model_copy(update=change)
    return open_session(make_plan(params, row, root), 0, root, "none", torch.device("cpu"), World(0, 1, 0))


def drop_pages(path: Path) -> None:
    """Make the next read of a file come from the disk."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(run: Session, step: int, before: Callable[[], None]) -> float:
    before()
    started = time.perf_counter()
    _step(run, step)
    return time.perf_counter() - started


def ratios(params: Params, label: str, options: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Online over cached, per round, after a round that warms up."""
    name = ready_teacher(params, label, root)
    store = root / features_path("landcover", name).with_suffix(".zarr.zip")
    ways = {
        "online": session(params, name, "online", options.batch, root),
        "warm": session(params, name, "cached", options.batch, root),
    }
    with mock.patch.object(streams, "PRELOADED_BYTES", 0):
        ways["cold"] = session(params, name, "cached", options.batch, root)
    before: dict[str, Callable[[], None]] = {"cold": lambda: drop_pages(store)}
    found: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(options.rounds + 1):
        for way, run in ways.items():
            steps = options.steps if way != "online" or label in EMBEDDED else 1
            spent = [seconds(run, turn * options.steps + step, before.get(way, lambda: None)) for step in range(steps)]
            if turn:
                found[way].append(statistics.fmean(spent))
    result = {"goal": GOALS[label], "online_s": round(statistics.median(found["online"]), 4)}
    for way in ("warm", "cold"):
        values = sorted(online / cached for online, cached in zip(found["online"], found[way], strict=True))
        result[way] = {"ratio": round(statistics.median(values), 2), "low": round(values[0], 2), "high": round(values[-1], 2)}
    print(f"{label:16s} {result}", file=sys.stderr)
    return result


@torch.no_grad()
def agreement(params: Params, teacher: str, root: Path) -> dict[str, float]:
    """RMS difference of the two views over the spread of the teacher's own answer, by augmentation."""
    found = {}
    for name, augment in AUGMENTATIONS.items():
        runs = [session(params, teacher, view, BATCH, root, augment) for view in ("cached", "online")]
        stored, seen = (run.method.view.maps(run.moved(run.streams["unlabelled"].batch(0, 0, 1)))[teacher][0] for run in runs)
        found[name] = round(float((stored - seen).square().mean().sqrt() / seen.std()), 3)
    return found


def worth(params: Params) -> dict[str, Any]:
    """Cached minus online in points of test mIoU, paired by seed, with the interval over seeds and scenes."""
    scores = {name: {seed: read_scores(name, seed, Path(".")) for seed in SEEDS} for name in (ROW, ONLINE)}
    rows = {name: {seed: run.confusions for seed, run in runs.items() if run} for name, runs in scores.items()}
    compared = paired_difference(rows[ROW], rows[ONLINE], params.compare.resamples, params.compare.seed)
    numbers = {key: round(100 * getattr(compared, key), 2) for key in ("mean", "low", "high")}
    return {"cached_minus_online": numbers, "n": len(compared.seeds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rounds", 5), ("batch", 8), ("steps", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options, params = parser.parse_args(), load_params(PARAMS)
    torch.set_num_threads(1)
    keep_memory()
    with tempfile.TemporaryDirectory() as folder:
        small_task(params, Path(folder))
        times = {label: ratios(params, label, options, Path(folder)) for label in (*EMBEDDED, *LARGE)}
        agreements = {teacher: agreement(params, teacher, Path(folder)) for teacher in EMBEDDED}
    facts = {"benchmark": "teacher_cache", "n": options.rounds, "batch": options.batch}
    print(json.dumps(facts | {"step": times, "agreement": agreements, "view": worth(params)}))


if __name__ == "__main__":
    main()
