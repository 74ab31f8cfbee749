"""HFD-Net's distillation: distances between a student's map and a teacher's map of one place, as two sensors saw it.

A reconstruction: the paper (arXiv 2210.08988) says that latent features are transferred, its equations are not public.

Every distance gives one number a sample, over the cells that are valid there, and the batch's is their mean over all
samples: exactly the same however the batch is split into parts or over ranks, which a mean over the valid cells of a
part is not. A sample without valid cells counts 0. What maps hold in other cells changes neither value nor gradient.

`weight` (B, h, w), 0 to 1, is how far a cell's teacher is trusted. Where cells are compared one by one the sum is
still divided by all valid ones, so that doubt makes a small loss; where they are compared with each other (cwd, at,
aff) it is the measure of the sums over cells.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.consistency import pseudo_labels
from georelay.models.decoders.blocks import ConvUnit, resized

EPSILON = 1e-6  # added to a squared norm: a vector of zeros has no direction, and its gradient stays below 1 / sqrt of it
TOKENS = 16  # sides of a map whose cells are all compared with each other
CHANNEL_TEMPERATURE = 4.0  # of the channel-wise distribution (Shu et al., ICCV 2021)

CELLWISE = ("nl2", "mse")  # errors that compare cell with cell, and so can look for the nearest one


def feature_error(
    kind: str,
    student: Tensor,
    teacher: Tensor,
    valid: Tensor,
    weight: Tensor | None = None,
    *,
    tolerance: int = 0,
    pool: bool = False,
) -> Tensor:
    """The distance `kind` of each sample (B,), at least in float32; both maps and the masks (B, h, w) share one grid.

    tolerance: a cell is compared with the nearest of the teacher's cells at most so many cells away (CELLWISE alone).
    pool: both maps are averaged over 3 x 3 valid cells first.
    """
    own, target = (filled(map_, valid) for map_ in (student, teacher.detach()))
    if pool:
        own, target = smoothed(own, valid), smoothed(target, valid)
    counted = valid.to(own.dtype) if weight is None else valid * weight.to(own.dtype)
    if kind not in CELLWISE:
        if tolerance:
            raise ValueError(f"{kind} compares no single cells, there is no nearest one")
        return RELATIONS[kind](own, target, counted)
    if kind == "nl2":
        own, target = unit(own), unit(target)
    errors = squares(own, nearest(own, target, valid, tolerance))
    return cell_mean(errors if kind == "nl2" else errors / own.shape[1], valid, counted)


def logit_error(
    student: Tensor, teacher: Tensor, valid: Tensor, weight: Tensor | None = None, *, temperature: float = 2.0
) -> Tensor:
    """temperature² KL(softmax(teacher / temperature) || softmax(student / temperature)) of each sample, mean over valid cells."""
    own, target = (F.log_softmax(filled(map_, valid) / temperature, dim=1) for map_ in (student, teacher.detach()))
    errors = temperature**2 * (target.exp() * (target - own)).sum(1)
    return cell_mean(errors, valid, valid.to(errors.dtype) if weight is None else valid * weight.to(errors.dtype))


def channel_divergence(own: Tensor, target: Tensor, counted: Tensor, temperature: float = CHANNEL_TEMPERATURE) -> Tensor:
    """temperature² KL between the two distributions over cells that each channel is; mean over channels."""
    # Cells that do not count get a finite number so low that their chance is 0: infinity less infinity is no number.
    log_count = counted.clamp(min=torch.finfo(own.dtype).tiny).log()
    lowest = torch.where(counted > 0, log_count, torch.finfo(own.dtype).min / 4).flatten(1).unsqueeze(1)
    ours, theirs = (F.log_softmax(map_.flatten(2) / temperature + lowest, dim=2) for map_ in (own, target))
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(2).mean(1)


def attention_error(own: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Squared distance of the two maps of energy, sum of squares over channels, each scaled to length 1 over cells."""
    ours, theirs = (_unit_energy(map_.square().sum(1), counted) for map_ in (own, target))
    return (counted * (ours - theirs).square()).sum((1, 2))


