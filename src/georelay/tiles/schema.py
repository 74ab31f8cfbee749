"""Names, dimensions and attributes of a tile store, as plain values; nothing here reads or writes.

A store holds one array per modality, `label` and `valid`, chunked one tile at a time, and small arrays that say for
each tile where it lies and what it is for. CF and GeoZarr attributes come from one function, because GeoZarr still
moves: `GEOZARR` names the version that is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA = 1  # raise when a reader of older stores would misunderstand newer ones
GEOZARR = "v0.1"
SPLITS = ("train", "val", "test")

LABEL, VALID, GRID = "label", "valid", "spatial_ref"
TABLE = {
    "scene": "index into the scenes of the attributes",
    "row": "first raster row of the tile",
    "col": "first raster column of the tile",
    "transform": "affine transform of the tile: x = a*column + b*row + c, y = d*column + e*row + f",
    "split": "what the tile is for",
    "domain": "index into the domains of the attributes",
    "rank": "place in the fixed random order of labelled training tiles of its domain; -1: none",
}

_CONVENTIONS = (
    ("proj", "f17cb550-5864-4468-aeb7-f3180cfb622f", "Coordinate reference system information for geospatial data"),
    ("spatial", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
)


def band_dimension(modality: str) -> str:
    """The name of a modality's band axis; band counts differ between modalities, so each has its own."""
    return f"{modality}_band"


def flags(names: Sequence[str]) -> dict[str, Any]:
    """CF attributes of an array of small codes: what each value means."""
    return {"flag_values": list(range(len(names))), "flag_meanings": " ".join(name.replace(" ", "_") for name in names)}


def modality_attributes(facts: Mapping[str, Any]) -> dict[str, Any]:
    """CF attributes of a modality: raw values stay as the raster had them, readers may scale and mask."""
    attributes: dict[str, Any] = {"units": facts["unit"], "band_names": list(facts["bands"]), "grid_mapping": GRID}
    if facts["scale"] != 1:
        attributes["scale_factor"] = float(facts["scale"])
    return attributes


def geo_attributes(
    crs: str | None, wkt: str, pixel: tuple[float, float] | None, side: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attributes of the `spatial_ref` variable (CF) and of the group (GeoZarr conventions proj and spatial).

    Both describe the frame of one tile: x and y count from its first corner, the array `transform` puts it on the
    ground. `pixel` is the step along x and y, or None where tiles differ in it.
    """
    cf: dict[str, Any] = {"comment": "x and y count from each tile's first corner; `transform` places the tile"}
    group: dict[str, Any] = {
        "zarr_conventions": [_convention(*entry) for entry in _CONVENTIONS],
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [side, side],
        "spatial:registration": "pixel",
    }
    if pixel is not None:
        group["spatial:transform"] = [pixel[0], 0.0, 0.0, 0.0, pixel[1], 0.0]
        cf["GeoTransform"] = f"0.0 {pixel[0]!r} 0.0 0.0 0.0 {pixel[1]!r}"
    if crs is not None:
        cf |= {"crs_wkt": wkt, "spatial_ref": wkt}
        is_code = crs.replace(":", "", 1).isalnum() and crs.count(":") == 1
        group |= {"proj:code": crs} if is_code else {"proj:wkt2": wkt}
    return cf, group


def _convention(name: str, uuid: str, description: str) -> dict[str, str]:
    home = f"zarr-conventions/{name}"
    return {
        "name": name,
        "uuid": uuid,
        "schema_url": f"https://raw.githubusercontent.com/{home}/refs/tags/{GEOZARR}/schema.json",
        "spec_url": f"https://github.com/{home}/blob/{GEOZARR}/README.md",
        "description": description,
    }
