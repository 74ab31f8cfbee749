"""Class colours: as a raster's colour table, and as a picture for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Colour = Sequence[int]

IGNORED = (0, 0, 0)  # pixels without a class are black in pictures


def colour_table(colours: Sequence[Colour], nodata: int | None) -> dict[int, tuple[int, int, int, int]]:
    """value -> (red, green, blue, alpha) for a GeoTIFF; nodata is transparent."""
    table = {value: (int(r), int(g), int(b), 255) for value, (r, g, b) in enumerate(colours)}
    if nodata is not None:
        table[nodata] = (0, 0, 0, 0)
    return table


def colourise(labels: np.ndarray, colours: Sequence[Colour], ignore: int) -> np.ndarray:
    """The RGB picture (uint8, y x 3) of a class map; ignored and unknown values are black."""
    lookup = np.zeros((256, 3), np.uint8)
    lookup[:] = IGNORED
    lookup[: len(colours)] = colours
    lookup[ignore] = IGNORED
    picture: np.ndarray = lookup[labels]
    return picture
