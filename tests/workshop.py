"""A small checkout to make teachers in: drawn sources, their tiles, a params.yaml of its own, and the real commands."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml

from georelay.cli import main
from georelay.files import read_json, sha256_file
from georelay.models.backbones import create_network
from georelay.models.weights import save_weights
from georelay.params import load_params
from georelay.plan import make_plan
from georelay.reading import load_yaml
from georelay.rows import resolve

SIDE = 32
TRAINING = {"steps": 6, "batch": 4, "warmup_steps": 2, "evaluate_every": 3, "checkpoint_every": 2, "device": "cpu"}
STUDENT = {"stages": [1, 2], "width": 8}
TRAINED = {"model": STUDENT, "train": {}, "targets": ["greenness", "border"], "edges": [-0.5, 0.5]}
FOREIGN = {"origin": "file", "file": "w.safetensors", "missing": "mean", "licence": "none", "why": "somebody else's"}
# A tiny network of patches of 14, which tiles of 32 are no multiple of.
PATCHES = {"network": "vit_small_patch14_dinov2", "arguments": {"embed_dim": 12, "depth": 2, "num_heads": 2, "img_size": 42}}


def _source(scenery: str, train: int) -> dict[str, Any]:
    return {
        "kind": "synthetic",
        "scenery": scenery,
        "scenes": {"train": train, "val": 0, "test": 1},
        "size": 64,
        "gsd": 2.0,
        "seed": 7,
    }


def _task(source: str, modalities: list[str], inputs: list[str], domains: tuple[str | None, str | None], **more: Any) -> Any:
    split = {"rule": "scene", "buffer": 0.0}
    facts = {"source": source, "modalities": modalities, "tile": SIDE, "stride": SIDE, "split": split, "compression": "none"}
    return facts | {"inputs": inputs, "labels": None, "train_domain": domains[0], "test_domain": domains[1]} | more


def _values() -> dict[str, Any]:
    """A params.yaml with the repository's defaults, made small: two teachers of our own and the tasks they look at."""
    defaults = load_yaml(Path(__file__).parents[1] / "params.yaml")["defaults"]
    defaults["train"] |= TRAINING
    defaults["teacher"] |= {"batch": 5, "device": "cpu"}
    both = ("source", "target")
    taught = {"task": "corpus", "method": "pretext", "seed": 0, "set": TRAINED}
    own = {"why": "a test", "licence": "none", "origin": "taught", "taught": taught, "taps": ["decoder", 2]}
    row = {"study": "city", "method": "distil", "task": "city", "why": "a test", "teachers": ["own"]}
    return {
        "active": {"sources": [], "tasks": [], "teachers": [], "features": {}, "studies": [], "experiments": [], "seeds": [0]},
        "sources": {
            "corpus": _source("corpus", 1),
            "crosscity": _source("crosscity", 1),
            "allweather": _source("allweather", 2),
        },
        "tasks": {
            "corpus": _task("corpus", ["optical", "layers"], ["optical"], (None, None), pair=["layers"]),
            "city": _task("crosscity", ["optical"], ["optical"], both),
            "radar": _task("allweather", ["sar"], ["sar"], ("main", "main")),
            "pairs": _task("allweather", ["eo", "sar"], ["sar"], ("main", "main"), pair=["eo"]),
        },
        "download": {"workers": 2, "keep_archives": True},
        "tiling": {"memory_mb": 64, "workers": 1},
        "teachers": {"own": own, "untrained": {"like": "own", "origin": "random"}},
        "defaults": defaults,
        "evaluate": {"boundary": 3, "bins": 15},
        "track": {"live_every": 10},
        "compare": {"resamples": 10, "seed": 0, "scenes": 1},
        "reference": {"studies": [], "seeds": [0], "times": 1},
        "experiments": {
            "cached": row,
            "online": {"like": "cached", "why": "a test", "set": {"teacher_view": "online"}},
            "paired": {"like": "online", "task": "pairs", "why": "a test"},
        },
    }


@dataclass(frozen=True)
class Workshop:
    """A folder with params.yaml, rasters and tiles; commands run inside it, with a cache of its own."""

    folder: Path

    def run(self, *words: str, expect: int = 0) -> None:
        """`georelay <words>` in this process."""
        with contextlib.chdir(self.folder), mock.patch.dict(os.environ, {"GEORELAY_CACHE": "cache"}):
            code = main(words)
        assert code == expect, f"georelay {' '.join(words)} gave {code}"

    def change(self, *path: str, **values: Any) -> None:
        """Set keys of the mapping at `path` of params.yaml."""
        whole = load_yaml(self.folder / "params.yaml")
        place = whole
        for key in path:
            place = place.setdefault(key, {})
        place |= values
        (self.folder / "params.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))

    def copy(self, folder: Path) -> Workshop:
        """The same again, to be spoilt; its cache is empty."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("cache", "raw"))
        return Workshop(folder)

    def plan(self, row: str, **changes: Any) -> dict[str, Any]:
        """The plan of a row; `changes` are keys of its top level."""
        params = load_params(self.folder / "params.yaml")
        return make_plan(params, resolve(params, row), self.folder) | changes

    def card(self, kind: str, name: str) -> dict[str, Any]:
        """What a stage says of its result: of `tiles`, `teachers` or `features`."""
        return dict(read_json(self.folder / "results" / kind / f"{name}.json"))

    def foreign(self, name: str = "theirs", network: str = "test_resnet", **settings: Any) -> Path:
        """Add a teacher of origin file with random weights of a timm network; its file."""
        facts = {"network": network, "taps": [2], "bands": ["red", "green", "nir"], "statistics": "task"} | settings
        path = self.folder / str(facts.get("file", FOREIGN["file"]))
        torch.manual_seed(0)
        save_weights(path, create_network(network, facts.get("arguments", {})), {})
        self.change("teachers", **{name: FOREIGN | {"sha256": sha256_file(path)} | facts})
        return path

    def written(self) -> list[str]:
        """All results of teachers and features, and whatever lies half-written beside them or waits to be resumed."""
        folders = [self.folder / "results" / name for name in ("teachers", "features", "resume")]
        return sorted(str(path.relative_to(self.folder)) for folder in folders for path in folder.rglob("*") if path.is_file())


def make_workshop(folder: Path) -> Workshop:
    """A workshop with all rasters and tiles and no teacher yet."""
    (folder / "params.yaml").write_text(yaml.safe_dump(_values(), sort_keys=False))
    workshop = Workshop(folder)
    for source in ("corpus", "crosscity", "allweather"):
        workshop.run("fetch", source)
    for task in ("corpus", "city", "radar", "pairs"):
        workshop.run("tile", task)
    return workshop
