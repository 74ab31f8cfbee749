"""HFD-Net's distances against loops over cells in numpy, what they do not depend on, and where the teacher is believed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from georelay.models.heterogeneous import (
    CELLWISE,
    EPSILON,
    Adapter,
    believed,
    feature_error,
    logit_error,
    make_adapter,
    on_grid,
    ramp,
    shares,
    whole_cells,
)

KINDS = ["nl2", "mse", "cwd", "at", "aff"]
ERRORS: dict[str, Callable[..., Tensor]] = {kind: partial(feature_error, kind) for kind in KINDS} | {"kl": logit_error}
SHAPE = (4, 5, 6, 7)


def case(seed: int = 0, shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """A student's map, a teacher's and the valid cells: another number in each sample, none in the last."""
    random = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(shape, dtype=dtype, generator=random) for _ in range(2))
    valid = torch.rand(shape[0], *shape[2:], generator=random) < torch.linspace(1, 0, shape[0]).view(-1, 1, 1)
    return student.requires_grad_(), teacher, valid


def weights(seed: int = 3) -> Tensor:
    """From 0 to 1, some of them exactly."""
    drawn = torch.rand(SHAPE[0], *SHAPE[2:], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (1.5 * drawn - 0.25).clamp(0, 1)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt((vector**2).sum() + EPSILON)


def chances(logits: np.ndarray, weight: np.ndarray | float = 1.0) -> np.ndarray:
    powers = weight * np.exp(logits - logits.max())
    return powers / powers.sum()


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum())


def by_cell(kind: str, own: np.ndarray, target: np.ndarray) -> float:
    if kind == "nl2":
        return float(((unit(own) - unit(target)) ** 2).sum())
    if kind == "mse":
        return float(((own - target) ** 2).mean())
    return 4.0 * divergence(chances(target / 2), chances(own / 2))


def by_hand(kind: str, own: np.ndarray, target: np.ndarray, valid: np.ndarray, weight: np.ndarray) -> float:
    """One sample (C, h, w): cell by cell, or of the cells with a weight as a list."""
    cells = [tuple(place) for place in np.argwhere(valid)]
    if not cells:
        return 0.0
    if kind in (*CELLWISE, "kl"):
        return sum(weight[y, x] * by_cell(kind, own[:, y, x], target[:, y, x]) for y, x in cells) / len(cells)
    cells = [place for place in cells if weight[place] > 0]
    shared = np.array([weight[place] for place in cells])
    ours, theirs = (np.array([map_[:, y, x] for y, x in cells]) for map_ in (own, target))  # (cells, C)
    if kind == "cwd":
        pairs = zip(theirs.T, ours.T, strict=True)
        return 16.0 * float(np.mean([divergence(chances(t / 4, shared), chances(s / 4, shared)) for t, s in pairs]))
    if kind == "at":
        energies = [(side**2).sum(1) for side in (ours, theirs)]
        first, second = (energy / np.sqrt((shared * energy**2).sum() + EPSILON**2) for energy in energies)
        return float((shared * (first - second) ** 2).sum())
    total = 0.0
    for i, j in product(range(len(cells)), repeat=2):
        cosines = [unit(side[i]) @ unit(side[j]) for side in (ours, theirs)]
        total += shared[i] * shared[j] * (cosines[0] - cosines[1]) ** 2
    return total / shared.sum() ** 2


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("gated", [False, True])
def test_each_error_by_hand(kind: str, gated: bool) -> None:
    student, teacher, valid = case()
    weight = weights() if gated else torch.ones_like(weights())
    found = ERRORS[kind](student, teacher, valid, weight if gated else None)
    arrays = [tensor.detach().numpy() for tensor in (student, teacher, valid, weight)]
    expected = [by_hand(kind, *sample) for sample in zip(*arrays, strict=True)]
    assert expected[0] > 0.01 and expected[-1] == 0
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("kind", ERRORS)
def test_gradients_are_those_of_differences(kind: str) -> None:
    student, teacher, valid = case(shape=(2, 3, 4, 3))
    assert torch.autograd.gradcheck(lambda map_: ERRORS[kind](map_, teacher, valid), student)


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("options", [{}, {"pool": True}, {"tolerance": 1}], ids=str)
@pytest.mark.parametrize("spoilt", [1e6, float("nan"), float("inf")])
def test_what_maps_hold_in_other_cells_changes_nothing(kind: str, options: dict[str, Any], spoilt: float) -> None:
    if (kind == "kl" and options) or ("tolerance" in options and kind not in CELLWISE):
        return
    student, teacher, valid = case()
    results = []
    for fill in (0.0, spoilt):
        own, target = (torch.where(valid.unsqueeze(1), map_.detach(), fill).requires_grad_() for map_ in (student, teacher))
        errors = ERRORS[kind](own, target, valid, weights(), **options)
        errors.sum().backward()
        results.append((errors, own.grad))
        assert target.grad is None
    (before, gradient), (after, other) = results
    assert torch.equal(before, after) and torch.equal(gradient, other)
    outside = ~valid.unsqueeze(1).expand_as(gradient)
    assert not other[outside].any() and other[~outside].any()


@pytest.mark.parametrize("kind", ERRORS)
def test_parts_of_a_batch_give_what_the_whole_does(kind: str) -> None:
    """Though their numbers of valid cells differ."""
    student, teacher, valid = case()
    whole = ERRORS[kind](student, teacher, valid).mean()
    for size in (1, 2):
        parts = zip(*(tensor.split(size) for tensor in (student, teacher, valid)), strict=True)
        torch.testing.assert_close(torch.stack([ERRORS[kind](*part).mean() for part in parts]).mean(), whole, atol=0, rtol=1e-12)


@pytest.mark.parametrize("kind", ERRORS)
def test_a_student_that_is_its_teacher_has_nothing_to_learn(kind: str) -> None:
    student, _, valid = case()
    errors = ERRORS[kind](student, student.detach().clone(), valid, weights())
    errors.sum().backward()
    assert (errors == 0).all()
    assert student.grad.abs().max() < 1e-12


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_stay_finite_and_small_at_vectors_of_zeros(kind: str, dtype: torch.dtype) -> None:
    _, teacher, valid = case(dtype=dtype)
    for target in (teacher, torch.zeros_like(teacher)):
        student = torch.zeros_like(teacher, requires_grad=True)
        errors = ERRORS[kind](student, target, valid)
        errors.sum().backward()
        assert errors.isfinite().all() and student.grad.isfinite().all()
        assert student.grad.abs().max() < 3 / EPSILON**0.5


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_are_taken_in_single_precision_under_autocast(kind: str) -> None:
    student, teacher, valid = (tensor.detach() for tensor in case(dtype=torch.bfloat16))
    plain = ERRORS[kind](student, teacher, valid)
    with torch.autocast("cpu", torch.bfloat16):
        found = ERRORS[kind](student, teacher, valid)
    assert found.dtype == torch.float32
    assert torch.equal(found, plain)
    wide = ERRORS[kind](student.double(), teacher.double(), valid)
    torch.testing.assert_close(found.double(), wide, atol=1e-6, rtol=1e-4)


def test_scales_that_do_not_matter() -> None:
    student, teacher, valid = case()
    for kind in ("nl2", "at", "aff"):
        torch.testing.assert_close(
            ERRORS[kind](100 * student, teacher, valid), ERRORS[kind](student, teacher, valid), rtol=1e-4, atol=0
        )


def test_doubt_makes_errors_of_cells_small_and_leaves_relations_as_they_are() -> None:
    student, teacher, valid = case()
    half = torch.full((SHAPE[0], *SHAPE[2:]), 0.5)
    for kind, share in (("nl2", 0.5), ("mse", 0.5), ("kl", 0.5), ("cwd", 1.0), ("aff", 1.0), ("at", 1.0)):
        torch.testing.assert_close(ERRORS[kind](student, teacher, valid, half), share * ERRORS[kind](student, teacher, valid))


@pytest.mark.parametrize("kind", CELLWISE)
def test_a_tolerance_of_0_is_the_plain_error(kind: str) -> None:
    student, teacher, valid = case()
    assert torch.equal(ERRORS[kind](student, teacher, valid, tolerance=0), ERRORS[kind](student, teacher, valid))


@pytest.mark.parametrize("kind", CELLWISE)
@pytest.mark.parametrize(("dy", "dx"), [(0, 1), (-1, 0), (1, -1)])
def test_a_tolerance_of_1_does_not_mind_a_shift_by_one_cell(kind: str, dy: int, dx: int) -> None:
    teacher = case(shape=(2, 5, 8, 9))[1]
    student = teacher.roll((dy, dx), (2, 3))
    inside = torch.zeros(2, 8, 9, dtype=torch.bool)
    inside[:, 1:-1, 1:-1] = True
    everywhere = torch.ones_like(inside)
    assert (ERRORS[kind](student, teacher, everywhere, inside.double()) > 0.1).all()
    assert (ERRORS[kind](student, teacher, everywhere, inside.double(), tolerance=1) < 1e-30).all()
    assert (ERRORS[kind](teacher.roll(2, 3), teacher, everywhere, inside.double(), tolerance=1) > 0.1).all()


@pytest.mark.parametrize("kind", CELLWISE)
def test_the_nearest_cell_is_looked_for_among_valid_ones(kind: str) -> None:
    student, teacher, valid = case(5)
    found = ERRORS[kind](student, teacher, valid, tolerance=1).detach().numpy()
    own, target, seen = (tensor.detach().numpy() for tensor in (student, teacher, valid))
    expected = []
    for sample in range(len(own)):
        least = [
            min(
                by_cell(kind, own[sample, :, y, x], target[sample, :, v, u])
                for v, u in product((y - 1, y, y + 1), (x - 1, x, x + 1))
                if 0 <= v < SHAPE[2] and 0 <= u < SHAPE[3] and seen[sample, v, u]
            )
            for y, x in np.argwhere(seen[sample])
        ]
        expected.append(np.mean(least) if least else 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["cwd", "at", "aff"])
def test_relations_know_no_nearest_cell(kind: str) -> None:
    with pytest.raises(ValueError, match="no nearest one"):
        ERRORS[kind](*case(), tolerance=1)


def test_pooling_averages_the_valid_ones_of_nine_cells() -> None:
    student, teacher, valid = case(1)
    own, target, seen = (tensor.detach().numpy() for tensor in (student, teacher, valid))

    def mean(map_: np.ndarray, sample: int, y: int, x: int) -> np.ndarray:
        rows, cols = slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)
        return np.asarray(map_[sample, :, rows, cols][:, seen[sample, rows, cols]].mean(1))

    expected = [
        np.mean(
            [by_cell("mse", mean(own, sample, y, x), mean(target, sample, y, x)) for y, x in np.argwhere(seen[sample])] or [0]
        )
        for sample in range(len(own))
    ]
    np.testing.assert_allclose(ERRORS["mse"](student, teacher, valid, pool=True).detach().numpy(), expected, rtol=1e-10)


def test_large_maps_are_compared_by_tokens() -> None:
    """34 x 20 cells: tokens of 3 x 2, the last row of them of one row of cells."""
    student, teacher, valid = case(shape=(2, 3, 34, 20))
    weight = torch.rand(2, 34, 20, dtype=torch.float64)
    counted = (valid * weight).numpy()
    maps = []
    for map_ in (student.detach().numpy(), teacher.numpy()):
        token = np.zeros((2, 3, 12, 10))
        for n, y, x in product(range(2), range(12), range(10)):
            box = (n, slice(3 * y, 3 * y + 3), slice(2 * x, 2 * x + 2))
            share = counted[box]
            if share.sum():
                token[n, :, y, x] = (map_[n][:, box[1], box[2]] * share).sum((1, 2)) / share.sum()
        maps.append(token)
    pooled = np.array(
        [[[counted[n, 3 * y : 3 * y + 3, 2 * x : 2 * x + 2].mean() for x in range(10)] for y in range(12)] for n in (0, 1)]
    )
    expected = [by_hand("aff", maps[0][n], maps[1][n], pooled[n] > 0, pooled[n]) for n in (0, 1)]
    np.testing.assert_allclose(ERRORS["aff"](student, teacher, valid, weight).detach().numpy(), expected, rtol=1e-10)


def test_a_cell_counts_if_all_its_pixels_are_valid() -> None:
    valid = torch.ones(1, 6, 8, dtype=torch.bool)
    valid[0, 2, 4] = False
    assert whole_cells(valid, (3, 4)).int().tolist() == [[[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]]]
    assert torch.equal(whole_cells(valid, (6, 8)), valid)


def test_where_the_teacher_is_right_and_where_it_is_sure() -> None:
    logits = torch.tensor([[[[2.0, 0.0], [0.1, -3.0]], [[0.0, 1.0], [0.0, 3.0]]]])
    label = torch.tensor([[[0, 0], [255, 1]]])
    assert believed(logits, (2, 2), label=label).tolist() == [[[1, 0], [0, 1]]]
    chance = 1 / (1 + np.exp(-1))  # of the second cell
    assert believed(logits, (2, 2), threshold=chance - 1e-6).tolist() == [[[1, 1], [0, 1]]]
    assert believed(logits, (2, 2), threshold=chance + 1e-6).tolist() == [[[1, 0], [0, 1]]]
    assert shares(believed(logits, (2, 2), label=label), (1, 2)).tolist() == [[[0.5, 0.5]]]
    assert shares(believed(logits, (8, 8), label=torch.zeros(1, 8, 8)), (1, 1)).item() == pytest.approx(0.5, abs=0.2)


def test_a_teacher_s_map_on_a_coarser_and_on_a_finer_grid() -> None:
    map_ = torch.arange(16.0).view(1, 1, 4, 4)
    assert on_grid(map_, (2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert torch.equal(on_grid(map_, (8, 8)), map_.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert on_grid(map_, (4, 4)) is map_


def test_weights_rise_over_the_first_share_of_the_steps() -> None:
    assert [ramp(step, 20, 0.2) for step in (0, 1, 3, 4, 19)] == [0, 0.25, 0.75, 1, 1]
    assert ramp(0, 20, 0.0) == 1
    assert ramp(10, 20, 1.0) == 0.5


def test_an_adapter_is_what_the_method_says() -> None:
    adapter = make_adapter("mlp", 3, 7)
    kinds = [type(module) for module in adapter.modules() if not list(module.children())]
    assert isinstance(adapter, Adapter) and kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d]
    assert {tuple(module.kernel_size) for module in adapter.modules() if isinstance(module, nn.Conv2d)} == {(1, 1)}
    assert adapter(torch.randn(2, 3, 4, 5)).shape == (2, 7, 4, 5)
    assert isinstance(make_adapter("identity", 3, 3), nn.Identity)
