"""Labels that are shapes: what a shape's attribute says becomes a class, and classes are burnt onto the image's pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from georelay.errors import UserError
from georelay.geo.grid import Grid
from georelay.geo.vector import Shapes, burn, read_shapes
from georelay.sources.encoding import UNKNOWN, others_of, place_of, values_of


def burnt_classes(path: Path, image: Path, grid: Grid, source: Any) -> np.ndarray:
    """The classes [y, x] on the grid of an image; a value that no class has is what the source says of others, or refused."""
    if grid.crs is None:
        raise UserError("has no CRS, and polygons cannot be laid on it", image, "georeference it, or give labels as rasters")
    shapes = read_shapes(path, source.attribute)
    chosen = shapes.near(grid)
    outside = place_of(source, source.outside) if source.outside else 0
    return burn(shapes, chosen, _places(shapes, chosen, source), outside, grid, source.all_touched)


def _places(shapes: Shapes, chosen: np.ndarray, source: Any) -> np.ndarray:
    """What the chosen shapes are."""
    if source.attribute is None:
        return np.full(len(chosen), place_of(source, source.inside) if source.inside else 1, np.uint8)
    known = {word: place for place in range(len(source.classes)) for word in values_of(source, place)}
    words = [_word(value) for value in shapes.values[chosen]]
    places = np.array([known.get(word, others_of(source)) for word in words], np.uint16)
    if (places == UNKNOWN).any():
        strange = dict.fromkeys(word for word, place in zip(words, places, strict=True) if place == UNKNOWN)
        what = f'column "{source.attribute}" holds {", ".join(list(strange)[:5])}, which no class has'
        raise UserError(what, shapes.path, "give it to a class as `value` or `also`, or say what `others` are")
    return places.astype(np.uint8)


def _word(value: Any) -> str:
    """3 and 3.0, as columns with gaps have it, are one number."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return "nothing" if value is None or value != value else str(value)
