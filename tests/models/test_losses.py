"""Cross-entropy against torch's own, at both resolutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.models.losses import cross_entropy


def loss(logits: Tensor, label: Tensor, at: str, smoothing: float = 0.0) -> Tensor:
    return cross_entropy(logits, label, stride=4, ignore=255, smoothing=smoothing, at=at)


def case(size: int = 16) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    label = torch.randint(0, 5, (2, size, size))
    label[0, :3] = 255
    return torch.randn(2, 5, -(-size // 4), -(-size // 4), requires_grad=True), label


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("at", "mode"), [("label", "bilinear"), ("output", "nearest")])
def test_it_is_torch_s_loss_on_enlarged_logits(at: str, mode: str, smoothing: float) -> None:
    logits, label = case()
    options = {"align_corners": False} if mode == "bilinear" else {}
    large = F.interpolate(logits, scale_factor=4, mode=mode, **options)
    expected = F.cross_entropy(large, label, ignore_index=255, label_smoothing=smoothing)
    torch.testing.assert_close(loss(logits, label, at, smoothing), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("at", ["label", "output"])
def test_nothing_to_learn_is_zero_with_a_gradient(at: str) -> None:
    logits, label = case()
    value = loss(logits, torch.full_like(label, 255), at)
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("at", ["label", "output"])
def test_labels_that_the_stride_does_not_divide(at: str) -> None:
    logits, label = case(size=14)
    padded = F.pad(label, (0, 2, 0, 2), value=255)
    torch.testing.assert_close(loss(logits, label, at), loss(logits, padded, at))


def test_half_precision_logits_are_judged_in_single() -> None:
    logits, label = case()
    assert loss(logits.bfloat16(), label, "output").dtype == torch.float32
