"""A map moved by a flow: by torch's kernel and by neighbours, which must tell the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from georelay.models.warp import needs_index, sampled_by_grid, sampled_by_index, warp

Sample = Callable[[Tensor, Tensor], Tensor]
both = pytest.mark.parametrize("sample", [sampled_by_grid, sampled_by_index])


def random_map(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64)


def shift(map_: Tensor, x: float, y: float) -> Tensor:
    flow = map_.new_zeros(len(map_), 2, *map_.shape[-2:])
    flow[:, 0], flow[:, 1] = x, y
    return flow


@both
@pytest.mark.parametrize("size", [(5, 7), (1, 7), (5, 1), (1, 1)])
def test_no_flow_moves_nothing(sample: Sample, size: tuple[int, int]) -> None:
    map_ = random_map(2, 3, *size)
    torch.testing.assert_close(sample(map_, shift(map_, 0, 0)), map_, atol=1e-12, rtol=0)


@both
def test_one_cell_and_the_border(sample: Sample) -> None:
    """Of a map that is neither square nor symmetric, so that axes, signs and their order can be told."""
    map_ = random_map(2, 3, 5, 7)
    right, down = sample(map_, shift(map_, 1, 0)), sample(map_, shift(map_, 0, 1))
    torch.testing.assert_close(right[..., :-1], map_[..., 1:], atol=1e-12, rtol=0)
    torch.testing.assert_close(right[..., -1], map_[..., -1], atol=1e-12, rtol=0)
    torch.testing.assert_close(down[..., :-1, :], map_[..., 1:, :], atol=1e-12, rtol=0)
    torch.testing.assert_close(down[..., -1, :], map_[..., -1, :], atol=1e-12, rtol=0)
    far = sample(map_, shift(map_, -100, 0.5))
    torch.testing.assert_close(far[..., 0, :], map_[..., :2, :1].mean(2).expand(2, 3, 7), atol=1e-12, rtol=0)


@both
def test_each_cell_has_its_own_displacement(sample: Sample) -> None:
    map_ = random_map(1, 2, 4, 6)
    flow = shift(map_, 0, 0)
    flow[0, :, 1, 2] = torch.tensor([2.0, 1.0])
    moved = sample(map_, flow)
    torch.testing.assert_close(moved[0, :, 1, 2], map_[0, :, 2, 4])
    moved[0, :, 1, 2] = map_[0, :, 1, 2]
    torch.testing.assert_close(moved, map_)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("size", [(9, 6), (1, 6), (1, 1)])
def test_both_forms_agree_in_value_and_gradient(dtype: torch.dtype, tolerance: float, size: tuple[int, int]) -> None:
    """Flows of a cell and a half on average: many leave the map, where the derivative by them is 0."""
    values, flows = random_map(2, 3, *size).to(dtype), 1.5 * random_map(2, 2, *size).to(dtype)
    answers = []
    for sample in (sampled_by_grid, sampled_by_index):
        map_, flow = values.clone().requires_grad_(), flows.clone().requires_grad_()
        moved = sample(map_, flow)
        moved.backward(torch.linspace(-0.5, 0.5, moved.numel(), dtype=dtype).view_as(moved))
        answers.append((moved, map_.grad, flow.grad))
    for by_grid, by_index in zip(*answers, strict=True):
        torch.testing.assert_close(by_grid, by_index, atol=tolerance, rtol=tolerance)
    assert size == (1, 1) or answers[0][2].any()


def test_the_form_follows_the_device_and_the_promise() -> None:
    """Either of torch's modes, that which raises and that which warns, asks for the same bits."""
    before = torch.get_deterministic_debug_mode()
    try:
        wanted = {}
        for mode in ("default", "warn", "error"):
            torch.set_deterministic_debug_mode(mode)
            wanted[mode] = (needs_index(torch.device("cpu")), needs_index(torch.device("cuda", 0)))
            map_ = torch.rand(1, 1, 4, 4, requires_grad=True)
            warp(map_, shift(map_, 0.5, 0)).sum().backward()  # raises nothing on this device
    finally:
        torch.set_deterministic_debug_mode(before)
    assert wanted == {"default": (False, False), "warn": (False, True), "error": (False, True)}


def test_places_are_exact_where_maps_are_in_half_precision() -> None:
    """In bfloat16 the 200th cell and the 200th and a half are one."""
    map_ = torch.arange(256.0).expand(1, 1, 2, 256).bfloat16()
    moved = warp(map_, shift(map_, 0.5, 0))
    assert moved.dtype == torch.bfloat16
    torch.testing.assert_close(moved[0, 0, 0, :100].float(), torch.arange(100) + 0.5, atol=0.25, rtol=0)
    steps = torch.zeros(1, 1, 1, 256, dtype=torch.bfloat16)
    steps[..., 201:] = 1
    assert warp(steps, shift(steps, 0.5, 0))[0, 0, 0, 199:202].tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-2)


def test_a_broken_flow_breaks_its_cell_only() -> None:
    """As an index, NaN would be a number far off the map, which ends a CUDA process."""
    map_ = random_map(1, 1, 3, 3)
    flow = shift(map_, 0, 0)
    flow[0, 0, 1, 1] = torch.nan
    moved = sampled_by_index(map_, flow)
    assert moved.isnan().sum() == 1 and moved[0, 0, 1, 1].isnan()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_bits_twice() -> None:
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        values, flows = random_map(4, 32, 64, 64).float(), 20 * random_map(4, 2, 64, 64).float()
        gradients = []
        for _ in range(2):
            map_, flow = values.cuda().requires_grad_(), flows.cuda().requires_grad_()
            warp(map_, flow).square().sum().backward()
            gradients.append((map_.grad, flow.grad))
    finally:
        torch.set_deterministic_debug_mode(before)
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
