"""A folder of the user's own: images and labels in pairs of one name, split by folders or by lists, or in one pool.

Everything is looked at before anything is written. Images that lie somewhere on the ground stay there; others (PNG,
plain TIFF, domains of several CRS) are laid side by side, in metres of a local frame where their pixels have a size, else
in pixels.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from georelay.domains import MAIN, of_domain
from georelay.errors import UserError
from georelay.geo.grid import Grid, Transform
from georelay.geo.raster import open_grid, write_raster
from georelay.progress import Progress
from georelay.sources.encoding import check_encoding, check_kind, read_classes, read_whole
from georelay.sources.receipt import SPLITS, Receipt, Scene

POOL = "train"  # what scenes are for that the source does not split; a task's rule must
# As GDAL gives it back from a GeoTIFF.
UNPLACED = (
    'LOCAL_CS["No known place on the ground",UNIT["metre",1,AUTHORITY["EPSG","9001"]],'
    'AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
GAP = 10_000.0  # between scenes that are laid out: no task's buffer between splits may reach from one to another


@dataclass(frozen=True)
class Part:
    """A split and a domain of a source, and how its patterns are filled for them; None where the source does not tell any."""

    split: str | None
    domain: str | None
    filled: Mapping[str, str]
    scenes: frozenset[str] | None  # None: whatever is found

    @property
    def place(self) -> str:
        """The domain's name in settings that differ by domain, and in the receipt."""
        return self.domain or MAIN

    def __str__(self) -> str:
        return " ".join(filter(None, (self.split, self.domain)))

    def fill(self, patterns: str | Mapping[str, str]) -> str:
        """The pattern of this part's domain, with its folders."""
        pattern: str = of_domain(patterns, self.place)
        for key, inner in self.filled.items():
            pattern = pattern.replace(f"{{{key}}}", inner)
        return pattern


@dataclass(frozen=True)
class Pair:
    """An image, its label, what tells them from others, and what they are for."""

    part: Part
    key: str
    image: Path
    label: Path

    @property
    def name(self) -> str:
        """What the scene is called."""
        return "-".join(filter(None, (self.part.split, self.part.domain, self.key)))


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
    places, crs = _places(grids, [of_domain(source.gsd, pair.part.place) for pair in pairs], f"params.yaml: sources.{name}.gsd")
    scenes = []
    with Progress(f"fetch {name}", len(pairs), "scenes") as bar:
        for pair, grid, transform in zip(pairs, grids, places, strict=True):
            scenes.append(_write_scene(source, pair, grid, {"transform": transform, "crs": crs}, folder))
            bar.advance()
    classes = tuple({"name": entry.name, "colour": list(entry.colour)} for entry in source.classes)
    about = (source.licence, source.url, classes, source.ignore, {source.modality: modality}, crs)
    return Receipt(name, "folder", *about, tuple(scenes))


def find_pairs(source: Any) -> list[Pair]:
    """Every image with its label, part by part and by name; what is missing or there twice is a UserError."""
    if not Path(source.path).is_dir():
        raise UserError("folder is missing", source.path, _remedy(source, _parts(source)[0]))
    pairs = [pair for part in _parts(source) for pair in _pairs_of(source, part)]
    seen: dict[Path, Part] = {}
    for pair in pairs:
        if seen.setdefault(pair.image, pair.part) != pair.part:
            what = f"is for {seen[pair.image]} and for {pair.part}"
            hint = "give each a folder of its own in `splits` or `domains`, and `{split}` or `{domain}` in `images`"
            raise UserError(what, pair.image, hint)
    return pairs


def _parts(source: Any) -> list[Part]:
    """Every split that there is, with every domain."""
    splits = {split: getattr(source.splits, split) for split in SPLITS} if source.splits else {None: ""}
    domains = source.domains or {None: ""}
    return [
        _part(split, domain, of_domain(inner, domain or MAIN), place)
        for split, inner in splits.items()
        for domain, place in domains.items()
        if inner is not None
    ]


def _part(split: str | None, domain: str | None, given: str | Sequence[str], place: str) -> Part:
    """`given` is a folder, or a list of scenes."""
    if isinstance(given, str):
        return Part(split, domain, {"split": given, "domain": place}, None)
    return Part(split, domain, {"domain": place}, frozenset(given))


def _remedy(source: Any, part: Part) -> str:
    """How to get the files and where to put them, in words."""
    size = f" ({source.download})" if source.download else ""
    get = f"download {source.url}{size}, and unpack it" if source.url else "put your files there"
    return f"{get} so that {_at(source, source.images, part)} and {_at(source, source.labels, part)} are found"


def _at(source: Any, patterns: str | Mapping[str, str], part: Part) -> Path:
    return Path(source.path) / part.fill(patterns)


