"""What stands for a class in label files that are not ours: a number, a colour, or a word.

Whatever it is, in the rasters that we write a class is its place in the list of classes. A colour is handled as one
number, red, green and blue in a row, so that both go the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from georelay.errors import UserError
from georelay.geo.grid import Grid
from georelay.geo.raster import read_window

UNKNOWN = 256  # no class, and not ignored either: our labels are bytes
IGNORE = "ignore"  # in the place of a class's name
WORDS: dict[str, Any] = {"index": int, "colour": list, "polygons": (int, str)}
LOSSY = "JPEG invents values along every border: save labels as PNG or GeoTIFF, from what they were before they were JPEG"
JPEG = b"\xff\xd8\xff"  # how such a file begins, whatever it is called


def check_encoding(source: Any, where: str) -> None:
    """No number or colour may stand for two things."""
    if source.ignore < len(source.classes):
        raise UserError(f"{source.ignore} is the value of a class", f"{where}.ignore", "255 is usual")
    _check_words(source, where)
    values: list[Any] = [value for place in range(len(source.classes)) for value in values_of(source, place)]
    if twice := {value for value in values if values.count(value) > 1}:
        raise UserError(f"two classes are {_word(source, min(twice))} in the label files", f"{where}.classes")
    if source.labels_as == "index" and (both := {*source.ignored, source.ignore} & {*values}):
        raise UserError(f"{min(both)} is the value of a class", f"{where}.ignored", "a value is a class or ignored")


def _check_words(source: Any, where: str) -> None:
    """`value` and `also` hold what the label files hold; `others` and the like name what there is."""
    wanted = WORDS[source.labels_as]
    if strange := [entry for entry in source.classes if not all(isinstance(value, wanted) for value in entry.also)]:
        hint = "`also` holds numbers with `labels_as: index`, lists of three with `labels_as: colour`"
        raise UserError(f"{strange[0].also} cannot be in labels as {source.labels_as}", f"{where}.classes", hint)
    if source.labels_as != "polygons" and (strange := [entry for entry in source.classes if isinstance(entry.value, str)]):
        hint = "words are values of an `attribute` with `labels_as: polygons`"
        raise UserError(f'"{strange[0].value}" cannot be in labels as {source.labels_as}', f"{where}.classes", hint)
    for key in ("others", "outside", "inside"):
        name = getattr(source, key)
        if name not in (None, IGNORE, *(entry.name for entry in source.classes)):
            raise UserError(f'"{name}" is no class', f"{where}.{key}", f"name a class, or say `{IGNORE}`")
    _check_polygons(source, where)


def _check_polygons(source: Any, where: str) -> None:
    """What is said of polygons is said where there are some."""
    given = [key for key in ("attribute", "inside", "outside", "all_touched") if getattr(source, key)]
    if source.labels_as != "polygons" and given:
        raise UserError(f"is of no use with `labels_as: {source.labels_as}`", f"{where}.{given[0]}", "say `labels_as: polygons`")
    if source.attribute and source.inside:
        raise UserError("is of no use with an `attribute`", f"{where}.inside", "keep one of them")


def check_kind(path: Path, grid: Grid, source: Any) -> None:
    """Integers in one band, or three of bytes."""
    if source.labels_as == "colour":
        if (grid.count, grid.dtype) != (3, "uint8"):
            hint = "labels of one band of numbers are `labels_as: index`"
            raise UserError(f"labels must be three bands of uint8, not {grid.count} of {grid.dtype}", path, hint)
    elif source.labels_band is not None and (grid.count < source.labels_band or np.dtype(grid.dtype).kind not in "ui"):
        raise UserError(f"labels must be integers in band {source.labels_band}, not {grid.count} bands of {grid.dtype}", path)
    elif source.labels_band is None and (grid.count != 1 or np.dtype(grid.dtype).kind not in "ui"):
        hint = "save the classes' numbers, as a grey or a palette image, or say `labels_as: colour`"
        raise UserError(f"labels must be one band of integers, not {grid.count} of {grid.dtype}", path, hint)


def read_classes(path: Path, grid: Grid, source: Any) -> np.ndarray:
    """The classes [y, x] of a label file as places in the list; what is neither a class nor ignored is what the source says
    of others, or a UserError.
    """
    raw = (
        _packed(read_whole(path, grid)) if source.labels_as == "colour" else read_whole(path, grid)[(source.labels_band or 1) - 1]
    )
    lossy = _is_jpeg(path)
    classes = np.full(raw.shape, UNKNOWN if lossy else others_of(source), np.uint16)
    for value in (*source.ignored, source.ignore) if source.labels_as == "index" else ():
        classes[raw == value] = source.ignore
    for place in range(len(source.classes)):
        for value in values_of(source, place):
            classes[raw == value] = place
    if (wrong := classes == UNKNOWN).any():
        raise UserError(_complaint(source, np.unique(raw[wrong])[:5]), path, LOSSY if lossy else _remedy(source))
    return classes.astype(np.uint8)


def read_whole(path: Path, grid: Grid) -> np.ndarray:
    """All pixels [band, y, x] of a raster."""
    return read_window(path, 0, 0, grid.height, grid.width)


def others_of(source: Any) -> int:
    """What a value is that no class has."""
    return UNKNOWN if source.others is None else place_of(source, source.others)


def place_of(source: Any, name: str) -> int:
    """The place of a class by its name, or the number that is ignored."""
    places = {entry.name: place for place, entry in enumerate(source.classes)}
    return int(places.get(name, source.ignore))


def _is_jpeg(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(len(JPEG)) == JPEG


def values_of(source: Any, place: int) -> list[Any]:
    """What stands for a class in the label files."""
    entry = source.classes[place]
    if source.labels_as == "colour":
        return [int(_packed(np.array(colour))) for colour in (entry.colour, *entry.also)]
    values = [place if entry.value is None else entry.value, *entry.also]
    return [str(value) for value in values] if source.labels_as == "polygons" else values


def _packed(colour: np.ndarray) -> np.ndarray:
    red, green, blue = colour.astype(np.uint32)
    packed: np.ndarray = red << 16 | green << 8 | blue
    return packed


def _word(source: Any, value: int) -> str:
    return f"({value >> 16}, {value >> 8 & 255}, {value & 255})" if source.labels_as == "colour" else str(value)


def _complaint(source: Any, values: np.ndarray) -> str:
    found = ", ".join(_word(source, int(value)) for value in values)
    if source.labels_as == "colour":
        return f"label colour {found} is not in the class list"
    known = [value for place in range(len(source.classes)) for value in values_of(source, place)]
    listed = ", ".join(map(str, known)) if known != list(range(len(known))) else f"0 to {len(known) - 1}"
    ignored = ", ".join(map(str, (*source.ignored, source.ignore)))
    return f"label value {found} is not in the class list: {len(source.classes)} classes ({listed}), ignore {ignored}"


def _remedy(source: Any) -> str:
    if source.labels_as == "colour":
        return "add the class to the source, or say what `others` are; colours must be exact"
    return "add the class to the source, or its value to `ignored`, or say what `others` are"
