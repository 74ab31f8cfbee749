"""A folder of the user's own becomes rasters: of each scene an image of every modality, and a label.

Everything is looked at before anything is written. Images that lie somewhere on the ground stay there; others (PNG,
plain TIFF, domains of several CRS) are laid side by side, in metres of a local frame where their pixels have a size, else
in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from georelay.domains import of_domain
from georelay.errors import UserError
from georelay.geo.grid import SAME_SCENE, Grid, Transform
from georelay.geo.raster import open_grid, write_raster
from georelay.progress import Progress
from georelay.sources.encoding import check_encoding, check_kind, read_classes, read_whole
from georelay.sources.imagery import check_image, check_settings, facts, kept
from georelay.sources.looks import look_of, read_looks
from georelay.sources.pairs import Pair, find_pairs
from georelay.sources.polygons import burnt_classes
from georelay.sources.receipt import Receipt, Scene

POOL = "train"  # what scenes are for that the source does not split; a task's rule must
# As GDAL gives it back from a GeoTIFF.
UNPLACED = (
    'LOCAL_CS["No known place on the ground",UNIT["metre",1,AUTHORITY["EPSG","9001"]],'
    'AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
GAP = 10_000.0  # between scenes that are laid out: no task's buffer between splits may reach from one to another


def estimate_bytes(source: Any) -> int:
    """An upper bound of what the rasters take on the disk."""
    images = [(open_grid(path), source.imagery[name]) for pair in find_pairs(source) for name, path in pair.images.items()]
    pixels = sum(
        grid.height * grid.width * (1 + grid.count * np.dtype(facts(sheet, grid.dtype)["dtype"]).itemsize)
        for grid, sheet in images
    )
    return int(1.1 * (pixels + 4096 * len(images)))


def write_source(name: str, source: Any, folder: Path) -> Receipt:
    """Check every pair, then write all of them into `folder`; the receipt still lacks the files' digests."""
    pairs = find_pairs(source)
    looks = _looks(source, pairs)
    grids = _checked(name, source, pairs)
    modalities = {key: facts(sheet, open_grid(pairs[0].images[key]).dtype) for key, sheet in source.imagery.items()}
    places, crs = _places(grids, [of_domain(source.gsd, pair.part.place) for pair in pairs], f"params.yaml: sources.{name}.gsd")
    scenes = []
    with Progress(f"fetch {name}", len(pairs), "scenes") as bar:
        for pair, transform in zip(pairs, places, strict=True):
            scene = _write_scene(source, modalities, pair, {"transform": transform, "crs": crs}, folder)
            scenes.append(replace(scene, look=looks.get(pair.key)))
            bar.advance()
    classes = tuple({"name": entry.name, "colour": list(entry.colour)} for entry in source.classes)
    about = (source.licence, source.url, classes, source.ignore, modalities, crs)
    return Receipt(name, source.kind, *about, tuple(scenes))


def _checked(name: str, source: Any, pairs: Sequence[Pair]) -> list[Grid]:
    """The grids of all scenes, when nothing is wrong with any pair."""
    where = f"params.yaml: sources.{name}"
    check_encoding(source, where)
    firsts = {key: (open_grid(path), path) for key, path in pairs[0].images.items()}
    for key, sheet in source.imagery.items():
        check_settings(sheet, firsts[key][0], where if source.kind == "folder" else f"{where}.modalities.{key}")
    grids: list[Grid] = []
    leaders: dict[str, tuple[Path, Grid]] = {}
    with Progress(f"check {name}", len(pairs), "scenes") as bar:
        for pair in pairs:
            grids.append(_check_images(pair, source, firsts))
            _check_crs(pair, source, grids[-1], *leaders.setdefault(pair.part.place, (pair.image, grids[-1])))
            _check_label(pair, grids[-1], source)
            bar.advance()
    return grids


def _looks(source: Any, pairs: Sequence[Pair]) -> dict[str, int]:
    """The look of each scene by its key, where the source tells it."""
    if source.looks is None:
        return {}
    path = Path(source.path) / source.looks
    looks = read_looks(path)
    return {pair.key: look_of(pair.image, pair.key, looks, path) for pair in pairs}


