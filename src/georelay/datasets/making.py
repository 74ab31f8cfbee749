"""Tiny made-up files for `fake`: labels in which every value occurs, pictures, and rasters that lie somewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from georelay.files import write_json
from georelay.geo.raster import write_raster

Shape = tuple[int, int]
ORIGIN = (500_000.0, 4_000_000.0)  # of the first scene


def mixed(rng: np.random.Generator, values: Sequence[int], shape: Shape) -> np.ndarray:
    """Labels [y, x] in which each value occurs equally often, in no order."""
    found: np.ndarray = rng.permutation(np.resize(np.array(values), math.prod(shape))).reshape(shape)
    return found


def values_of(source: Mapping[str, Any]) -> list[int]:
    """Every number that is a class in the label files."""
    listed = [(entry.get("value", place), *entry.get("also", ())) for place, entry in enumerate(source["classes"])]
    return [value for values in listed for value in values]


def colours_of(source: Mapping[str, Any]) -> np.ndarray:
    """The classes' colours [class, 3]."""
    return np.array([entry["colour"] for entry in source["classes"]], np.uint8)


def picture(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """An image [y, x, 3] of 8 bits."""
    return rng.integers(0, 256, (*shape, 3)).astype(np.uint8)


def sensed(rng: np.random.Generator, bands: int, shape: Shape) -> np.ndarray:
    """Reflectance [band, y, x] in ten-thousandths."""
    return rng.integers(1, 9000, (bands, *shape)).astype(np.uint16)


def backscatter(rng: np.random.Generator, bands: int, shape: Shape, margin: float = np.nan) -> np.ndarray:
    """Radar [band, y, x] in dB; the first column was not seen."""
    image = rng.normal(-12, 3, (bands, *shape)).astype(np.float32)
    image[:, :, 0] = margin
    return image


def save_picture(path: Path, pixels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """An image file without a place, in the format of its ending; with a palette pixels are numbers of colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette.reshape(-1).tolist())
    image.save(path)


def save_raster(
    path: Path,
    pixels: np.ndarray,
    number: int,
    crs: str = "EPSG:32631",
    gsd: float = 10.0,
    origin: tuple[float, float] = ORIGIN,
) -> None:
    """A GeoTIFF [band, y, x]; scenes of other numbers lie 100 pixels further east."""
    place = (gsd, 0.0, origin[0] + 100 * gsd * number, 0.0, -gsd, origin[1])
    write_raster(path, pixels, transform=place, crs=crs, nodata=None)


def save_house(path: Path, number: int, gsd: float, origin: tuple[float, float] = ORIGIN, crs: str = "EPSG::32631") -> None:
    """A GeoJSON with one building of two by three pixels in the upper left corner of such a raster."""
    left, top = origin[0] + 100 * gsd * number, origin[1]
    corners = ((0, 0), (3, 0), (3, -2), (0, -2), (0, 0))
    ring = [[left + gsd * x, top + gsd * y] for x, y in corners]
    house = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    system = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs}"}}
    write_json(path, {"type": "FeatureCollection", "crs": system, "features": [house]})


def save_palette_pair(
    folder: Path, source: Mapping[str, Any], split: str, stem: str, rng: np.random.Generator, side: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """An image and its palette label of a folder split; their pixels. Squares of 8, and bright means a high class."""
    count = len(source["classes"])
    label = np.kron(mixed(rng, range(count), (side // 8, side // 8)), np.ones((8, 8), int)).astype(np.uint8)
    image = (label[..., None] * (200 // count) + rng.integers(0, 40, (side, side, 3))).astype(np.uint8)
    where = [folder / source[kind].replace("{split}", split).replace("*", stem) for kind in ("images", "labels")]
    save_picture(where[0], image)
    save_picture(where[1], label, colours_of(source))
    return image, label
