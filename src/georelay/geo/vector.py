"""Shapes of vector files burnt onto the pixels of an image; the only module that knows pyogrio.

Whatever GDAL reads will do (GeoPackage, GeoJSON, Shapefile, FlatGeobuf, ...), points, lines and polygons. What is read
last is kept: one file may hold the labels of all scenes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pyogrio import read_bounds, read_info
from pyogrio.errors import DataLayerError, DataSourceError
from pyogrio.raw import read
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform_bounds, transform_geom

from georelay.errors import UserError
from georelay.geo.grid import Grid

POINT, LINE, POLYGON, COLLECTION = 1, 2, 3, 7
KINDS = {POINT: "Point", LINE: "LineString", POLYGON: "Polygon", 4: "MultiPoint", 5: "MultiLineString", 6: "MultiPolygon"}
KINDS |= {COLLECTION: "GeometryCollection"}
HEADER = "<BII"  # byte order (GDAL gives little-endian), kind, number of parts
STEPS = 21  # points along each side of a box that is carried into another CRS


@dataclass(frozen=True, eq=False)
class Shapes:
    """The shapes of a file (well-known binary) in its own CRS, their boxes as (left, bottom, right, top), a column of values."""

    path: Path
    crs: str | None
    shapes: np.ndarray
    boxes: np.ndarray
    values: np.ndarray

    def near(self, grid: Grid) -> np.ndarray:
        """Which shapes may lie on the grid, in their order: their boxes meet its own."""
        if not len(self.shapes):
            return np.zeros(0, int)
        if self.crs is None:
            raise UserError("has no CRS", self.path, "shapes without one cannot be laid on an image: assign it and save again")
        left, bottom, right, top = transform_bounds(grid.crs, self.crs, *grid.bounds, densify_pts=STEPS)
        west, south, east, north = self.boxes  # NaN, which is near nothing, of features without a shape
        return np.flatnonzero((west <= right) & (east >= left) & (south <= top) & (north >= bottom))


@lru_cache(maxsize=1)
def read_shapes(path: Path, attribute: str | None = None) -> Shapes:
    """The shapes of the first layer of a file; values are None without an attribute."""
    with _guarded(path):
        columns = list(read_info(path)["fields"])
        meta, _, shapes, values = read(path, columns=[attribute] if attribute in columns else [], force_2d=True)
        boxes = read_bounds(path)[1]
    if attribute and attribute not in columns and len(shapes):  # a scene without shapes may lack columns, too
        raise UserError(f'has no column "{attribute}"', path, f"it has {', '.join(columns) or 'none'}")
    return Shapes(path, meta["crs"], shapes, boxes, values[0] if values else np.full(len(shapes), None))


def read_columns(path: Path) -> list[str]:
    """The columns of a vector file."""
    with _guarded(path):
        return [str(name) for name in read_info(path)["fields"]]


def burn(shapes: Shapes, chosen: np.ndarray, numbers: np.ndarray, outside: int, grid: Grid, all_touched: bool) -> np.ndarray:
    """Numbers [y, x] of a grid's pixels: that of the last of the chosen shapes there, or `outside`."""
    if not len(chosen):
        return np.full((grid.height, grid.width), outside, np.uint8)
    plain = [_parsed(shapes.shapes[index], 0, shapes.path)[0] for index in chosen]
    with _guarded(shapes.path):
        laid = transform_geom(shapes.crs, grid.crs, plain)
        burnt: np.ndarray = rasterize(
            list(zip(laid, numbers.tolist(), strict=True)),
            out_shape=(grid.height, grid.width),
            transform=Affine(*grid.transform),
            fill=outside,
            dtype="uint8",
            all_touched=all_touched,
        )
    return burnt


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """What GDAL cannot read, or not carry into the image's CRS, as a UserError."""
    if not Path(path).is_file():
        raise UserError("vector file is missing", path)
    try:
        yield
    except (DataSourceError, DataLayerError, RasterioError) as error:
        raise UserError(f"cannot be used ({error})", path, "open it in QGIS and save it as GeoPackage") from error


def _parsed(data: bytes, at: int, path: Path) -> tuple[dict[str, Any], int]:
    """Well-known binary of two dimensions as GeoJSON, and where it ends."""
    _, kind, count = struct.unpack_from(HEADER, data, at)
    if kind not in KINDS:
        raise UserError(f"has shapes of kind {kind} of well-known binary", path, "turn curves and surfaces into polygons")
    if kind == POINT:
        return {"type": KINDS[kind], "coordinates": struct.unpack_from("<2d", data, at + 5)}, at + 21
    at += struct.calcsize(HEADER)
    if kind == LINE:
        points, at = _points(data, at, count)
        return {"type": KINDS[kind], "coordinates": points}, at
    parts: list[Any] = []
    for _ in range(count):
        part: Any
        if kind == POLYGON:
            part, at = _points(data, at + 4, struct.unpack_from("<I", data, at)[0])
        else:
            part, at = _parsed(data, at, path)
        parts.append(part if kind in (POLYGON, COLLECTION) else part["coordinates"])
    return {"type": KINDS[kind], "geometries" if kind == COLLECTION else "coordinates": parts}, at


def _points(data: bytes, at: int, count: int) -> tuple[list[tuple[float, ...]], int]:
    return [*map(tuple, np.frombuffer(data, "<f8", 2 * count, at).reshape(count, 2).tolist())], at + 16 * count
