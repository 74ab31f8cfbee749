"""A map moved by a flow: every cell takes the value that lies a displacement away from it, bilinear."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(map_: Tensor, flow: Tensor) -> Tensor:
    """W(U, D)(i, j) = U at (j + Dx, i + Dy), D (B, 2, h, w) in cells of U (B, C, h, w); beyond the border, the border's value.

    In at least single precision: in bfloat16 a place on the map would be known to half a cell. At whole displacements
    the derivative by D is that of one side.
    """
    wide = torch.promote_types(map_.dtype, torch.float32)
    sample = sampled_by_index if needs_index(map_.device) else sampled_by_grid
    return sample(map_.to(wide), flow.to(wide)).to(map_.dtype)


def needs_index(device: torch.device) -> bool:
    """Whether `grid_sample` would break the promise of the same bits: on CUDA it sums gradients in any order."""
    return device.type == "cuda" and torch.are_deterministic_algorithms_enabled()


def sampled_by_grid(map_: Tensor, flow: Tensor) -> Tensor:
    """By torch's kernel, which wants places between -1 and 1, the centres of the outermost cells."""
    height, width = map_.shape[-2:]
    columns, rows = (torch.linspace(-1, 1, size, dtype=flow.dtype, device=flow.device) for size in (width, height))
    x = columns + 2 * flow[:, 0] / max(width - 1, 1)
    y = rows[:, None] + 2 * flow[:, 1] / max(height - 1, 1)
    return F.grid_sample(map_, torch.stack([x, y], dim=-1), mode="bilinear", padding_mode="border", align_corners=True)


def sampled_by_index(map_: Tensor, flow: Tensor) -> Tensor:
    """From the four neighbours, fetched as rows of a table.

    torch documents `index_select` as deterministic where a CUDA tensor is differentiated (its backward, `index_add`, then
    sorts the rows); `gather` is so too, but would sort every number rather than every cell.
    """
    batch, channels, height, width = map_.shape
    table = map_.permute(0, 2, 3, 1).reshape(-1, channels)
    left, right, share_x = _neighbours(torch.arange(width, device=flow.device) + flow[:, 0], width)
    upper, lower, share_y = _neighbours(torch.arange(height, device=flow.device)[:, None] + flow[:, 1], height)
    first = torch.arange(batch, device=flow.device)[:, None, None] * height

    def at(row: Tensor, column: Tensor) -> Tensor:
        cells = ((first + row) * width + column).flatten()
        return table.index_select(0, cells).view(batch, height, width, channels)

    above = torch.lerp(at(upper, left), at(upper, right), share_x)
    below = torch.lerp(at(lower, left), at(lower, right), share_x)
    return torch.lerp(above, below, share_y).permute(0, 3, 1, 2)


def _neighbours(place: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The cells before and after each place along an axis, and the second one's share (with an axis for channels)."""
    last = size - 1
    # As in torch's kernel, a place on the border has no derivative; `clamp` alone would give it one.
    inside = torch.where((place > 0) & (place < last), place, place.detach().clamp(0, last))
    before = inside.detach().floor()
    # Clamped as integers too: NaN becomes some cell, and stays NaN in the share.
    cell = before.long().clamp(0, last)
    return cell, (cell + 1).clamp(max=last), (inside - before).unsqueeze(-1)
