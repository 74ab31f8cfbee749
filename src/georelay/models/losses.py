"""Cross-entropy on logits at any stride, with ignored pixels and labels of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.models.pseudo import class_table
from georelay.models.student import full_size


def cross_entropy(
    logits: Tensor,
    label: Tensor,
    *,
    stride: float | None,
    ignore: int,
    at: str,
    smoothing: float = 0.0,
    over_all: bool = False,
    class_weights: Sequence[float] | None = None,
    pixel_weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy over the pixels of `label` (B, H, W) that are not `ignore`; 0 when there is none.

    at="label": logits are interpolated to every pixel. at="output": every pixel is judged by the logits of the cell
    it lies in, which is the same sum with nearest instead of bilinear enlargement, without ever making the large map;
    where cells are no whole pixels, as at="label". over_all: the sum is divided by all pixels, ignored ones too, as
    mmsegmentation does. A pixel's term is multiplied by the weight of its class and by its own in `pixel_weights`
    (B, H, W), at either resolution; the divisor stays a number of pixels.
    """
    side = _cell_side(logits, label, stride) if at == "output" else None
    if side is None:
        logits, side = full_size(logits, stride, (label.shape[-2], label.shape[-1])), 1
    # Softmax in float32 whatever autocast says; gather, because NLLLoss has no deterministic form on CUDA.
    scores = F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
    target = _cells(label, side, (logits.shape[-2], logits.shape[-1]), ignore)
    counted = target != ignore
    picked = scores.gather(1, torch.where(counted, target, 0))
    if smoothing > 0:
        picked = (1 - smoothing) * picked + smoothing * scores.mean(dim=1, keepdim=True)
    if class_weights is not None:
        picked = picked * scores.new_tensor(class_table(scores.shape[1], class_weights))[torch.where(counted, target, 0)]
    if pixel_weights is not None:
        picked = picked * _cells(pixel_weights, side, (logits.shape[-2], logits.shape[-1]), 0)
    count: Tensor | int = label.numel() if over_all else counted.sum().clamp(min=1)
    return -(picked * counted).sum() / count


def focal_loss(logits: Tensor, label: Tensor, *, stride: float | None, ignore: int, gamma: float, alpha: float) -> Tensor:
    """Mean sigmoid focal loss (Lin et al., ICCV 2017, eq. 5) over classes and the pixels that are not `ignore`."""
    fine = full_size(logits, stride, (label.shape[-2], label.shape[-1])).float()
    counted = (label != ignore).unsqueeze(1)
    truth = torch.zeros_like(fine).scatter_(1, torch.where(label == ignore, 0, label).unsqueeze(1), 1.0)
    chance = fine.sigmoid()
    miss = chance * (1 - truth) + (1 - chance) * truth
    weight = (alpha * truth + (1 - alpha) * (1 - truth)) * miss**gamma
    errors = weight * F.binary_cross_entropy_with_logits(fine, truth, reduction="none")
    return (errors * counted).sum() / (counted.sum() * fine.shape[1]).clamp(min=1)


def _cell_side(logits: Tensor, label: Tensor, stride: float | None) -> int | None:
    """Pixels of a cell's side, where they are whole."""
    if stride is None:
        sides = {label.shape[axis] / logits.shape[axis] for axis in (-2, -1)}
        stride = sides.pop() if len(sides) == 1 else 0.5
    return int(stride) if stride == int(stride) else None


def _cells(label: Tensor, stride: int, grid: tuple[int, int], beyond: int) -> Tensor:
    """(B, H, W) to (B, stride * stride, *grid): the pixels of each cell along one axis, `beyond` where it overhangs."""
    rows, cols = grid
    padded = F.pad(label, (0, cols * stride - label.shape[2], 0, rows * stride - label.shape[1]), value=beyond)
    return padded.view(-1, rows, stride, cols, stride).permute(0, 2, 4, 1, 3).flatten(1, 2)