def _check_images(pair: Pair, source: Any, firsts: Mapping[str, tuple[Grid, Path]]) -> Grid:
    """The one grid of a scene's images."""
    grids = {name: check_image(path, source.imagery[name], *firsts[name]) for name, path in pair.images.items()}
    first = next(iter(grids.values()))
    for name, grid in grids.items():
        if difference := grid.difference(first, SAME_SCENE):
            hint = "images of a scene share one grid; coarser ones are not resampled here: take sharpened ones, or resample them"
            raise UserError(f"does not lie on the grid of {pair.image}: {difference}", pair.images[name], hint)
    return first


def _check_crs(pair: Pair, source: Any, grid: Grid, first_path: Path, first: Grid) -> None:
    """One in a domain; or several, where pixels have a known size and scenes are laid side by side."""
    laid = grid.crs and first.crs and of_domain(source.gsd, pair.part.place) is not None
    if grid.crs != first.crs and not laid:
        what = f"has CRS {grid.crs}, but {first_path} {first.crs}"
        raise UserError(what, pair.image, "reproject the images to one CRS, or make a source for each")


def _check_label(pair: Pair, image: Grid, source: Any) -> None:
    """Classes on the image's pixels; a label without a CRS lies where its image does, and polygons where they say."""
    if source.labels_as != "polygons":
        _check_grid(pair, open_grid(pair.label), image, source)
    _classes(pair, image, source)


def _classes(pair: Pair, image: Grid, source: Any) -> np.ndarray:
    if source.labels_as == "polygons":
        return burnt_classes(pair.label, pair.image, image, source)
    return read_classes(pair.label, open_grid(pair.label), source)


def _check_grid(pair: Pair, grid: Grid, image: Grid, source: Any) -> None:
    path = pair.label
    check_kind(path, grid, source)
    if (grid.height, grid.width) != (image.height, image.width):
        what = f"has {grid.width} x {grid.height} pixels, its image {image.width} x {image.height}"
        raise UserError(what, path, f"compare it with {pair.image}")
    if image.crs and grid.crs and (difference := grid.difference(image, SAME_SCENE)):
        raise UserError(f"does not lie on the grid of {pair.image}: {difference}", path, "resample one to the other")


def _places(grids: Sequence[Grid], gsd: Sequence[float | None], where: str) -> tuple[list[Transform], str | None]:
    """Where the scenes lie, and in which CRS: where their images say, else in a square with room between."""
    systems = list(dict.fromkeys(grid.crs for grid in grids))
    if len(systems) == 1 and systems[0]:
        return [grid.transform for grid in grids], systems[0]
    if len(systems) > 1 and None in gsd:
        hint = "say how large pixels are, and scenes are laid side by side; or reproject to one CRS"
        raise UserError(f"domains have CRS {' and '.join(map(str, systems))}", where, hint)
    pixels = [pixel or 1.0 for pixel in gsd]
    pitch = max(max(grid.height, grid.width) * pixel for grid, pixel in zip(grids, pixels, strict=True)) + GAP
    columns = math.ceil(math.sqrt(len(grids)))
    corners = [(index % columns * pitch, -(index // columns) * pitch) for index in range(len(grids))]
    transforms = [(pixel, 0.0, left, 0.0, -pixel, top) for pixel, (left, top) in zip(pixels, corners, strict=True)]
    return transforms, None if None in gsd else UNPLACED


def _write_scene(source: Any, modalities: Mapping[str, Any], pair: Pair, place: Mapping[str, Any], folder: Path) -> Scene:
    images, label = {name: f"{pair.name}/{name}.tif" for name in pair.images}, f"{pair.name}/label.tif"
    for name, path in pair.images.items():
        entry, pixels = modalities[name], kept(read_whole(path, open_grid(path)), source.imagery[name])
        tags = {"modality": name, "unit": entry["unit"], "scale": str(entry["scale"])}
        about: dict[str, Any] = {"nodata": entry["nodata"], "band_names": entry["bands"], "tags": tags}
        write_raster(folder / images[name], pixels, **place, **about)
    colours, names = [entry.colour for entry in source.classes], [entry.name for entry in source.classes]
    about = {"nodata": source.ignore, "band_names": ["class"], "colours": colours, "class_names": names}
    write_raster(folder / label, _classes(pair, open_grid(pair.image), source)[None], **place, **about)
    return Scene(pair.name, pair.part.split or POOL, pair.part.place, images, label)
