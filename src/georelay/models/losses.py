"""Cross-entropy on logits at any stride, with ignored pixels and labels of any size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.models.student import full_size


def cross_entropy(logits: Tensor, label: Tensor, *, stride: int, ignore: int, smoothing: float, at: str) -> Tensor:
    """Mean cross-entropy over the pixels of `label` (B, H, W) that are not `ignore`; 0 when there is none.

    at="label": logits are interpolated to every pixel. at="output": every pixel is judged by the logits of the cell
    it lies in, which is the same sum with nearest instead of bilinear enlargement, without ever making the large map.
    """
    if at == "label":
        logits, stride = full_size(logits, stride, (label.shape[-2], label.shape[-1])), 1
    # Softmax in float32 whatever autocast says; gather, because NLLLoss has no deterministic form on CUDA.
    scores = F.log_softmax(logits.float(), dim=1)
    target = _cells(label, stride, (logits.shape[-2], logits.shape[-1]), ignore)
    counted = target != ignore
    picked = scores.gather(1, torch.where(counted, target, 0))
    if smoothing > 0:
        picked = (1 - smoothing) * picked + smoothing * scores.mean(dim=1, keepdim=True)
    return -(picked * counted).sum() / counted.sum().clamp(min=1)


def _cells(label: Tensor, stride: int, grid: tuple[int, int], ignore: int) -> Tensor:
    """(B, H, W) to (B, stride * stride, *grid): the labels of each cell along one axis, ignored where it overhangs."""
    rows, cols = grid
    padded = F.pad(label, (0, cols * stride - label.shape[2], 0, rows * stride - label.shape[1]), value=ignore)
    return padded.view(-1, rows, stride, cols, stride).permute(0, 2, 4, 1, 3).flatten(1, 2)
