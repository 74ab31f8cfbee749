"""Cross-entropy against torch's own, at both resolutions; the focal loss against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.errors import UserError
from georelay.models.losses import cross_entropy, focal_loss


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


@pytest.mark.parametrize("at", ["label", "output"])
def test_ignored_pixels_may_count_in_the_divisor(at: str) -> None:
    logits, label = case()
    options = {"stride": 4, "ignore": 255, "at": at}
    share = (label != 255).float().mean()
    assert share < 0.95
    torch.testing.assert_close(cross_entropy(logits, label, over_all=True, **options), loss(logits, label, at) * share)


def test_overhanging_cells_are_not_in_that_divisor() -> None:
    """14 pixels a side of a grid of 16: divided by 14 * 14."""
    logits, label = case(size=14)
    value = cross_entropy(logits, label, stride=4, ignore=255, at="output", over_all=True)
    torch.testing.assert_close(value, loss(logits, label, "output") * (label != 255).float().mean())


@pytest.mark.parametrize(
    ("stride", "cells", "size", "cut"),
    [
        (None, (4, 4), (16, 16), False),  # whole cells
        (None, (4, 4), (14, 14), True),  # 3.5 pixels a cell
        (None, (4, 4), (16, 8), True),  # cells that are no squares
        (None, (4, 4), (2, 2), True),  # finer than the label
        (3.5, (4, 4), (14, 13), True),
    ],
)
def test_cells_that_are_no_whole_pixels_are_judged_at_the_label(
    stride: float | None, cells: tuple[int, int], size: tuple[int, int], cut: bool
) -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 5, *cells), torch.randint(0, 5, (2, *size))
    label[0, 0] = 255
    values = [cross_entropy(logits, label, stride=stride, ignore=255, at=at) for at in ("output", "label")]
    assert torch.equal(*values) == cut
    span = size if stride is None else (14, 14)
    large = F.interpolate(logits, size=span, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    torch.testing.assert_close(values[1], F.cross_entropy(large, label, ignore_index=255))
    if not cut:
        near = F.interpolate(logits, size=span, mode="nearest")
        torch.testing.assert_close(values[0], F.cross_entropy(near, label, ignore_index=255))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("at", "mode"), [("label", "bilinear"), ("output", "nearest")])
def test_pixels_and_classes_may_weigh(at: str, mode: str, smoothing: float) -> None:
    """Neither changes the divisor; 14 pixels a side of a grid of 16."""
    logits, label = case(size=14)
    of_pixels, of_classes = torch.rand(2, 14, 14), [0.5, 1.0, 2.0, 3.0, 0.0]
    options = {"align_corners": False} if mode == "bilinear" else {}
    large = F.interpolate(logits, scale_factor=4, mode=mode, **options)[..., :14, :14]
    errors = F.cross_entropy(large, label, ignore_index=255, label_smoothing=smoothing, reduction="none") * of_pixels
    errors = errors * torch.tensor([*of_classes, 0.0])[label.clamp(max=5)]
    settings = {"stride": 4, "ignore": 255, "at": at, "smoothing": smoothing}
    weights = {"class_weights": of_classes, "pixel_weights": of_pixels}
    torch.testing.assert_close(cross_entropy(logits, label, **settings, **weights), errors.sum() / (label != 255).sum())
    torch.testing.assert_close(cross_entropy(logits, label, over_all=True, **settings, **weights), errors.mean())


def test_weights_of_one_change_no_bit() -> None:
    logits, label = case()
    options = {"stride": 4, "ignore": 255, "at": "label"}
    found = cross_entropy(logits, label, class_weights=[1.0] * 5, pixel_weights=torch.ones(label.shape), **options)
    assert torch.equal(found, loss(logits, label, "label"))


def test_a_weight_too_many_is_refused() -> None:
    logits, label = case()
    with pytest.raises(UserError, match=r"class_weights: 6 weights for 5 classes"):
        cross_entropy(logits, label, stride=4, ignore=255, at="label", class_weights=[1.0] * 6)


def test_double_precision_stays_double() -> None:
    logits, label = case()
    assert loss(logits.double(), label, "label").dtype == torch.float64


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
@pytest.mark.parametrize("stride", [1, 4, None])
def test_focal_loss_by_hand(gamma: float, alpha: float, stride: int | None) -> None:
    """-alpha_t (1 - p_t)^gamma log p_t of every class of every pixel, one sigmoid each."""
    logits, label = case()
    large = F.interpolate(logits, size=(16, 16), mode="bilinear", align_corners=False)
    given = large if stride == 1 else logits
    found = focal_loss(given, label, stride=stride, ignore=255, gamma=gamma, alpha=alpha)
    terms = []
    for row, pixel in zip(large.detach().numpy().transpose(0, 2, 3, 1).reshape(-1, 5), label.flatten().tolist(), strict=True):
        for place, value in enumerate(row.astype(float)) if pixel != 255 else ():
            chance = 1 / (1 + np.exp(-value))
            right, weight = (chance, alpha) if place == pixel else (1 - chance, 1 - alpha)
            terms.append(-weight * (1 - right) ** gamma * np.log(right))
    assert found.item() == pytest.approx(np.mean(terms), rel=1e-5)
    assert len(terms) == 5 * int((label != 255).sum())


def test_focal_loss_of_sure_answers() -> None:
    """Right ones cost nothing, wrong ones what they are off, and none of it is infinite."""
    label = torch.zeros(1, 2, 2, dtype=torch.long)
    for sign, expected in ((1.0, 0.0), (-1.0, 0.5 * 300)):
        logits = (sign * torch.tensor([300.0, -300.0]).view(1, 2, 1, 1)).expand(1, 2, 2, 2).clone().requires_grad_()
        value = focal_loss(logits, label, stride=1, ignore=255, gamma=2.0, alpha=0.5)
        value.backward()
        assert value.item() == pytest.approx(expected, abs=1e-6)
        assert logits.grad is not None and logits.grad.isfinite().all()


def test_focal_loss_of_nothing_is_zero() -> None:
    logits, label = case()
    value = focal_loss(logits, torch.full_like(label, 255), stride=4, ignore=255, gamma=2.0, alpha=0.5)
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None and not logits.grad.any()
