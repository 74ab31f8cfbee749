"""Small made-up sources: real GeoTIFFs with known pixels, and the receipt that describes them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from georelay.geo.raster import write_raster
from georelay.sources.receipt import Receipt, Scene

CLASSES = tuple({"name": name, "colour": [40 * i, 0, 0]} for i, name in enumerate(("water", "tall grass", "road")))
MODALITIES = {
    "optical": {"bands": ["red", "nir"], "dtype": "uint16", "scale": 0.0001, "nodata": 0, "unit": "1"},
    "sar": {"bands": ["vv"], "dtype": "float32", "scale": 1.0, "nodata": -9999.0, "unit": "dB"},
}
GSD = 10.0


def make_task(**changes: Any) -> SimpleNamespace:
    """Task settings as the tile stage sees them."""
    split = SimpleNamespace(rule="scene", buffer=0.0, block=None, fractions=None, seed=None, of="all", bins=None, fold=0)
    values = {
        "source": "made",
        "modalities": ["optical", "sar"],
        "tile": 16,
        "stride": 16,
        "edges": "shift",
        "align_look": False,
        "compression": "none",
    }
    return SimpleNamespace(**{**values, "split": split, **changes})


class Source:
    """A folder of scenes under construction."""

    def __init__(self, folder: Path, crs: str | None = "EPSG:32631") -> None:
        self.folder, self.crs = folder, crs
        self.scenes: list[Scene] = []
        self.pixels: dict[str, dict[str, np.ndarray]] = {}

    def add(
        self,
        name: str,
        split: str,
        size: tuple[int, int] = (48, 32),
        at: tuple[float, float] = (500000.0, 4000000.0),
        **changes: Any,
    ) -> None:
        """Write one scene of noise; `changes` may replace optical, sar, label, domain, or a file's transform."""
        rng = np.random.default_rng(len(self.scenes))
        height, width = size
        arrays = {
            "optical": rng.integers(1, 9000, (2, height, width)).astype(np.uint16),
            "sar": rng.normal(-12, 3, (1, height, width)).astype(np.float32),
            "label": rng.integers(0, 3, (1, height, width)).astype(np.uint8),
        }
        arrays |= {key: value for key, value in changes.items() if key in arrays}
        transform = changes.get("transform", (GSD, 0.0, at[0], 0.0, -GSD, at[1]))
        files = {key: f"{name}/{key}.tif" for key in arrays}
        for key, file in files.items():
            place = changes.get(f"{key}_transform", transform)
            write_raster(self.folder / file, arrays[key], transform=place, crs=self.crs, nodata=None)
        images = {key: files[key] for key in MODALITIES}
        self.scenes.append(Scene(name, split, changes.get("domain", "main"), images, files["label"]))
        self.pixels[name] = arrays

    @property
    def receipt(self) -> Receipt:
        """What `fetch` would have written."""
        files = {f: {"size": (self.folder / f).stat().st_size, "sha256": ""} for s in self.scenes for f in s.files}
        facts = {"source": "made", "kind": "synthetic", "licence": "CC0", "url": None, "ignore": 255, "crs": self.crs}
        return Receipt(classes=CLASSES, modalities=deepcopy(MODALITIES), scenes=tuple(self.scenes), files=files, **facts)


def add_three_scenes(source: Source) -> Source:
    """One scene per split, kilometres apart."""
    for index, split in enumerate(("train", "val", "test")):
        source.add(f"{split}-000", split, at=(500000.0 + 10000 * index, 4000000.0))
    return source


def run_tiling(source: Source, task: SimpleNamespace | None, target: Path, **bounds: int) -> dict[str, Any]:
    """The tile stage with small bounds."""
    from georelay.tiles.write import write_tiles

    limits = {"memory_mb": 64, "workers": 1} | bounds
    return write_tiles(source.receipt, source.folder, "made", task or make_task(), target, **limits)


@dataclass(frozen=True)
class Made:
    """A finished store that tests share and must not change."""

    path: Path
    card: dict[str, Any]
    source: Source
