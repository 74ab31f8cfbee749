"""The store as an xarray dataset: dimensions, coordinates, attributes and lazy arrays, and its metadata on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from georelay.geo.raster import crs_wkt
from georelay.tiles.schema import GRID, SPLITS, TABLE, VALID, band_dimension, flags, geo_attributes, modality_attributes
from georelay.tiles.selection import Selection
from georelay.tiles.survey import Rasters

ZSTD_LEVEL = 3  # zstd's own default; higher levels gained little on noisy reflectances


def define(rasters: Rasters, selection: Selection, layers: Mapping[str, Any], attrs: Mapping[str, Any]) -> xr.Dataset:
    """The whole store; `layers` are its large arrays, lazy or not."""
    pixel = _common_pixel(rasters)
    cf, group = geo_attributes(rasters.grids[0].crs, crs_wkt(rasters.grids[0].crs), pixel, rasters.tile)
    variables = {name: _layer(rasters, name, layer) for name, layer in layers.items()}
    coordinates = {name: _column(rasters, name, column) for name, column in selection.table.items()}
    for name, facts in rasters.modalities.items():
        dimension = band_dimension(name)
        numbers = np.arange(len(facts["bands"]), dtype=np.uint8)
        coordinates[dimension] = (dimension, numbers, {"long_name": f"bands of {name}"} | flags(facts["bands"]))
    coordinates |= _axes(rasters, pixel) | {GRID: ((), np.int32(0), cf)}
    return xr.Dataset(variables, coordinates, dict(attrs) | group)


def write_metadata(dataset: xr.Dataset, folder: Path, compression: str) -> None:
    """Write everything but the large arrays' chunks as a Zarr 3 folder."""
    # Consolidated metadata is no part of Zarr 3, and this store has a dozen small files anyway.
    encoding = {name: _encoding(variable, compression) for name, variable in dataset.variables.items()}
    dataset.to_zarr(
        folder,
        mode="w",
        zarr_format=3,
        consolidated=False,
        compute=False,
        write_empty_chunks=True,  # a column of zeros is a column, and must be in the file
        encoding=encoding,
    )


def _layer(rasters: Rasters, name: str, layer: Any) -> tuple[Any, ...]:
    if name in rasters.modalities:
        facts = rasters.modalities[name]
        attrs = modality_attributes(facts)
        if facts["nodata"] is not None:
            attrs["_FillValue"] = np.dtype(facts["dtype"]).type(facts["nodata"])
        return ("tile", band_dimension(name), "y", "x"), layer, attrs
    if name == VALID:
        return ("tile", "y", "x"), layer, {"long_name": "every band was measured", "grid_mapping": GRID} | flags(("no", "yes"))
    attrs = {"long_name": "class", "grid_mapping": GRID} | flags(rasters.receipt.class_names)
    return ("tile", "y", "x"), layer, attrs | {"ignored_value": rasters.receipt.ignore}


def _column(rasters: Rasters, name: str, column: np.ndarray) -> tuple[Any, ...]:
    meanings = {"split": SPLITS, "domain": rasters.receipt.domains}.get(name)
    attrs = {"long_name": TABLE[name]} | (flags(meanings) if meanings else {})
    return ("tile", "affine") if name == "transform" else ("tile",), column, attrs


def _axes(rasters: Rasters, pixel: tuple[float, float] | None) -> dict[str, tuple[Any, ...]]:
    """Offsets of pixel centres from the tile's first corner: on the ground where all tiles agree, else in pixels."""
    known = pixel is not None and rasters.grids[0].crs is not None
    centres = np.arange(rasters.tile) + 0.5
    note = f"offset in {'units of the CRS' if known else 'pixels'}"
    steps = zip("xy", pixel if pixel is not None else (1.0, 1.0), strict=True)
    return {axis: (axis, centres * step, {"long_name": note, "axis": axis.upper()}) for axis, step in steps}


def _common_pixel(rasters: Rasters) -> tuple[float, float] | None:
    """The step along x and y, if all scenes have the same one and none is turned, nor its tiles."""
    if rasters.turned.any():
        return None
    steps = np.array([grid.transform for grid in rasters.grids])
    same = np.allclose(steps[:, [0, 4]], steps[0, [0, 4]], rtol=1e-9, atol=0)
    return (float(steps[0, 0]), float(steps[0, 4])) if same and not steps[:, [1, 3]].any() else None


def _encoding(variable: xr.Variable, compression: str) -> dict[str, Any]:
    """Chunks of one tile for large arrays, one chunk for small ones; only large ones are ever compressed."""
    from zarr.codecs import ZstdCodec

    large = variable.chunks is not None
    encoding: dict[str, Any] = {"chunks": (1, *variable.shape[1:]) if large else variable.shape or None}
    encoding["compressors"] = (ZstdCodec(level=ZSTD_LEVEL),) if large and compression == "zstd" else None
    if "_FillValue" in variable.attrs:
        encoding["fill_value"] = variable.attrs["_FillValue"]
    elif "ignored_value" in variable.attrs:
        # Without a `_FillValue` attribute: xarray would make masked floats of the classes.
        encoding["fill_value"] = variable.attrs["ignored_value"]
    elif variable.dtype.kind == "f":
        encoding["_FillValue"] = None
    return encoding
