"""A folder of the user's own: images and labels in pairs of one name, in a folder for each split.

Everything is looked at before anything is written. Images that lie somewhere on the ground stay there; others (PNG,
plain TIFF) are laid side by side, in metres of a local frame where their pixels have a size, else in pixels.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from georelay.errors import UserError
from georelay.geo.grid import Grid, Transform
from georelay.geo.raster import open_grid, read_window, write_raster
from georelay.progress import Progress
from georelay.sources.receipt import SPLITS, Receipt, Scene

DOMAIN = "main"
# As GDAL gives it back from a GeoTIFF.
UNPLACED = (
    'LOCAL_CS["No known place on the ground",UNIT["metre",1,AUTHORITY["EPSG","9001"]],'
    'AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
GAP = 10_000.0  # between scenes that are laid out: no task's buffer between splits may reach from one to another


@dataclass(frozen=True)
class Pair:
    """An image, its label, and what they are for."""

    split: str
    image: Path
    label: Path

    @property
    def name(self) -> str:
        """What the scene is called."""
        return f"{self.split}-{self.image.stem}"


def estimate_bytes(source: Any) -> int:
    """An upper bound of what the rasters take on the disk."""
    grids = [open_grid(pair.image) for pair in find_pairs(source)]
    pixels = sum(grid.height * grid.width * (1 + grid.count * np.dtype(grid.dtype).itemsize) for grid in grids)
    return int(1.1 * (pixels + 4096 * len(grids)))


def write_source(name: str, source: Any, folder: Path) -> Receipt:
    """Check every pair, then write all of them into `folder`; the receipt still lacks the files' digests."""
    pairs = find_pairs(source)
    grids = _checked(name, source, pairs)
    modality = {"bands": source.bands, "dtype": grids[0].dtype, "scale": source.scale}
    modality |= {"nodata": source.nodata, "unit": source.unit}
    places, crs = _places(grids, source.gsd)
    scenes = []
    with Progress(f"fetch {name}", len(pairs), "scenes") as bar:
        for pair, grid, transform in zip(pairs, grids, places, strict=True):
            scenes.append(_write_scene(source, pair, grid, {"transform": transform, "crs": crs}, folder))
            bar.advance()
    classes = tuple({"name": entry.name, "colour": list(entry.colour)} for entry in source.classes)
    about = (source.licence, source.url, classes, source.ignore, {source.modality: modality}, crs)
    return Receipt(name, "folder", *about, tuple(scenes))


def find_pairs(source: Any) -> list[Pair]:
    """Every image with its label, split by split and by name; what is missing or there twice is a UserError."""
    if not Path(source.path).is_dir():
        raise UserError("folder is missing", source.path, _remedy(source))
    pairs: list[Pair] = []
    for split in SPLITS:
        inner = getattr(source.splits, split)
        pairs += [] if inner is None else _pairs_of(source, split, inner)
    seen: dict[Path, str] = {}
    for pair in pairs:
        if seen.setdefault(pair.image, pair.split) != pair.split:
            what = f"is for {seen[pair.image]} and for {pair.split}"
            raise UserError(what, pair.image, "give each split a folder of its own in `splits`, and `{split}` in `images`")
    return pairs


def _remedy(source: Any) -> str:
    """How to get the files and where to put them, in words."""
    size = f" ({source.download})" if source.download else ""
    get = f"download {source.url}{size}, and unpack it" if source.url else "put your files there"
    inner = source.splits.train
    return f"{get} so that {_at(source, source.images, inner)} and {_at(source, source.labels, inner)} are found"


def _at(source: Any, pattern: str, inner: str) -> Path:
    return Path(source.path) / pattern.replace("{split}", inner)


def _pairs_of(source: Any, split: str, inner: str) -> list[Pair]:
    images, labels = (_files(source, pattern, inner) for pattern in (source.images, source.labels))
    if not images:
        raise UserError(f"no image for split {split}", _at(source, source.images, inner), _remedy(source))
    for have, lack, word, pattern in (
        (images, labels, "label", source.labels),
        (labels, images, "image", source.images),
    ):
        if alone := sorted(have.keys() - lack.keys()):
            more = f", nor have {len(alone) - 1} others" if len(alone) > 1 else ""
            raise UserError(
                f"has no {word}{more}", have[alone[0]], f"a {word} of the same name is expected at {_at(source, pattern, inner)}"
            )
    return [Pair(split, images[stem], labels[stem]) for stem in sorted(images)]


def _files(source: Any, pattern: str, inner: str) -> dict[str, Path]:
    """Files of a pattern by their names without ending; hidden ones, as some archives hold, are none."""
    found: dict[str, Path] = {}
    for name in sorted(glob.iglob(pattern.replace("{split}", inner), root_dir=source.path, recursive=True)):
        path = Path(source.path) / name
        if found.setdefault(path.stem, path) != path:
            raise UserError(
                f"has the same name as {found[path.stem]}", path, "scenes are told apart by the names of their images"
            )
    return found


