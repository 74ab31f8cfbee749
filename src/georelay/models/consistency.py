"""What FixMatch and its relatives share: pseudo-labels, their loss on strong views, and dropout split between two views."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def pseudo_labels(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest class of every pixel (B, H, W) and its probability."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    confidence, label = wide.softmax(dim=1).max(dim=1)
    return label, confidence


def share_of(what: Tensor, counted: Tensor) -> Tensor:
    """Mean of values, or share of what is true, over the counted pixels; 0 without any."""
    mean: Tensor = (what * counted).sum() / counted.sum().clamp(min=1)
    return mean


def confident_cross_entropy(logits: Tensor, label: Tensor, confidence: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Cross-entropy of pixels at least `threshold` sure, over the number of all valid ones: doubt makes a small loss."""
    scores = F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
    errors = -scores.gather(1, label.unsqueeze(1)).squeeze(1)
    return (errors * ((confidence >= threshold) & valid)).sum() / valid.sum().clamp(min=1)


def complementary_factors(draw: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of channels for two views of a batch, from a draw of 0 and 1 (B, C): each channel lives in one view, doubled.

    The samples whose places are in `kept` lose nothing (UniMatch V2, section 3.3).
    """
    first, second = 2.0 * draw, 2.0 - 2.0 * draw
    first[kept], second[kept] = 1.0, 1.0
    return first, second


def hard_cross_entropy(logits: Tensor, label: Tensor, *, ignore: int, threshold: float, least: int) -> Tensor:
    """Mean cross-entropy of the pixels whose true class has at most the probability `threshold` (OHEM).

    The bound is raised until `least` pixels count; with fewer labelled pixels than that, or `least` 0, all of them do.
    """
    scores = F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
    counted = label != ignore
    picked = scores.gather(1, torch.where(counted, label, 0).unsqueeze(1)).squeeze(1)
    if 0 < least <= int(counted.sum()):
        chance = torch.where(counted, picked.detach().exp(), 1.0).flatten()
        bound = chance.kthvalue(min(chance.numel(), least)).values.clamp(min=threshold)
        counted = counted & (chance.view_as(label) <= bound)
    return -(picked * counted).sum() / counted.sum().clamp(min=1)
