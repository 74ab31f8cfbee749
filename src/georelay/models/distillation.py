"""KTDA's distillation loss: divergence and squared error between a student's aligned maps and a teacher's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.models.alignment import fused

# Where a distribution lies in (B, C, h, w).
AXES: dict[str, tuple[int, ...]] = {"channel": (1,), "spatial": (2, 3), "width": (3,)}
# Of a mode: the axis of its softmax, and what the sum of all divergences is divided by.
MODES = {
    "channel": ("channel", "distributions"),
    "spatial": ("spatial", "distributions"),
    "official": ("width", "batch"),
}


def distillation_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    mode: str = "channel",
    alpha: float = 0.5,
    temperature: float = 1.0,
    fuse: bool = False,
    axis: str | None = None,
    reduction: str | None = None,
) -> Tensor:
    """Mean over levels of alpha * KL(teacher || student) + (1 - alpha) * MSE; see `divergence` and `squared_error`.

    mode "channel": the channels of a cell are a distribution, and the mean of all divergences is taken. "spatial": the
    cells of a channel are. "official": the columns of a row are, the sum is divided by the batch alone, and alpha 0
    halves the result, all as in the public code. `axis` and `reduction` replace a mode's. `fuse` sums the levels first.
    """
    if fuse:
        student, teacher = fused(student), fused(teacher)
    chosen = (axis or MODES[mode][0], reduction or MODES[mode][1])
    levels = []
    for own, target in zip(student, teacher, strict=True):
        terms = []
        if alpha > 0:
            terms.append(alpha * divergence(own, target, temperature, *chosen))
        if alpha < 1:
            terms.append((1 - alpha) * squared_error(own, target))
        levels.append(sum(terms[1:], terms[0]))
    loss = torch.stack(levels).mean()
    return 0.5 * loss if mode == "official" and alpha == 0 else loss


def divergence(student: Tensor, teacher: Tensor, temperature: float, axis: str, reduction: str) -> Tensor:
    """temperature² * sum P (ln P - ln Q), over the batch or the number of distributions; at least in float32.

    The logarithm of the softmax is taken in one step: in two it is infinite once logits are more than about 104 apart.
    """
    own, target = (_log_softmax(map_ / temperature, AXES[axis]) for map_ in (_wide(student), _wide(teacher.detach())))
    total = (target.exp() * (target - own)).sum()
    count = len(student) if reduction == "batch" else student.numel() // _length(student, AXES[axis])
    return temperature**2 * total / count


def squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of all values, at least in float32."""
    return F.mse_loss(_wide(student), _wide(teacher.detach()))


def _wide(map_: Tensor) -> Tensor:
    return map_.to(torch.promote_types(map_.dtype, torch.float32))


def _length(map_: Tensor, dims: tuple[int, ...]) -> int:
    return math.prod(map_.shape[dim] for dim in dims)


def _log_softmax(map_: Tensor, dims: tuple[int, ...]) -> Tensor:
    # Over the last axis, which is the fast one: over channels of maps in channels-last order nothing is copied.
    rest = [axis for axis in range(4) if axis not in dims]
    return F.log_softmax(map_.permute(*rest, *dims).flatten(4 - len(dims)), dim=-1)
