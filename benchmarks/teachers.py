"""Do the embedded teachers carry knowledge, and do they differ? Linear probes on their frozen features, and linear CKA.

A probe is one linear layer on the standardised features of a teacher's taps, fitted to the task's own labelled tiles
and scored on its test tiles. Each taught teacher stands beside the same network untrained. CKA compares the two
teachers' features of the same test pixels. The last line is one JSON object.

    snakemake --cores all results/teachers/{attributes,restoration}{,-untrained}.json
    python benchmarks/teachers.py [--draws 3]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.files import read_json
from georelay.params import load_params
from georelay.plan import card_path, teacher_path
from georelay.settings.data import Task
from georelay.teachers.features import Witness
from georelay.tiles.read import TileStore
from georelay.train.loop import mean_iou

TEACHERS, CONTROL = ("attributes", "restoration"), "-untrained"
GOAL, CKA_GOAL = 5.0, 0.9
DECAY, ITERATIONS, BATCH, CKA_TILES = 1e-4, 60, 64, 96


def features(witness: Witness, ids: np.ndarray) -> Tensor:
    """All taps of some tiles on the grid of the finest one, concatenated."""
    parts = [witness.maps(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)]
    maps = [torch.cat(tap) for tap in zip(*parts, strict=True)]
    side = max(map_.shape[-1] for map_ in maps)
    return torch.cat([F.interpolate(map_, size=(side, side), mode="bilinear") for map_ in maps], dim=1)


class Probe:
    """A task's tiles before one teacher, and how well a linear layer reads its classes there."""

    def __init__(self, teacher: str, name: str, task: Task) -> None:
        card, self.store = read_json(card_path(name)), TileStore(Path("results/tiles") / f"{name}.zarr.zip")
        self.ignore, self.classes = card["ignore"], len(card["classes"])
        self.witness = Witness(read_json(teacher_path(teacher)), card["modalities"], self.store, Path("."), torch.device("cpu"))
        self.pool = self.store.select("train", task.train_domain)
        self.budget = task.labels or len(self.pool)
        self.test = self.store.select("test", task.test_domain)
        self.shown = features(self.witness, self.test)

    def labels(self, ids: np.ndarray) -> Tensor:
        return torch.from_numpy(self.store.array("label")[ids].astype(np.int64))

    def score(self, draw: int) -> float:
        """Mean IoU in points over the test tiles, after fitting to one draw of as many tiles as the task has labels."""
        ids = np.random.default_rng(draw).choice(self.pool, self.budget, replace=False)
        known, label = features(self.witness, ids), self.labels(ids)
        spread, mean = torch.std_mean(known, dim=(0, 2, 3), keepdim=True)
        weight, bias = fitted((known - mean) / (spread + 1e-5), label, self.classes, self.ignore)
        confusion = np.zeros((self.classes, self.classes), np.int64)
        for maps, truth in zip(self.shown.split(BATCH), self.labels(self.test).split(BATCH), strict=True):
            logits = F.conv2d((maps - mean) / (spread + 1e-5), weight[:, :, None, None], bias)
            chosen = F.interpolate(logits, size=truth.shape[-2:], mode="bilinear").argmax(dim=1)
            counted = truth != self.ignore
            cells = truth[counted] * self.classes + chosen[counted]
            confusion += torch.bincount(cells, minlength=self.classes**2).view(self.classes, -1).numpy()
        return 100 * mean_iou(confusion)


def fitted(maps: Tensor, label: Tensor, classes: int, ignore: int) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression on cells; a cell's target is the share of each class in it."""
    known = torch.where(label == ignore, classes, label)
    shares = F.one_hot(known, classes + 1)[..., :classes].permute(0, 3, 1, 2).float()
    target = F.avg_pool2d(shares, label.shape[-1] // maps.shape[-1]).permute(0, 2, 3, 1).reshape(-1, classes)
    cells = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    layer = nn.Linear(cells.shape[1], classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    solver = torch.optim.LBFGS(layer.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = -(target * F.log_softmax(layer(cells), dim=1)).sum() / target.sum() + DECAY * layer.weight.square().sum()
        value.backward()
        return value

    solver.step(loss)
    return layer.weight.detach(), layer.bias.detach()


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear CKA (Kornblith et al. 2019) of two feature sets of the same cells (cells, channels)."""
    first, second = (maps - maps.mean(dim=0) for maps in (first.double(), second.double()))
    cross, own = (first.T @ second).norm() ** 2, (first.T @ first).norm() * (second.T @ second).norm()
    return float(cross / own)


def compared(one: Probe, other: Probe) -> float:
    """CKA of two teachers on the first test tiles, on the coarser of their grids."""
    maps = [probe.shown[:CKA_TILES] for probe in (one, other)]
    side = min(map_.shape[-1] for map_ in maps)
    return linear_cka(*(F.adaptive_avg_pool2d(map_, side).permute(0, 2, 3, 1).flatten(0, 2) for map_ in maps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=3)
    draws = range(parser.parse_args().draws)
    params, rows, ckas = load_params(), {}, {}
    for name, task in params.tasks.items():
        if name == "corpus":
            continue
        probes = {teacher: Probe(teacher, name, task) for base in TEACHERS for teacher in (base, base + CONTROL)}
        scores = {teacher: [probe.score(draw) for draw in draws] for teacher, probe in probes.items()}
        ckas[name] = round(compared(probes[TEACHERS[0]], probes[TEACHERS[1]]), 3)
        for base in TEACHERS:
            gains = [a - b for a, b in zip(scores[base], scores[base + CONTROL], strict=True)]
            own, control = np.mean(scores[base]), np.mean(scores[base + CONTROL])
            rows[f"{name} {base}"] = {"probe": round(own, 1), "untrained": round(control, 1), "gain": round(np.mean(gains), 1)}
            rows[f"{name} {base}"] |= {"least": round(min(gains), 1)}
            print(f"{name:10s} {base:12s} {own:5.1f}, untrained {control:5.1f}: {np.mean(gains):+5.1f}", file=sys.stderr)
        print(f"{name:10s} CKA {ckas[name]:.3f}", file=sys.stderr)
    goals = {"gain": GOAL, "cka_below": CKA_GOAL}
    met = all(row["gain"] >= GOAL for row in rows.values()) and all(value < CKA_GOAL for value in ckas.values())
    print(json.dumps({"benchmark": "teachers", "n": len(draws), "goal": goals, "met": met, "probes": rows, "cka": ckas}))


if __name__ == "__main__":
    main()
