"""ST-DASegNet's pseudo-labels: every pixel counts, by how sure the batch is, how sure it is, and what class it is of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from georelay.errors import UserError
from georelay.models.consistency import pseudo_labels, share_of


class PseudoLabels(NamedTuple):
    """Class and weight of every pixel (B, H, W), the share of pixels that are sure, and how sure valid ones are on average.

    Weights are float32, as published.
    """

    label: Tensor
    weight: Tensor
    share: Tensor
    confidence: Tensor


@torch.no_grad()
def weighted_pseudo_labels(
    logits: Tensor,
    threshold: float,
    low: float | None,
    class_weights: Sequence[float] | None,
    *,
    doubt: float = 0.5,
    as_published: bool = False,
    valid: Tensor | None = None,
) -> PseudoLabels:
    """The likeliest classes, weighted: q * class_weights[class]; q * `doubt` where their probability is below `low`.

    q is the share of the batch's pixels whose probability is at least `threshold`. Without `low` or `class_weights` every
    pixel has the weight q. as_published: the weights of classes are looked up as in the public code, see `class_table`.
    """
    label, confidence = pseudo_labels(logits)
    share = (confidence >= threshold).float().mean()
    weight = share.expand(label.shape)
    if low is not None and class_weights is not None:
        table = share.new_tensor(class_table(logits.shape[1], class_weights, as_published))
        weight = torch.where(confidence >= low, share * table[label], doubt * share)
    if valid is None:
        return PseudoLabels(label, weight, share, confidence.mean())
    return PseudoLabels(label, weight * valid, share, share_of(confidence, valid))


def class_table(classes: int, weights: Sequence[float], as_published: bool = False) -> list[float]:
    """A weight for each class.

    The public code replaces class numbers by weights in place, one class after another: a weight that equals the number
    of a later class is replaced once more, and classes without a weight keep their number as one.
    """
    if as_published:
        table = [float(number) for number in range(classes)]
        for place, weight in enumerate(weights):
            table = [weight if value == place else value for value in table]
        return table
    if len(weights) != classes:
        raise UserError(f"{len(weights)} weights for {classes} classes", "class_weights", "give one a class")
    return list(weights)
