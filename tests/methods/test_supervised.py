"""The supervised method: cross-entropy at the resolution and with the smoothing that the plan names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.batches.geometry import identity
from georelay.batches.streams import Batch
from georelay.methods.supervised import SupervisedMethod


class Fixed(nn.Module):
    """A student that answers the same logits whatever it sees."""

    stride = 2

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, image: Tensor) -> Tensor:
        return self.logits


def loss(logits: Tensor, label: Tensor, at: str, smoothing: float) -> Any:
    settings = {"train": {"loss_at": at}, "method": {"label_smoothing": smoothing}}
    method = SupervisedMethod({"settings": settings, "ignore": 255}, Fixed(logits))
    batch = Batch(torch.zeros(1, 1, 4, 4), label, label != 255, torch.zeros(1), identity(1, 4))
    return method.loss({"labelled": batch}, 0)


@pytest.mark.parametrize(("at", "mode"), [("label", "bilinear"), ("output", "nearest")])
def test_the_plan_names_resolution_and_smoothing(at: str, mode: str) -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(1, 3, 2, 2), torch.randint(0, 3, (1, 4, 4))
    label[0, 0, 0] = 255
    losses = loss(logits, label, at, 0.2)
    expected = F.cross_entropy(F.interpolate(logits, scale_factor=2, mode=mode), label, ignore_index=255, label_smoothing=0.2)
    torch.testing.assert_close(losses.total.detach(), expected, atol=1e-6, rtol=1e-6)
    assert losses.parts == {"cross_entropy": losses.total}
