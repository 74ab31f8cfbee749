"""The distillation loss against formulas in numpy, with their gradients, and what each mode does not depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from georelay.models.distillation import MODES, distillation_loss, divergence, squared_error

Maps = list[Tensor]
AXES = {"channel": (1,), "spatial": (2, 3), "official": (3,)}


def maps(seed: int, levels: int = 1, shape: tuple[int, ...] = (2, 6, 5, 7), dtype: torch.dtype = torch.float64) -> Maps:
    torch.manual_seed(seed)
    return [2 * torch.randn(shape, dtype=dtype) for _ in range(levels)]


def chances(logits: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum(axes, keepdims=True)


def by_hand(student: np.ndarray, teacher: np.ndarray, mode: str, alpha: float, temperature: float) -> tuple[float, np.ndarray]:
    """Loss of one level and its gradient; d KL / d logits is the difference of the two distributions."""
    axes, difference = AXES[mode], student - teacher
    p, q = (chances(values / temperature, axes) for values in (teacher, student))
    count = len(student) if mode == "official" else student.size / np.prod([student.shape[axis] for axis in axes])
    kl = temperature**2 * (p * np.log(p / q)).sum() / count
    loss = alpha * kl + (1 - alpha) * (difference**2).mean()
    gradient = alpha * temperature * (q - p) / count + (1 - alpha) * 2 * difference / difference.size
    half = 0.5 if mode == "official" and alpha == 0 else 1.0
    return half * loss, half * gradient


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("alpha", "temperature"), [(0.0, 1.0), (0.3, 4.0), (0.5, 1.0), (1.0, 0.5)])
@pytest.mark.parametrize("fuse", [False, True])
def test_loss_and_gradient_by_hand(mode: str, alpha: float, temperature: float, fuse: bool) -> None:
    student, teacher = [map_.requires_grad_() for map_ in maps(0, 3)], maps(1, 3)
    loss = distillation_loss(student, teacher, mode=mode, alpha=alpha, temperature=temperature, fuse=fuse)
    loss.backward()
    own, target = ([map_.detach().numpy() for map_ in side] for side in (student, teacher))
    if fuse:
        value, gradient = by_hand(sum(own), sum(target), mode, alpha, temperature)
        expected, gradients = value, [gradient] * 3
    else:
        each = [by_hand(*pair, mode, alpha, temperature) for pair in zip(own, target, strict=True)]
        expected, gradients = sum(value for value, _ in each) / 3, [gradient / 3 for _, gradient in each]
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-12)
    for map_, known in zip(student, gradients, strict=True):
        np.testing.assert_allclose(map_.grad.numpy(), known, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("alpha", "temperature", "fuse", "levels", "side"), [(0.3, 4.0, True, 3, 6), (0.5, 1.0, False, 4, 19)])
def test_single_precision(alpha: float, temperature: float, fuse: bool, levels: int, side: int) -> None:
    shape = (2, 8, side, side)
    student, teacher = (maps(seed, levels, shape, torch.float32) for seed in (0, 1))
    loss = distillation_loss(student, teacher, mode="official", alpha=alpha, temperature=temperature, fuse=fuse)
    own, target = ([map_.double().numpy() for map_ in side_] for side_ in (student, teacher))
    if fuse:
        own, target = [sum(own)], [sum(target)]
    each = [by_hand(*pair, "official", alpha, temperature)[0] for pair in zip(own, target, strict=True)]
    assert loss.dtype == torch.float32
    np.testing.assert_allclose(loss.item(), sum(each) / len(each), rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(mode: str, alpha: float) -> None:
    student = [map_.requires_grad_() for map_ in maps(0, 2)]
    loss = distillation_loss(student, [map_.detach().clone() for map_ in student], mode=mode, alpha=alpha)
    loss.backward()
    assert loss.item() == 0
    assert all(map_.grad.abs().max() < 1e-15 for map_ in student)


def test_the_teacher_gets_no_gradient() -> None:
    student, teacher = ([map_.requires_grad_() for map_ in maps(seed, 2)] for seed in (0, 1))
    distillation_loss(student, teacher).backward()
    assert all(map_.grad is None for map_ in teacher)
    assert all(map_.grad.any() for map_ in student)


@pytest.mark.parametrize("mode", MODES)
def test_alpha_1_leaves_out_the_squared_error(mode: str) -> None:
    """Even where it would be infinite."""
    student, teacher = maps(0, dtype=torch.float32), maps(1, dtype=torch.float32)
    expected = distillation_loss([student[0] + 16], teacher, mode=mode, alpha=1)
    assert not squared_error(student[0] + 1e20, teacher[0]).isfinite()
    assert distillation_loss([torch.zeros_like(student[0]) + 1e20], teacher, mode=mode, alpha=1).isfinite()
    torch.testing.assert_close(distillation_loss(student, teacher, mode=mode, alpha=1), expected, atol=0, rtol=1e-4)


@pytest.mark.parametrize(("mode", "share"), [("channel", 1.0), ("spatial", 1.0), ("official", 0.5)])
def test_alpha_0_leaves_out_the_divergence(mode: str, share: float) -> None:
    """Even where it is no number: at a temperature of next to nothing all logits are infinite."""
    student, teacher = maps(0, dtype=torch.float32), maps(1, dtype=torch.float32)
    found = distillation_loss(student, teacher, mode=mode, alpha=0, temperature=1e-40)
    assert found.item() == pytest.approx(share * ((student[0] - teacher[0]) ** 2).mean().item(), rel=1e-6)
    assert not distillation_loss(student, teacher, mode=mode, alpha=1e-6, temperature=1e-40).isfinite()


def tile(axis: int) -> Callable[[Tensor], Tensor]:
    return lambda map_: torch.cat([map_, map_], dim=axis)


@pytest.mark.parametrize(
    ("mode", "axis", "factor"),
    [
        *((mode, 0, 1.0) for mode in MODES),
        ("channel", 2, 1.0),
        ("channel", 3, 1.0),
        ("spatial", 1, 1.0),
        ("spatial", 2, 1.0),
        ("spatial", 3, 1.0),
        ("official", 1, 2.0),  # the sum over channels and rows is not divided
        ("official", 2, 2.0),
        ("official", 3, 1.0),
    ],
)
def test_twice_the_same_along_an_axis(mode: str, axis: int, factor: float) -> None:
    """Batch and grid do not change the scale of the loss but in the public code's form; the squared error's never."""
    (student,), (teacher,) = maps(0), maps(1)
    double = tile(axis)
    for alpha, expected in ((1.0, factor), (0.0, 1.0)):
        once = distillation_loss([student], [teacher], mode=mode, alpha=alpha)
        twice = distillation_loss([double(student)], [double(teacher)], mode=mode, alpha=alpha)
        torch.testing.assert_close(twice, expected * once, atol=0, rtol=1e-12)


@pytest.mark.parametrize(("mode", "same"), [("channel", True), ("spatial", True), ("official", False)])
def test_only_the_public_form_changes_when_the_image_is_turned(mode: str, same: bool) -> None:
    student, teacher = maps(0, shape=(2, 6, 5, 5)), maps(1, shape=(2, 6, 5, 5))
    upright = distillation_loss(student, teacher, mode=mode, alpha=1)
    turned = distillation_loss([map_.mT for map_ in student], [map_.mT for map_ in teacher], mode=mode, alpha=1)
    assert torch.allclose(upright, turned, rtol=1e-10) == same


def test_axis_and_reduction_replace_those_of_a_mode() -> None:
    student, teacher = maps(0), maps(1)

    def loss(mode: str, **options: Any) -> Tensor:
        return distillation_loss(student, teacher, mode=mode, alpha=1, **options)

    assert torch.equal(loss("channel", axis="width", reduction="batch"), loss("official"))
    assert torch.equal(loss("official", axis="spatial", reduction="distributions"), loss("spatial"))
    torch.testing.assert_close(loss("official", reduction="distributions"), loss("official") / (6 * 5))
    torch.testing.assert_close(loss("channel", reduction="batch"), loss("channel") * 5 * 7)


@pytest.mark.parametrize(("axis", "shape"), [("channel", (1, 16, 1, 1)), ("spatial", (1, 1, 4, 4)), ("width", (1, 1, 1, 16))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_that_lie_200_apart_stay_finite(axis: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """A softmax and its logarithm in two steps give infinity from 104 on."""
    student = torch.linspace(-100, 100, 16).view(shape).to(dtype).requires_grad_()
    teacher = -student.detach()
    loss = divergence(student, teacher, 1.0, axis, "batch")
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite() and loss > 50
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("mode", MODES)
def test_half_precision_maps_are_compared_in_single(mode: str) -> None:
    student, teacher = ([map_.bfloat16() for map_ in maps(seed)] for seed in (0, 1))
    wide = distillation_loss([map_.float() for map_ in student], [map_.float() for map_ in teacher], mode=mode)
    assert torch.equal(distillation_loss(student, teacher, mode=mode), wide)


def test_levels_of_other_grids_count_alike() -> None:
    student, teacher = ([*maps(seed), *maps(seed, shape=(2, 3, 2, 2))] for seed in (0, 1))
    each = [distillation_loss([own], [target]) for own, target in zip(student, teacher, strict=True)]
    torch.testing.assert_close(distillation_loss(student, teacher), (each[0] + each[1]) / 2)
    with pytest.raises(ValueError, match="shorter"):
        distillation_loss(student, teacher[:1])
