"""Which of the surveyed tiles are kept, and what each of them is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from georelay.errors import UserError
from georelay.geo.raster import metres_per_unit
from georelay.sources.receipt import Scene
from georelay.tiles import split as splitting
from georelay.tiles.schema import SPLITS
from georelay.tiles.survey import Facts, Rasters
from georelay.tiles.windows import Places


@dataclass(frozen=True)
class Selection:
    """The kept tiles; every array has one entry per kept tile, but `keep` has one per candidate."""

    keep: np.ndarray
    places: Places
    facts: Facts
    affine: np.ndarray
    split: np.ndarray
    domain: np.ndarray
    rank: np.ndarray
    dropped: dict[str, Any]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def table(self) -> dict[str, np.ndarray]:
        """The small arrays of the store."""
        where = {"scene": self.places.scene, "row": self.places.row, "col": self.places.col, "transform": self.affine}
        return where | {"split": self.split, "domain": self.domain, "rank": self.rank}


def select_tiles(rasters: Rasters, task_name: str, task: Any, places: Places, facts: Facts) -> Selection:
    """Drop tiles without a valid pixel, split the rest, keep the splits apart, rank the labelled training tiles."""
    scenes = rasters.receipt.scenes
    keep = facts.valid > 0
    if not keep.any():
        raise UserError("every tile holds nothing but nodata", f"params.yaml: tasks.{task_name}", "check the rasters")
    if task.split.rule == "eastings" and rasters.grids[0].crs is None:
        raise UserError("scenes without a CRS have no easting", f"params.yaml: tasks.{task_name}.split.rule", "use rule scenes")
    domain = np.array([rasters.receipt.domains.index(scene.domain) for scene in scenes], np.uint8)[places.scene]
    affine = splitting.transforms(places, rasters.grids)
    boxes = ground_boxes(rasters, places, affine, task.split.buffer)
    back = rasters.turned[places.scene]
    affine[back] = splitting.turned(affine[back], rasters.tile)
    split = _assigned(keep, places, boxes, domain, scenes, task.split)
    apart = keep.copy()
    apart[keep] = splitting.keep_apart(split[keep], boxes[keep], task.split.buffer)
    splitting.require_splits(split[apart], task_name)
    dropped = {"nodata": int((~keep).sum()), "buffer": _count(split[keep & ~apart])}
    parts = (places.chosen(apart), facts.chosen(apart), affine[apart], split[apart], domain[apart])
    eligible = (parts[3] == splitting.TRAIN) & (parts[1].labelled > 0)
    rank = splitting.label_ranks(parts[0], [scene.name for scene in scenes], parts[4], eligible)
    return Selection(apart, *parts, rank, dropped)


def _assigned(
    keep: np.ndarray, places: Places, boxes: np.ndarray, domain: np.ndarray, scenes: Sequence[Scene], split: Any
) -> np.ndarray:
    """The split of every tile: as its source says, or drawn, for all tiles or for those that the source holds out."""
    given = splitting.by_scene(places, scenes)
    if split.rule != "scene":
        some = keep if split.of == "all" else keep & (given != splitting.TRAIN)
        names = [scene.name for scene in scenes]
        given[some] = splitting.by_draw(places.chosen(some), boxes[some], domain[some], names, split)
    return given


def ground_boxes(rasters: Rasters, places: Places, affine: np.ndarray, buffer: float) -> np.ndarray:
    """Footprints in metres; without a CRS scenes have no place, so each one lies alone."""
    boxes = splitting.footprints(affine, *splitting.extents(places, rasters.grids, rasters.tile))
    crs = rasters.grids[0].crs
    # The latitude where degrees are shortest: distances come out too small rather than too large.
    scale_x, scale_y = metres_per_unit(crs, float(np.abs(boxes[:, [1, 3]]).max()))
    boxes = boxes * [scale_x, scale_y, scale_x, scale_y]
    return boxes if crs is not None else splitting.apart(boxes, places.scene, buffer)


def _count(split: np.ndarray) -> dict[str, int]:
    return {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