def _pairs_of(source: Any, part: Part) -> list[Pair]:
    images, labels = (_files(source, part.fill(pattern)) for pattern in (source.images, source.labels))
    if not images:
        what = f"no image for {'split ' if part.split else ''}{part}" if str(part) else "no image"
        raise UserError(what, _at(source, source.images, part), _remedy(source, part))
    if part.scenes is not None:
        _require_listed(source, part, images)
        images, labels = ({key: files[key] for key in part.scenes & files.keys()} for files in (images, labels))
    for have, lack, word, pattern in (
        (images, labels, "label", source.labels),
        (labels, images, "image", source.images),
    ):
        if alone := sorted(have.keys() - lack.keys()):
            more = f", nor have {len(alone) - 1} others" if len(alone) > 1 else ""
            raise UserError(
                f"has no {word}{more}", have[alone[0]], f"a {word} of the same name is expected at {_at(source, pattern, part)}"
            )
    return [Pair(part, key, images[key], labels[key]) for key in sorted(images)]


def _require_listed(source: Any, part: Part, images: Mapping[str, Path]) -> None:
    if part.scenes and (missing := sorted(part.scenes - images.keys())):
        more = f", nor of {len(missing) - 1} others" if len(missing) > 1 else ""
        what = f'no image of scene "{missing[0]}"{more}, listed in splits.{part.split} of domain {part.place}'
        raise UserError(what, _at(source, source.images, part), _remedy(source, part))


def _files(source: Any, pattern: str) -> dict[str, Path]:
    """Files of a pattern by their keys; hidden ones, as some archives hold, are none."""
    found: dict[str, Path] = {}
    for name in sorted(glob.iglob(pattern, root_dir=source.path, recursive=True)):
        path = Path(source.path) / name
        if found.setdefault(key := _key(path, pattern), path) != path:
            raise UserError(f"has the same name as {found[key]}", path, "scenes are told apart by the names of their images")
    return found


def _key(path: Path, pattern: str) -> str:
    """A file's name without ending, and without what its pattern has before and after a `*`."""
    before, star, after = Path(pattern).stem.partition("*")
    return path.stem.removeprefix(before).removesuffix(after) if star else path.stem


def _checked(name: str, source: Any, pairs: Sequence[Pair]) -> list[Grid]:
    """The grids of all images, when nothing is wrong with any pair."""
    check_encoding(source, f"params.yaml: sources.{name}")
    first = open_grid(pairs[0].image)
    _check_nodata(source, first, name)
    grids: list[Grid] = []
    leaders: dict[str, tuple[Path, Grid]] = {}
    with Progress(f"check {name}", len(pairs), "scenes") as bar:
        for pair in pairs:
            grids.append(_check_image(pair.image, source, first, pairs[0].image))
            _check_crs(pair.image, grids[-1], *leaders.setdefault(pair.part.place, (pair.image, grids[-1])))
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
    return grid


def _check_crs(path: Path, grid: Grid, first_path: Path, first: Grid) -> None:
    """One in a domain."""
    if grid.crs != first.crs:
        what = f"has CRS {grid.crs}, but {first_path} {first.crs}"
        raise UserError(what, path, "reproject the images to one CRS, or make a source for each")


def _check_label(pair: Pair, image: Grid, source: Any) -> None:
    """Classes on the image's pixels; a label without a CRS lies where its image does."""
    path, grid = pair.label, open_grid(pair.label)
    check_kind(path, grid, source)
    if (grid.height, grid.width) != (image.height, image.width):
        what = f"has {grid.width} x {grid.height} pixels, its image {image.width} x {image.height}"
        raise UserError(what, path, f"compare it with {pair.image}")
    if image.crs and grid.crs and (difference := grid.difference(image)):
        raise UserError(f"does not lie on the grid of {pair.image}: {difference}", path, "resample one to the other")
    read_classes(path, grid, source)


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


def _write_scene(source: Any, pair: Pair, grid: Grid, place: Mapping[str, Any], folder: Path) -> Scene:
    image, label = (f"{pair.name}/{kind}.tif" for kind in (source.modality, "label"))
    tags = {"modality": source.modality, "unit": source.unit, "scale": str(source.scale)}
    about: dict[str, Any] = {"nodata": source.nodata, "band_names": source.bands, "tags": tags}
    write_raster(folder / image, read_whole(pair.image, grid), **place, **about)
    colours, names = [entry.colour for entry in source.classes], [entry.name for entry in source.classes]
    about = {"nodata": source.ignore, "band_names": ["class"], "colours": colours, "class_names": names}
    write_raster(folder / label, read_classes(pair.label, grid, source)[None], **place, **about)
    return Scene(pair.name, pair.part.split or POOL, pair.part.place, {source.modality: image}, label)