def affinity_error(own: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Mean squared difference of the cosines between all pairs of cells, on a grid of at most TOKENS x TOKENS."""
    kernel = [-(-side // TOKENS) for side in counted.shape[1:]]
    # Both means have one divisor, so that it drops out: a token is the mean of those of its cells that count.
    share = F.avg_pool2d(counted.unsqueeze(1), kernel, ceil_mode=True)
    some = share.clamp(min=torch.finfo(share.dtype).tiny)
    tokens = [unit(F.avg_pool2d(map_ * counted.unsqueeze(1), kernel, ceil_mode=True) / some).flatten(2) for map_ in (own, target)]
    with torch.autocast(own.device.type, enabled=False):  # which would take the products in half precision
        ours, theirs = (map_.transpose(1, 2) @ map_ for map_ in tokens)
    pairs = share.flatten(2) * share.flatten(2).transpose(1, 2)
    return (pairs * (ours - theirs).square()).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=torch.finfo(pairs.dtype).tiny)


RELATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cwd": channel_divergence,
    "at": attention_error,
    "aff": affinity_error,
}


def filled(map_: Tensor, valid: Tensor) -> Tensor:
    """The map in float32 or more, 0 where it is not valid: chosen, not multiplied, for what stands there may be no number."""
    wide = map_.to(torch.promote_types(map_.dtype, torch.float32))
    return torch.where(valid.unsqueeze(1), wide, 0.0)


def unit(map_: Tensor) -> Tensor:
    """The vector of each cell, scaled to length 1; vectors much shorter than 0.001 stay near 0."""
    return map_ * (map_.square().sum(1, keepdim=True) + EPSILON).rsqrt()


def squares(own: Tensor, target: Tensor) -> Tensor:
    """Squared distance of each cell's vectors (B, h, w)."""
    return (own - target).square().sum(1)


def cell_mean(errors: Tensor, valid: Tensor, counted: Tensor) -> Tensor:
    """Of each sample the weighted sum over cells, divided by the number of valid ones."""
    return (errors * counted).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)


@torch.no_grad()
def nearest(own: Tensor, target: Tensor, valid: Tensor, tolerance: int) -> Tensor:
    """The teacher's map, each cell replaced by the valid one at most `tolerance` rows and columns away that `own` is nearest to.

    Its own cell is preferred where others are as near. The choice has no gradient, the distance to what was chosen has.
    """
    best, chosen, (rows, cols) = squares(own, target), target, target.shape[-2:]
    around = [tolerance] * 4
    wide, inside = F.pad(target, around), F.pad(valid, around)
    for place in range((2 * tolerance + 1) ** 2 if tolerance else 0):
        y, x = divmod(place, 2 * tolerance + 1)
        other = wide[..., y : y + rows, x : x + cols]
        errors = squares(own, other)
        closer = inside[:, y : y + rows, x : x + cols] & (errors < best)
        best, chosen = torch.where(closer, errors, best), torch.where(closer.unsqueeze(1), other, chosen)
    return chosen


def smoothed(map_: Tensor, valid: Tensor) -> Tensor:
    """Means over those of 3 x 3 cells that are valid."""
    seen = valid.unsqueeze(1).to(map_.dtype)
    total, share = (F.avg_pool2d(values, 3, stride=1, padding=1) for values in (map_ * seen, seen))
    return total / share.clamp(min=torch.finfo(share.dtype).tiny)


def whole_cells(valid: Tensor, size_yx: tuple[int, int]) -> Tensor:
    """Which cells of a grid (B, h, w) count: those all of whose pixels in `valid` (B, H, W) are.

    A share of them would not do: a gap is shown as 0, and what a teacher says of a cell with a gap is half about that.
    """
    if valid.shape[-2:] == size_yx:
        return valid
    return F.adaptive_max_pool2d((~valid).float(), size_yx) == 0


def on_grid(teacher: Tensor, size_yx: tuple[int, int]) -> Tensor:
    """A teacher's map on a grid: means of its cells where they are finer, repeated where they are coarser."""
    return teacher if teacher.shape[-2:] == size_yx else F.adaptive_avg_pool2d(teacher.float(), size_yx)


def believed(teacher: Tensor, size_yx: tuple[int, int], *, label: Tensor | None = None, threshold: float = 0.0) -> Tensor:
    """At which pixels (B, H, W) the teacher's logits are to be trusted, 0 or 1.

    With `label` (B, H, W): where the likeliest class is that. Without: where its probability is at least `threshold`.
    """
    answer, confidence = pseudo_labels(resized(teacher, size_yx))
    return ((confidence >= threshold) if label is None else (answer == label)).float()


def shares(pixels: Tensor, size_yx: tuple[int, int]) -> Tensor:
    """The mean over each cell's pixels."""
    return F.adaptive_avg_pool2d(pixels, size_yx)


def ramp(step: int, steps: int, share: float) -> float:
    """Rises linearly from 0 at step 0 to 1 after the first `share` of the steps."""
    return min(1.0, step / (share * steps)) if share else 1.0


class Adapter(nn.Sequential):
    """1x1 convolution, BatchNorm, ReLU, 1x1 convolution; a map of the teacher's width on the student's grid."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(ConvUnit(in_channels, out_channels, 1), nn.Conv2d(out_channels, out_channels, 1))


def make_adapter(kind: str, in_channels: int, out_channels: int) -> nn.Module:
    """The way from a student's map to a teacher's: "mlp", or "identity", where the widths agree."""
    return nn.Identity() if kind == "identity" else Adapter(in_channels, out_channels)


def _unit_energy(energy: Tensor, counted: Tensor) -> Tensor:
    # An energy is a square already, so its squared norm has the fourth power of the maps' unit.
    return energy * ((counted * energy.square()).sum((1, 2), keepdim=True) + EPSILON**2).rsqrt()