def _checked(name: str, source: Any, pairs: Sequence[Pair]) -> list[Grid]:
    """The grids of all images, when nothing is wrong with any pair."""
    if source.ignore < len(source.classes):
        raise UserError(f"{source.ignore} is the value of a class", f"params.yaml: sources.{name}.ignore", "255 is usual")
    first = open_grid(pairs[0].image)
    _check_nodata(source, first, name)
    grids = []
    with Progress(f"check {name}", len(pairs), "scenes") as bar:
        for pair in pairs:
            grids.append(_check_image(pair.image, source, first, pairs[0].image))
            _check_label(pair, grids[-1], source)
            bar.advance()
    return grids


def _check_nodata(source: Any, grid: Grid, name: str) -> None:
    kind = np.dtype(grid.dtype)
    if source.nodata is None or kind.kind == "f":
        return
    if source.nodata != int(source.nodata) or not np.iinfo(kind).min <= source.nodata <= np.iinfo(kind).max:
        raise UserError(f"{source.nodata:g} is no value of {kind}", f"params.yaml: sources.{name}.nodata", "null: there is none")


def _check_image(path: Path, source: Any, first: Grid, first_path: Path) -> Grid:
    grid = open_grid(path)
    if grid.count != len(source.bands):
        raise UserError(f"has {grid.count} bands, not {len(source.bands)}: {', '.join(source.bands)}", path)
    if grid.dtype != first.dtype:
        raise UserError(f"is of {grid.dtype}, but {first_path} of {first.dtype}", path, "bring all images to one type")
    if grid.crs != first.crs:
        what = f"has CRS {grid.crs}, but {first_path} {first.crs}"
        raise UserError(what, path, "reproject the images to one CRS, or make a source for each")
    return grid


def _check_label(pair: Pair, image: Grid, source: Any) -> None:
    """One band of classes on the image's pixels; a label without a CRS lies where its image does."""
    path, grid = pair.label, open_grid(pair.label)
    if grid.count != 1 or np.dtype(grid.dtype).kind not in "ui":
        hint = "save the classes' numbers, as a grey or a palette image"
        raise UserError(f"labels must be one band of integers, not {grid.count} of {grid.dtype}", path, hint)
    if (grid.height, grid.width) != (image.height, image.width):
        what = f"has {grid.width} x {grid.height} pixels, its image {image.width} x {image.height}"
        raise UserError(what, path, f"compare it with {pair.image}")
    if image.crs and grid.crs and (difference := grid.difference(image)):
        raise UserError(f"does not lie on the grid of {pair.image}: {difference}", path, "resample one to the other")
    label, count = _pixels(path, grid)[0], len(source.classes)
    wrong = (label != source.ignore) & ((label < 0) | (label >= count))
    if wrong.any():
        values = ", ".join(map(str, np.unique(label[wrong])[:5]))
        what = f"label value {values} is not in the class list: {count} classes (0 to {count - 1}), ignore {source.ignore}"
        raise UserError(what, path, "add the class to the source, or map the value to the ignored one")


def _pixels(path: Path, grid: Grid) -> np.ndarray:
    return read_window(path, 0, 0, grid.height, grid.width)


def _places(grids: Sequence[Grid], gsd: float | None) -> tuple[list[Transform], str | None]:
    """Where the scenes lie, and in which CRS: where their images say, else in a square with room between."""
    if grids[0].crs:
        return [grid.transform for grid in grids], grids[0].crs
    pixel = gsd or 1.0
    pitch = max(max(grid.height, grid.width) for grid in grids) * pixel + GAP
    columns = math.ceil(math.sqrt(len(grids)))
    corners = [(index % columns * pitch, -(index // columns) * pitch) for index in range(len(grids))]
    return [(pixel, 0.0, left, 0.0, -pixel, top) for left, top in corners], UNPLACED if gsd else None


def _write_scene(source: Any, pair: Pair, grid: Grid, place: Mapping[str, Any], folder: Path) -> Scene:
    image, label = (f"{pair.name}/{kind}.tif" for kind in (source.modality, "label"))
    tags = {"modality": source.modality, "unit": source.unit, "scale": str(source.scale)}
    about: dict[str, Any] = {"nodata": source.nodata, "band_names": source.bands, "tags": tags}
    write_raster(folder / image, _pixels(pair.image, grid), **place, **about)
    colours, names = [entry.colour for entry in source.classes], [entry.name for entry in source.classes]
    about = {"nodata": source.ignore, "band_names": ["class"], "colours": colours, "class_names": names}
    write_raster(folder / label, _pixels(pair.label, grid).astype(np.uint8), **place, **about)
    return Scene(pair.name, pair.split, DOMAIN, {source.modality: image}, label)
