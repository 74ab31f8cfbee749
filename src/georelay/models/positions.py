"""Position tables of vision transformers on other grids than their own: each public code resamples by its own rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.errors import UserError

OWN_RULE = "timm"
# DINOv2's code asks for this much more than the grid, once against rounding; as a scale factor it shifts every sample.
DINOV2_OFFSET = 0.1


def resampled(table: Tensor, prefix: int, size_yx: tuple[int, int], rule: str) -> Tensor:
    """A table (1, prefix + g * g, C) for a grid of another size; the first `prefix` entries and the native grid stay.

    All rules are bicubic in float32. timm: antialiased. exact: not. dinov2: not, and by scale factors.
    """
    grid = isqrt(table.shape[1] - prefix)
    if size_yx == (grid, grid):
        return table
    cells = table[:, prefix:].float().reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    fine = F.interpolate(cells, **_options(rule, grid, size_yx), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :prefix], fine.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)], dim=1)


def _options(rule: str, grid: int, size_yx: tuple[int, int]) -> dict[str, Any]:
    if rule == "dinov2":
        return {"scale_factor": tuple((size + DINOV2_OFFSET) / grid for size in size_yx)}
    return {"size": size_yx, "antialias": rule == OWN_RULE}


class Positions:
    """How a network comes by the table for an input's grid: by `rule`, over a square `grid` on the way if one is given."""

    def __init__(self, net: Any, name: str, rule: str, grid: int | None) -> None:
        self.rule, self.grid = rule, grid
        if not self.left_to_timm and not _has_table(net):
            hint = "leave `positions: timm` and `position_grid: null`"
            raise UserError(f"{name} has no table of positions that could be resampled", "teacher.positions", hint)

    @property
    def left_to_timm(self) -> bool:
        """Nothing to be done: the network resamples as it always does."""
        return self.rule == OWN_RULE and self.grid is None

    @contextmanager
    def on(self, net: Any, size_yx: tuple[int, int]) -> Iterator[None]:
        """Inside the block, the network's own table is the one for this grid, so that it finds nothing to resample."""
        if self.left_to_timm:
            yield
            return
        native = net.patch_embed.grid_size
        # An attribute of the object goes before its parameter of the same name, which stays where it is: gradients of
        # what is made from it reach it, and no order of parameters changes.
        vars(net)["pos_embed"] = self._table(net, size_yx)
        net.patch_embed.grid_size = size_yx
        try:
            yield
        finally:
            del vars(net)["pos_embed"]
            net.patch_embed.grid_size = native

    def _table(self, net: Any, size_yx: tuple[int, int]) -> Tensor:
        table: Tensor = net.pos_embed
        flat, prefix = table.flatten(1, -2), _prefix(net)
        if self.grid is not None:
            flat = resampled(flat, prefix, (self.grid, self.grid), self.rule)
        flat = resampled(flat, prefix, size_yx, self.rule)
        return flat if table.dim() == 3 else flat.reshape(1, *size_yx, -1)  # SAM keeps rows and columns apart


def _prefix(net: Any) -> int:
    return 0 if getattr(net, "no_embed_class", False) else int(getattr(net, "num_prefix_tokens", 0))


def _has_table(net: Any) -> bool:
    table = getattr(net, "pos_embed", None)
    if not isinstance(table, Tensor) or table.dim() not in (3, 4) or not hasattr(net, "patch_embed"):
        return False
    cells = table[0, ..., 0].numel() - _prefix(net)
    return isqrt(cells) ** 2 == cells and net.patch_embed.grid_size == (isqrt(cells),) * 2
