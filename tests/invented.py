"""An invented task small enough to train on in a second: tiles in memory with the interface of a tile store, and a plan.

Beside it a teacher: its maps in memory with the interface of a feature store, or a real network in a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from georelay.files import sha256_file
from georelay.models.weights import save_weights
from georelay.teachers.network import build_network

SIDE, CLASSES = 32, ["bare", "grass", "crop", "tree"]
SPLITS = {"train": (0, 1), "val": (2,), "test": (3,)}

TRAIN = {
    "steps": 12,
    "batch": 8,
    "optimizer": "adamw",
    "lr": 3e-3,
    "weight_decay": 0.01,
    "momentum": 0.9,
    "betas": [0.9, 0.999],
    "schedule": "cosine",
    "schedule_count": "mmengine",
    "power": 0.9,
    "poly_begin": 0,
    "warmup_steps": 2,
    "warmup_start": 0.1,
    "final": 0.01,
    "floor": 0.0,
    "clip": 5.0,
    "accumulate": 1,
    "precision": "fp32",
    "channels_last": True,
    "ema": 0.0,
    "loss_at": "output",
    "threads": 1,
    "evaluate_every": 6,
    "checkpoint_every": 4,
    "device": "cpu",
}
AUGMENT = {
    "flip": True,
    "turn": True,
    "crop": 0,
    "scale": [1.0, 1.0],
    "scaling": "window",
    "resizing": "pillow",
    "padding": "mean",
    "crop_share": 1.0,
    "target": None,
    "gain": 0.0,
    "offset": 0.0,
    "noise": 0.0,
    "sar_offset": 0.0,
    "speckle_looks": 0.0,
    "photometric": {"chance": 0.0, "white": 0.5, "brightness": 0.1, "contrast": 0.5, "saturation": 0.5, "hue": 0.1},
    "strong": {
        "gain": 0.05,
        "offset": 0.1,
        "noise": 0.2,
        "sar_offset": 0.5,
        "speckle_looks": 0.0,
        "white": 0.5,
        "jitter": {"chance": 0.5, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
        "grey": 0.2,
        "blur": {"chance": 0.3, "sigma": [0.1, 1.0]},
    },
    "cutmix": {"chance": 0.5, "area": [0.02, 0.4], "ratio": [0.3, 3.333]},
}
MODEL = {
    "backbone": "test_resnet",
    "arguments": {},
    "stages": [1, 2],
    "normed": [],
    "positions": "timm",
    "neck": [],
    "decoder": "fpn",
    "width": 8,
    "dropout": 0.0,
    "weights": None,
}
MODALITIES = {
    "optical": {
        "bands": ["blue", "green", "red", "nir"],
        "dtype": "uint16",
        "scale": 1e-4,
        "nodata": 0,
        "unit": "reflectance",
        "mean": [1000.0, 2000.0, 3000.0, 4000.0],
        "std": [500.0, 500.0, 1000.0, 2000.0],
    },
    "sar": {
        "bands": ["vv", "vh"],
        "dtype": "float32",
        "scale": 1.0,
        "nodata": -9999.0,
        "unit": "dB",
        "mean": [-12.0, -18.0],
        "std": [4.0, 2.0],
    },
}


class InventedStore:
    """Tiles of blobs, one spectrum a class. Splits go round: of four tiles two train, one validates, one tests."""

    def __init__(self, tiles: int = 48, side: int = SIDE) -> None:
        rng = np.random.default_rng(0)
        label = np.stack([_blobs(rng, side) for _ in range(tiles)])
        spectrum = rng.uniform(500, 5000, (len(CLASSES), 4))[label].transpose(0, 3, 1, 2)
        power = rng.uniform(-25, -5, (len(CLASSES), 2))[label].transpose(0, 3, 1, 2)
        self.arrays = {
            "optical": (spectrum + rng.normal(0, 150, spectrum.shape)).clip(1, None).astype(np.uint16),
            "sar": (power + rng.normal(0, 1, power.shape)).astype(np.float32),
            "label": label,
            "valid": np.ones_like(label),
        }
        self.turns = np.arange(tiles) % 4

    def array(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def select(self, split: str, domain: str | None = None, budget: int | None = None) -> np.ndarray:
        return np.flatnonzero(np.isin(self.turns, SPLITS[split]))[:budget]

    def hide(self, tile: int, rows: slice) -> None:
        """Make some rows of a tile nodata in every modality."""
        self.arrays["valid"][tile, rows] = 0
        self.arrays["optical"][tile, :, rows] = 0
        self.arrays["sar"][tile, :, rows] = np.nan


class InventedFeatures:
    """A teacher's maps of the tiles of a store: means of image cells, and what a fixed random layer makes of them."""

    def __init__(self, store: InventedStore, card: dict[str, Any]) -> None:
        rng, image = np.random.default_rng(1), torch.from_numpy(store.array("optical").astype(np.float32))
        image, self.taps, self.maps = (image - image.mean()) / image.std(), [], []
        for tap in card["taps"]:
            layer = torch.from_numpy(rng.normal(0, 1, (tap["channels"], 4)).astype(np.float32))
            means = torch.nn.functional.avg_pool2d(image, tap["stride"])
            self.maps.append(torch.einsum("ck,nkyx->ncyx", layer, means).tanh().half())
            self.taps.append({**tap, "cells": means.shape[-1], "span": image.shape[-1]})

    def read(self, ids: np.ndarray) -> list[Tensor]:
        return [maps[torch.from_numpy(ids)] for maps in self.maps]


