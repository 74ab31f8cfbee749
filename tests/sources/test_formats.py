"""Images and labels may be of any format that GDAL reads; what comes of them is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from own_files import SOURCE

from georelay.geo.raster import read_window
from georelay.reading import validated
from georelay.settings.data import Folder
from georelay.sources.catalog import fetch_source

SIDE = 64
LOSSLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "jp2": ("JP2OpenJPEG", {"quality": 100, "reversible": "YES"}),
    "dat": ("ENVI", {}),
    "bmp": ("BMP", {}),
}


def save(path: Path, pixels: np.ndarray, driver: str, options: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {"driver": "GTiff", "count": len(pixels), "height": SIDE, "width": SIDE, "dtype": "uint8"}
    with rasterio.MemoryFile() as memory:
        with memory.open(**plain) as raster:
            raster.write(pixels)
        with memory.open() as raster:
            rasterio.shutil.copy(raster, path, driver=driver, **options)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("ending", LOSSLESS)
def test_images_and_labels_of_many_formats(tmp_path: Path, ending: str) -> None:
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (3, SIDE, SIDE)).astype(np.uint8), rng.integers(0, 2, (1, SIDE, SIDE)).astype(np.uint8)
    save(tmp_path / f"files/images/a.{ending}", image, *LOSSLESS[ending])
    save(tmp_path / f"files/masks/a.{ending}", label, *LOSSLESS[ending])
    facts = {"path": str(tmp_path / "files"), "images": f"images/*.{ending}", "labels": f"masks/*.{ending}", "splits": None}
    scene = fetch_source("demo", validated(Folder, SOURCE | facts, "demo"), tmp_path).scenes[0]
    assert np.array_equal(read_window(tmp_path / "demo" / scene.images["optical"], 0, 0, SIDE, SIDE), image)
    assert np.array_equal(read_window(tmp_path / "demo" / scene.label, 0, 0, SIDE, SIDE), label)
