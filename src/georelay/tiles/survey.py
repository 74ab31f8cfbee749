"""Looking at a task's rasters: first at the headers alone, then block by block at the pixels.

The survey counts what later decisions need (which tiles hold valid and labelled pixels, class counts, sums for the
normalisation), so that nothing is written before everything is known to be in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from georelay.errors import UserError, suggestion
from georelay.geo.grid import Grid
from georelay.geo.raster import open_grid, read_window
from georelay.sources.receipt import NAME, Receipt, Scene
from georelay.tiles.schema import LABEL, VALID
from georelay.tiles.windows import Block, Places, require_tile_fits


@dataclass(frozen=True)
class Rasters:
    """A task's scenes as they lie on disk."""

    receipt: Receipt
    folder: Path
    modalities: Mapping[str, Mapping[str, Any]]
    grids: Sequence[Grid]
    tile: int
    turned: np.ndarray  # scene by scene: its tiles are turned by 180 degrees

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of one tile in every large array of the store."""
        side = (self.tile, self.tile)
        images = {m: ((len(f["bands"]), *side), np.dtype(f["dtype"])) for m, f in self.modalities.items()}
        return images | {LABEL: (side, np.dtype("uint8")), VALID: (side, np.dtype("uint8"))}

    @property
    def tile_bytes(self) -> int:
        """Bytes of one tile over all large arrays."""
        return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in self.shapes.values())


@dataclass(frozen=True)
class Facts:
    """What a survey found, one entry per tile."""

    valid: np.ndarray
    classes: np.ndarray
    sums: Mapping[str, np.ndarray]
    squares: Mapping[str, np.ndarray]

    @property
    def labelled(self) -> np.ndarray:
        """Pixels per tile that are valid and have a class."""
        counts: np.ndarray = self.classes.sum(axis=1)
        return counts

    def chosen(self, keep: np.ndarray) -> Facts:
        """The facts of some tiles."""
        sums, squares = ({m: values[keep] for m, values in part.items()} for part in (self.sums, self.squares))
        return Facts(self.valid[keep], self.classes[keep], sums, squares)


def open_rasters(receipt: Receipt, folder: Path, modalities: Sequence[str], tile: int, align_look: bool = False) -> Rasters:
    """Read and compare all headers; whatever does not fit together is a UserError."""
    for name in modalities:
        if name not in receipt.modalities:
            raise UserError(f'has no modality "{name}"', folder / NAME, suggestion(name, receipt.modalities))
    known = {name: receipt.modalities[name] for name in modalities}
    grids = [_scene_grid(receipt, scene, folder, known, tile) for scene in receipt.scenes]
    for scene, grid in zip(receipt.scenes, grids, strict=True):
        if grid.crs != grids[0].crs:
            what = f"CRS {grid.crs} against {grids[0].crs} of {folder / receipt.scenes[0].label}"
            raise UserError(what, folder / scene.label, "reproject the scenes of one task to one CRS")
    return Rasters(receipt, folder, known, grids, tile, np.array([align_look and _looks_back(s, folder) for s in receipt.scenes]))


def _looks_back(scene: Scene, folder: Path) -> bool:
    """Whether radar looked at the scene from the side that is not kept."""
    if scene.look is None:
        raise UserError(f"does not tell the look of scene {scene.name}", folder / NAME, "leave `align_look` of the task out")
    return scene.look == 1


def _scene_grid(receipt: Receipt, scene: Scene, folder: Path, modalities: Mapping[str, Any], tile: int) -> Grid:
    label = folder / scene.label
    grid = open_grid(label)
    if np.dtype(grid.dtype).kind not in "ui" or grid.count != 1:
        raise UserError(f"labels must be one band of integers, not {grid.count} of {grid.dtype}", label)
    for name, facts in modalities.items():
        if name not in scene.images:
            raise UserError(f'scene {scene.name} has no image of modality "{name}"', folder)
        _check_image(folder / scene.images[name], label, grid, facts)
    require_tile_fits(grid, tile, label)
    return grid


def _check_image(path: Path, label: Path, grid: Grid, facts: Mapping[str, Any]) -> None:
    image = open_grid(path)
    difference = image.difference(grid)
    if difference:
        raise UserError(f"does not lie on the grid of {label}: {difference}", path, "resample one to the other")
    if (image.count, image.dtype) != (len(facts["bands"]), facts["dtype"]):
        expected = f"{len(facts['bands'])} bands of {facts['dtype']}"
        raise UserError(f"has {image.count} bands of {image.dtype}, the receipt says {expected}", path)


def read_block(rasters: Rasters, places: Places, block: Block) -> dict[str, np.ndarray]:
    """The tiles of a block, one array [tile, ...] per large array of the store."""
    row, col = places.row[block.first : block.last], places.col[block.first : block.last]
    top, left = int(row.min()), int(col.min())
    size = (int(row.max()) - top + rasters.tile, int(col.max()) - left + rasters.tile)
    scene, grid = rasters.receipt.scenes[block.scene], rasters.grids[block.scene]
    window = (top, left, min(size[0], grid.height - top), min(size[1], grid.width - left))
    raw = {name: read_window(rasters.folder / scene.images[name], *window) for name in rasters.modalities}
    label_path = rasters.folder / scene.label
    label = _checked_labels(read_window(label_path, *window)[0], rasters.receipt, label_path)
    valid = np.ones(label.shape, bool)
    for name, array in raw.items():
        valid &= _valid(array, rasters.modalities[name]["nodata"])
    layers = {name: _filled(array, size, 0) for name, array in (raw | {VALID: valid.view(np.uint8)}).items()}
    layers[LABEL] = _filled(label, size, rasters.receipt.ignore)
    tiles = {name: _tiles(layers[name], row - top, col - left, rasters.tile) for name in rasters.shapes}
    return {name: array[..., ::-1, ::-1] for name, array in tiles.items()} if rasters.turned[block.scene] else tiles


def _filled(array: np.ndarray, size: tuple[int, int], value: int) -> np.ndarray:
    """The array [..., y, x] brought to a size, below and to the right."""
    missing = [(0, 0)] * (array.ndim - 2) + [(0, whole - have) for whole, have in zip(size, array.shape[-2:], strict=True)]
    return np.pad(array, missing, constant_values=value) if array.shape[-2:] != size else array


def _checked_labels(label: np.ndarray, receipt: Receipt, path: Path) -> np.ndarray:
    count = len(receipt.classes)
    wrong = (label != receipt.ignore) & ((label < 0) | (label >= count))
    if wrong.any():
        values = ", ".join(str(value) for value in np.unique(label[wrong])[:5])
        what = f"label value {values} is not in the class list: {count} classes (0 to {count - 1}), ignore {receipt.ignore}"
        raise UserError(what, path, "add the class to the source, or map the value to the ignored one")
    return label.astype(np.uint8, copy=False)


def _valid(array: np.ndarray, nodata: float | None) -> np.ndarray:
    """Pixels where every band holds a measurement."""
    good = np.ones(array.shape[1:], bool)
    for band in array:
        if nodata is not None:
            good &= band != nodata
        if band.dtype.kind == "f":
            good &= np.isfinite(band)
    return good


def _tiles(array: np.ndarray, rows: np.ndarray, cols: np.ndarray, side: int) -> np.ndarray:
    tiles = np.empty((len(rows), *array.shape[:-2], side, side), array.dtype)
    for index, (row, col) in enumerate(zip(rows.tolist(), cols.tolist(), strict=True)):
        tiles[index] = array[..., row : row + side, col : col + side]
    return tiles


def survey_block(rasters: Rasters, places: Places, block: Block) -> Facts:
    """What later decisions need to know of a block's tiles."""
    layers = read_block(rasters, places, block)
    valid = layers[VALID].view(bool).reshape(block.last - block.first, -1)
    labels = layers[LABEL].reshape(valid.shape)
    count = len(rasters.receipt.classes)
    classes = [np.bincount(tile[mask], minlength=256)[:count] for tile, mask in zip(labels, valid, strict=True)]
    moments = {m: _moments(layers[m].reshape(*layers[m].shape[:2], -1), valid) for m in rasters.modalities}
    sums, squares = ({m: pair[part] for m, pair in moments.items()} for part in (0, 1))
    return Facts(valid.sum(axis=1), np.array(classes, np.int64), sums, squares)


def _moments(tiles: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per tile and band, the sum and the sum of squares over valid pixels."""
    sums, squares = np.zeros(tiles.shape[:2]), np.zeros(tiles.shape[:2])
    for index, (tile, mask) in enumerate(zip(tiles, valid, strict=True)):
        # One tile at a time: each tile's numbers do not depend on how tiles were grouped, and little memory is used.
        values = (tile if mask.all() else tile[:, mask]).astype(np.float64)
        sums[index] = values.sum(axis=1)
        squares[index] = (values * values).sum(axis=1)
    return sums, squares


def joined(parts: Sequence[Facts]) -> Facts:
    """The facts of all blocks, in order."""
    names = parts[0].sums
    return Facts(
        np.concatenate([part.valid for part in parts]),
        np.concatenate([part.classes for part in parts]),
        {name: np.concatenate([part.sums[name] for part in parts]) for name in names},
        {name: np.concatenate([part.squares[name] for part in parts]) for name in names},
    )
