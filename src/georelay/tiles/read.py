"""Reading a tile store: which tiles there are, for what, and their pixels as views over the mapped file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from georelay.errors import UserError
from georelay.tiles.mapped import MappedStore
from georelay.tiles.schema import SCHEMA, SPLITS

Budget = int | Mapping[str, int] | None  # how many labelled tiles: of a domain, of each of several, or all there are


class TileStore(MappedStore):
    """A task's tiles. `attrs` holds its classes, modalities with statistics, splits, scenes and domains."""

    kind: ClassVar[str] = "tile store"
    schema: ClassVar[tuple[str, int]] = ("georelay_schema", SCHEMA)

    def __len__(self) -> int:
        return int(self.array("label").shape[0])

    @property
    def remedy(self) -> str:
        """How a person gets this store anew, as half a sentence."""
        return f"run `georelay tile {self.path.name.split('.')[0]}`"

    @property
    def modalities(self) -> list[str]:
        """Names of the image arrays."""
        return list(self.attrs["modalities"])

    def coordinate(self, name: str) -> np.ndarray:
        """A small read-only array: `split`, `rank`, `scene`, `row`, `col`, `domain`, `transform`, `y`, `x`."""
        return self.array(name)

    def select(self, split: str, domain: str | None = None, budget: Budget = None) -> np.ndarray:
        """Tile numbers of a split (and domain), ascending; with a label budget the `budget` lowest ranks, by rank.

        A budget for each of several domains gives the tiles of one after the other.
        """
        if isinstance(budget, Mapping):
            return np.concatenate([self.select(split, name, count) for name, count in budget.items()])
        chosen = self.coordinate("split") == SPLITS.index(split)
        if domain is not None:
            chosen = chosen & (self.coordinate("domain") == self._domain(domain))
        elif budget is not None and len(self.attrs["domains"]) > 1:
            raise UserError("a label budget needs a domain", self.path, f"domains: {', '.join(self.attrs['domains'])}")
        tiles = np.flatnonzero(chosen)
        return tiles if budget is None else self._lowest(tiles, budget, split)

    def _domain(self, name: str) -> int:
        domains: list[str] = self.attrs["domains"]
        if name not in domains:
            raise UserError(f'no domain "{name}"', self.path, f"domains: {', '.join(domains)}")
        return domains.index(name)

    def _lowest(self, tiles: np.ndarray, budget: int, split: str) -> np.ndarray:
        rank = self.coordinate("rank")[tiles]
        ranked: np.ndarray = tiles[rank >= 0][np.argsort(rank[rank >= 0], kind="stable")]
        if budget > len(ranked):
            hint = "lower `labels` of the task or row, or give the source more scenes"
            raise UserError(f"{budget} labelled tiles are wanted, split {split} has {len(ranked)}", self.path, hint)
        return ranked[:budget]