def write_teacher(root: Path, name: str, card: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write the weights of the teacher of a card, or of `CARD`, under a name; its card with their digest."""
    torch.manual_seed(7)
    path, card = root / "results" / "teachers" / f"{name}.safetensors", card or CARD
    save_weights(path, build_network(card["settings"], card["taught"], None).net, {})
    return card | {"sha256": sha256_file(path)}


def _blobs(rng: np.random.Generator, side: int) -> np.ndarray:
    label, (y, x) = np.zeros((side, side), np.uint8), np.mgrid[:side, :side]
    for _ in range(5):
        row, col, radius = *rng.uniform(0, side, 2), rng.uniform(4, side / 3)
        label[(y - row) ** 2 + (x - col) ** 2 < radius**2] = rng.integers(len(CLASSES))
    return label


def make_plan(method: str = "supervised", **changes: Any) -> dict[str, Any]:
    """A whole plan; `train=`, `augment=`, `model=`, `predict=` and `options=` change settings, other words its top level."""
    settings = {
        "model": MODEL | changes.pop("model", {}),
        "train": TRAIN | changes.pop("train", {}),
        "augment": AUGMENT | changes.pop("augment", {}),
        "predict": {"window": 32, "overlap": 8, "batch": 4, "multiple": 0, "blend": "smooth", "scales": [1.0], "missing": []}
        | changes.pop("predict", {}),
        "method": OPTIONS[method] | changes.pop("options", {}),
    }
    plan = {
        "experiment": "invented",
        "method": method,
        "task": "blobs",
        "inputs": ["optical"],
        "train_domain": "main",
        "test_domain": "main",
        "labels": None,
        "unscored": [],
        "pair": [],
        "teacher_view": "cached",
        "classes": CLASSES,
        "colours": [[10 * value, 0, 0] for value in range(len(CLASSES))],
        "ignore": 255,
        "modalities": MODALITIES,
        "settings": settings,
        "tiles": {"path": "results/tiles/blobs.zarr.zip", "sha256": "0" * 64},
        "source": {"name": "blobs", "folder": "data/raw/blobs", "receipt": "0" * 64},
        "teachers": {},
        "features": {},
        "code": {"train": "a", "predict": "b"},
        "versions": {},
    }
    return plan | NEEDS.get(method, {}) | changes


# What a plan holds of a teacher that was taught here: an untrained one, which sees what the student sees.
CARD: dict[str, Any] = {
    "origin": "random",
    "sha256": "0" * 64,
    "settings": {
        "taps": ["decoder", 2],
        "unit": "reflectance",
        "bands": ["blue", "green", "red", "nir"],
        "missing": "refuse",
        "statistics": "task",
        "size": None,
        "fit": "resize",
        "align_corners": False,
    },
    "taught": {"model": MODEL, "bands": 4, "classes": 3},
    "taps": [{"tap": "decoder", "channels": 8, "stride": 4}, {"tap": 2, "channels": 48, "stride": 8}],
    "parameters": 1,
}
# One of the same architecture and task, all of whose maps are kept.
TWIN: dict[str, Any] = CARD | {
    "settings": CARD["settings"] | {"taps": [1, 2, "decoder", "logits"]},
    "taught": CARD["taught"] | {"classes": len(CLASSES)},
    "taps": [
        {"tap": 1, "channels": 32, "stride": 4},
        {"tap": 2, "channels": 48, "stride": 8},
        {"tap": "decoder", "channels": 8, "stride": 4},
        {"tap": "logits", "channels": len(CLASSES), "stride": 4},
    ],
}
STORED = {"path": "results/features/blobs--seer.zarr.zip", "sha256": "0" * 64}

# What a method's plan needs beside settings.
NEEDS: dict[str, dict[str, Any]] = {
    "pretext": {"pair": ["sar"]},
    "distil": {"teachers": {"seer": CARD}, "features": {"seer": STORED}},
    "ktda": {"teachers": {"seer": CARD}, "features": {"seer": STORED}},
    "transfer": {"teachers": {"seer": CARD}, "teacher_view": "online"},
    "mtdf": {"teachers": {"seer": CARD}, "features": {"seer": STORED}},
    "hfdnet": {"teachers": {"seer": TWIN}, "features": {"seer": STORED}},
}
CONSISTENCY: dict[str, Any] = {
    "threshold": 0.4,
    "decay": 0.9,
    "tested": "average",
    "supervised_weight": 0.5,
    "consistency_weight": 0.5,
    "hard": {"threshold": 0.7, "least": 0},
    "head_rate": 2.0,
}
# One set of settings a method, small enough for tests; a new method adds a line.
OPTIONS: dict[str, dict[str, Any]] = {
    "supervised": {"label_smoothing": 0.0},
    "pretext": {"targets": ["vv", "vh"], "edges": [-0.5, 0.5], "masked": 0.3, "block": 8, "band_dropout": 0.3},
    "distil": {"weight": 1.0, "unlabelled": True},
    "transfer": {"label_smoothing": 0.0, "frozen": False, "whole": False},
    "adabn": {"label_smoothing": 0.0},
    "stdasegnet": {
        "gate": True,
        "universal": True,
        "narrow": 4,
        "adversarial_weight": 0.005,
        "scale_discriminators": True,
        "discriminator": {"level": -1, "halvings": 1, "width": 4, "lr": 1e-4, "betas": [0.9, 0.99]},
        "pseudo_weight": 0.25,
        "threshold": 0.5,
        "low": 0.3,
        "class_weights": {"source": None, "target": None},
        "pixel_weights": None,
        "published_table": False,
        "teacher": "decoder_only",
        "teacher_start": "random",
        "own_buffers": True,
        "decay": 0.99,
        "head_rate": 1.0,
        "decay_norms": True,
        "tested": "student",
    },
    "hfdnet": {
        "label_smoothing": 0.0,
        "at": "encoder",
        "loss": "nl2",
        "adapter": "mlp",
        "mode": "mimic",
        "feature_weight": 0.2,
        "logit_weight": 0.1,
        "temperature": 2.0,
        "ramp": 0.25,
        "gate": "right",
        "gate_threshold": 0.4,
        "tolerance": 1,
        "pool": False,
        "unlabelled": True,
        "supervised_weight": 1.0,
        "start": "random",
    },
    "fixmatch": CONSISTENCY,
    "unimatch": CONSISTENCY | {"dropout": 0.5},
    "mtdf": CONSISTENCY
    | {
        "distill_weight": 0.5,
        "hidden": 8,
        "own": 0.8,
        "share": 0.1,
        "fusion": "sum",
        "place": "encoder",
        "student_view": "shared",
        "error": "mse",
    },
    "ktda": {
        "channels": [8, 48],
        "stride": [4, 8],
        "fuse": False,
        "output_norm": True,
        "freeze_backbone": False,
        "modulation": {
            "kind": "vit",
            "depth": 1,
            "rank_dim": 4,
            "residual": False,
            "heads": 4,
            "mlp_ratio": 2.0,
            "eps": 1e-5,
            "layer_scale": 0.0,
            "position": "after_neck",
        },
        "auxiliary": {"levels": [1], "weight": 0.4, "width": 8},
        "focal": {"weight": 0.0, "gamma": 2.0, "alpha": 0.5},
        "kd_mode": "channel",
        "kd": {"alpha": 0.5, "temperature": 1.0, "axis": None, "reduction": None},
        "distill_weight": 1.0,
        "supervised_weight": 1.0,
        "second_forward": "none",
        "unlabelled": False,
        "divide_by": "counted",
        "decay_norms": False,
    },
}
