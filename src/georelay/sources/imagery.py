"""Images of one sensor: what their files must be, and what is kept of them.

Pixels are kept as they are, with two exceptions: linear power of radar becomes dB, and where blank pixels mark margins they
become NaN. What is kept then is float32, and needs no number that stands for nodata.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from georelay.errors import UserError
from georelay.geo.decibel import to_db
from georelay.geo.grid import Grid
from georelay.geo.raster import open_grid


def check_settings(sheet: Any, grid: Grid, where: str) -> None:
    """Numbers that the images can hold, and a floor where there is power."""
    if (sheet.unit == "power") != (sheet.floor_db is not None):
        what = "is missing, and zero power has no dB" if sheet.unit == "power" else f"is of no use with unit {sheet.unit}"
        raise UserError(what, f"{where}.floor_db", "unit power has a floor, -40 for instance, and no other has one")
    for key in ("nodata", "blank"):
        _check_number(getattr(sheet, key), np.dtype(grid.dtype), f"{where}.{key}")


def _check_number(value: float | None, kind: np.dtype, where: str) -> None:
    if value is None or kind.kind == "f":
        return
    if value != int(value) or not np.iinfo(kind).min <= value <= np.iinfo(kind).max:
        raise UserError(f"{value:g} is no value of {kind}", where, "null: there is none")


def check_image(path: Path, sheet: Any, first: Grid, first_path: Path) -> Grid:
    """The grid of an image that has its modality's bands and type."""
    grid = open_grid(path)
    if grid.count != len(sheet.bands):
        raise UserError(f"has {grid.count} bands, not {len(sheet.bands)}: {', '.join(sheet.bands)}", path)
    if grid.dtype != first.dtype:
        raise UserError(f"is of {grid.dtype}, but {first_path} of {first.dtype}", path, "bring all images to one type")
    return grid


def facts(sheet: Any, dtype: str) -> dict[str, Any]:
    """What is said of a modality whose files are of `dtype`, once it is kept."""
    converted: dict[str, Any] = {"dtype": "float32", "nodata": None} if _converts(sheet) else {}
    converted |= {"scale": 1.0, "unit": "dB"} if sheet.unit == "power" else {}
    plain = {"bands": sheet.bands, "dtype": dtype, "scale": sheet.scale, "nodata": sheet.nodata, "unit": sheet.unit}
    return plain | converted


def kept(pixels: np.ndarray, sheet: Any) -> np.ndarray:
    """The pixels [band, y, x] of a file as they are kept."""
    if not _converts(sheet):
        return pixels
    values = to_db(pixels * sheet.scale, sheet.floor_db) if sheet.unit == "power" else pixels
    result: np.ndarray = np.where(_measured(pixels, sheet), values, np.nan).astype(np.float32)
    return result


def _converts(sheet: Any) -> bool:
    return sheet.unit == "power" or sheet.blank is not None


def _measured(pixels: np.ndarray, sheet: Any) -> np.ndarray:
    """Where every band has a number that is not nodata, and not all are blank, as (1, y, x)."""
    missing = ~np.isfinite(pixels).all(axis=0, keepdims=True)
    if sheet.nodata is not None:
        missing |= (pixels == sheet.nodata).any(axis=0, keepdims=True)
    for blank in {0.0 if sheet.unit == "power" else sheet.blank, sheet.blank} - {None}:
        missing |= (pixels == blank).all(axis=0, keepdims=True)
    return np.asarray(~missing)
