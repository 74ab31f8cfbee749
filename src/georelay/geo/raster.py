"""GeoTIFF in and out; the only module that knows rasterio.

What is written is the same to the byte whenever its content is. Files that cannot be read end in a UserError that
names them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from georelay.errors import UserError
from georelay.files import replacing
from georelay.geo.grid import Grid, Transform
from georelay.geo.palette import Colour, colour_table

# Level 1: 5 ms for four bands of 256 x 256 where 9 takes 40 ms for 3 % less. zstd is faster still, but not every
# reader of TIFF has it, and these files are meant to be opened.
LEVEL = 1
TILED_FROM = 1024  # pixels a side: small rasters are read whole, large ones in windows
BLOCK = 256
METRES_PER_DEGREE = 111_320.0


def write_raster(
    path: Path,
    array: np.ndarray,
    *,
    transform: Transform,
    crs: str | None,
    nodata: float | None,
    band_names: Sequence[str] = (),
    colours: Sequence[Colour] | None = None,
    class_names: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write [band, y, x] as a losslessly compressed GeoTIFF, whole or not at all."""
    profile = _profile(array, transform, crs, nodata)
    with (
        replacing(Path(path)) as temporary,
        _guarded(path, "cannot be written"),
        rasterio.open(temporary, "w", **profile) as raster,
    ):
        _describe(raster, nodata, band_names, colours, class_names, tags)
        raster.write(array)


def write_cog(
    path: Path,
    values: np.ndarray,
    *,
    transform: Transform,
    crs: str | None,
    nodata: int,
    colours: Sequence[Colour] | None = None,
    class_names: Sequence[str] = (),
    band: str = "class",
    scale: float = 1.0,
) -> None:
    """Write [y, x] as a Cloud-Optimised GeoTIFF with overviews: classes with their palette, or numbers to be scaled."""
    layout = {"driver": "COG", "compress": "deflate", "level": LEVEL, "blocksize": BLOCK}
    # Overviews of classes must hold classes: the most frequent one, never a mean.
    layout |= {"overview_resampling": "average" if colours is None else "mode"}
    with (
        replacing(Path(path)) as temporary,
        _guarded(path, "cannot be written"),
        rasterio.open(temporary, "w", **_facts(values[None], transform, crs, nodata), **layout) as raster,
    ):
        _describe(raster, nodata, (band,), colours, class_names, None)
        if scale != 1:
            raster.scales = (scale,)
        raster.write(values[None])


def open_grid(path: Path) -> Grid:
    """The grid of a raster file; nothing is read but its header."""
    with _opened(path) as raster:
        crs = _crs_text(raster.crs)
        transform: Transform = tuple(raster.transform)[:6]
        return Grid(raster.height, raster.width, transform, crs, raster.count, raster.dtypes[0], raster.nodata)


def read_window(path: Path, row: int, col: int, height: int, width: int) -> np.ndarray:
    """The pixels [band, y, x] of a window that lies inside the raster."""
    with _opened(path) as raster:
        if row < 0 or col < 0 or row + height > raster.height or col + width > raster.width:
            window = f"rows {row}-{row + height}, columns {col}-{col + width}"
            raise UserError(f"has {raster.height} x {raster.width} pixels, {window} were asked for", path)
        array: np.ndarray = raster.read(window=Window(col, row, width, height))
        return array


def read_tags(path: Path) -> dict[str, str]:
    """The metadata of a raster file, class names among them (`class_0`, `class_1`, ...)."""
    with _opened(path) as raster:
        return dict(raster.tags())


def _profile(array: np.ndarray, transform: Transform, crs: str | None, nodata: float | None) -> dict[str, Any]:
    profile = {"driver": "GTiff", "interleave": "band", "compress": "deflate", "zlevel": LEVEL}
    if max(array.shape[1:]) >= TILED_FROM:
        profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    return _facts(array, transform, crs, nodata) | profile


def _facts(array: np.ndarray, transform: Transform, crs: str | None, nodata: float | None) -> dict[str, Any]:
    count, height, width = array.shape
    facts = {"count": count, "height": height, "width": width, "dtype": array.dtype.name}
    return facts | {"transform": Affine(*transform), "crs": _crs(crs), "nodata": nodata}


@lru_cache(maxsize=64)
def _crs(text: str | None) -> CRS | None:
    # Looking a CRS up takes longer than writing a small raster.
    return CRS.from_string(text) if text else None


@lru_cache(maxsize=64)
def _crs_text(crs: CRS | None) -> str | None:
    return crs.to_string() if crs else None


def _describe(
    raster: Any,
    nodata: float | None,
    band_names: Sequence[str],
    colours: Sequence[Colour] | None,
    class_names: Sequence[str] | None,
    tags: Mapping[str, str] | None,
) -> None:
    # Before the pixels: GDAL would otherwise rewrite the header at the end of the file.
    if colours is not None:
        raster.write_colormap(1, colour_table(colours, None if nodata is None else int(nodata)))
    for index, name in enumerate(band_names, start=1):
        raster.set_band_description(index, name)
    names = {f"class_{value}": name for value, name in enumerate(class_names or ())}
    if names or tags:
        raster.update_tags(**names, **dict(tags or {}))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A raster open for reading."""
    if not Path(path).is_file():
        raise UserError("raster is missing", path)
    with _guarded(path, "is not a readable raster, or is cut short"), rasterio.open(path) as raster:
        yield raster


@contextmanager
def _guarded(path: Path, complaint: str) -> Iterator[None]:
    """GDAL's complaints as a UserError; a picture without georeference is nothing to warn of, it has its grid of pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    except RasterioError as error:
        raise UserError(f"{complaint} ({error})", path, "fetch it again, or check the disk") from error


def crs_wkt(crs: str | None) -> str:
    """Well-known text of a CRS given as a code or text; empty when there is none."""
    return "" if crs is None else str(CRS.from_user_input(crs).to_wkt(version="WKT2_2019"))


def metres_per_unit(crs: str | None, latitude: float) -> tuple[float, float]:
    """Metres per unit along x and y; `latitude` matters for degrees only. Pixels without a CRS count as metres."""
    if crs is None:
        return 1.0, 1.0
    known = CRS.from_user_input(crs)
    if known.is_geographic:
        return METRES_PER_DEGREE * math.cos(math.radians(latitude)), METRES_PER_DEGREE
    return (float(known.units_factor[1]),) * 2
