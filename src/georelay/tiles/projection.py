"""What a CRS says about itself: its WKT for metadata, and how long its units are."""

from __future__ import annotations

import math

import rasterio.crs

METRES_PER_DEGREE = 111_320.0


def crs_wkt(crs: str | None) -> str:
    """Well-known text of a CRS given as a code or text; empty when there is none."""
    return "" if crs is None else str(rasterio.crs.CRS.from_user_input(crs).to_wkt(version="WKT2_2019"))


def metres_per_unit(crs: str | None, latitude: float) -> tuple[float, float]:
    """Metres per unit along x and y; `latitude` matters for degrees only. Pixels without a CRS count as metres."""
    if crs is None:
        return 1.0, 1.0
    known = rasterio.crs.CRS.from_user_input(crs)
    if known.is_geographic:
        return METRES_PER_DEGREE * math.cos(math.radians(latitude)), METRES_PER_DEGREE
    return (float(known.linear_units_factor[1]),) * 2
