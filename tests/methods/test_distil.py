"""Plain distillation: its loss by hand, which tiles it takes, and how maps of teachers are made comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.batches.geometry import identity
from georelay.batches.streams import Batch
from georelay.methods.distil import EPSILON, DistilMethod, standardised

Maps = Mapping[str, tuple[Tensor, ...]]
SIDE, STRIDE, WIDTH = 8, 2, 3


class Plain(nn.Module):
    """A student whose features are means of the image over cells."""

    stride = STRIDE

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Module()
        self.decoder.classify = nn.Conv2d(WIDTH, 2, 1)

    def embed(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image, STRIDE)

    def classify(self, features: Tensor) -> Tensor:
        return self.decoder.classify(features)


def method(taps: Mapping[str, list[int]], **options: Any) -> DistilMethod:
    """A method whose projections copy the student's first features; `taps` are channels of each teacher's maps."""
    plan = {
        "settings": {"method": {"weight": 1.0, "unlabelled": True} | options, "train": {"loss_at": "output"}},
        "ignore": 255,
        "teacher_view": "cached",
        "teachers": {name: {"taps": [{"channels": count} for count in counts]} for name, counts in taps.items()},
    }
    torch.manual_seed(0)
    made = DistilMethod(plan, Plain())
    for projection in made.projections.modules():
        if isinstance(projection, nn.Conv2d):
            nn.init.dirac_(projection.weight)
            nn.init.zeros_(projection.bias)
    return made


def batch_of(image: Tensor, features: Maps, label: Tensor | None = None) -> Batch:
    count = len(image)
    label = torch.randint(0, 2, (count, SIDE, SIDE)) if label is None else label
    return Batch(image, label, label != 255, torch.arange(count), identity(count, SIDE), features=features)


def random_batch(taps: Mapping[str, list[tuple[int, int]]], seed: int, count: int = 4) -> Batch:
    """Noise; `taps` are channels and cells of each teacher's maps."""
    torch.manual_seed(seed)
    features = {name: tuple(torch.randn(count, c, n, n).half() for c, n in maps) for name, maps in taps.items()}
    return batch_of(torch.randn(count, WIDTH, SIDE, SIDE), features)


def error(image: Tensor, maps: Tensor) -> Tensor:
    """Mean squared error of the first features to the standardised maps, independently of the method."""
    flat = maps.double().transpose(0, 1).flatten(1)
    truth = ((flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)).view_as(maps.transpose(0, 1)).transpose(0, 1)
    own = F.avg_pool2d(image, STRIDE).double()[:, : maps.shape[1]]
    return ((own - truth) ** 2).mean()


def test_the_smallest_example_by_hand() -> None:
    """Map cells 1, 3, 5, 7: mean 4, variance 20 / 3. Student cells 0, so the error is the mean of the standardised squares."""
    maps = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    label = torch.full((1, SIDE, SIDE), 255)
    batch = batch_of(torch.zeros(1, WIDTH, SIDE, SIDE), {"t": (maps,)}, label)
    losses = method({"t": [1]}, unlabelled=False, weight=0.5).loss({"labelled": batch}, 0)
    assert losses.parts["cross_entropy"].item() == 0
    assert losses.parts["distillation"].item() == pytest.approx((9 + 1 + 1 + 9) / 4 / (20 / 3), rel=1e-4)
    assert torch.equal(losses.total, 0.5 * losses.parts["distillation"])


def test_the_loss_is_cross_entropy_and_weight_times_the_mean_error_of_both_streams() -> None:
    labelled, unlabelled = (random_batch({"t": [(2, 4)]}, seed) for seed in (1, 2))
    made = method({"t": [2]}, weight=0.3)
    losses = made.loss({"labelled": labelled, "unlabelled": unlabelled}, 0)
    expected = (error(labelled.image, labelled.features["t"][0]) + error(unlabelled.image, unlabelled.features["t"][0])) / 2
    torch.testing.assert_close(losses.parts["distillation"].double(), expected, atol=1e-4, rtol=1e-4)
    logits = F.interpolate(made.student.classify(made.student.embed(labelled.image)), scale_factor=STRIDE, mode="nearest")
    torch.testing.assert_close(losses.parts["cross_entropy"], F.cross_entropy(logits, labelled.label))
    torch.testing.assert_close(losses.total, losses.parts["cross_entropy"] + 0.3 * losses.parts["distillation"])


def test_every_tap_of_every_teacher_counts_alike() -> None:
    batch = random_batch({"a": [(1, 4), (3, 4)], "b": [(2, 4)]}, 3)
    losses = method({"a": [1, 3], "b": [2]}, unlabelled=False).loss({"labelled": batch}, 0)
    each = torch.stack([error(batch.image, maps) for maps in (*batch.features["a"], *batch.features["b"])])
    torch.testing.assert_close(losses.parts["distillation"].double(), each.mean(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("cells", [2, 8, 3])
def test_the_student_s_features_are_brought_to_the_teacher_s_grid(cells: int) -> None:
    """A plane has the value of its centre in every cell of whatever size, but for those on the border of a finer grid."""
    ramp = torch.arange(SIDE).float().expand(1, WIDTH, SIDE, SIDE)
    centres = (torch.arange(cells) + 0.5) * SIDE / cells - 0.5
    own = centres.clamp(0.5, SIDE - 1.5).expand(1, 1, cells, cells)
    torch.manual_seed(0)
    maps = torch.randn(1, 1, cells, cells)
    batch = batch_of(ramp.contiguous(), {"t": (maps,)})
    losses = method({"t": [1]}, unlabelled=False).loss({"labelled": batch}, 0)
    expected = (own - (maps - maps.mean()) / maps.std()).square().mean()
    torch.testing.assert_close(losses.parts["distillation"], expected, atol=1e-4, rtol=1e-4)


def test_unlabelled_tiles_are_neither_asked_for_nor_looked_at_where_they_are_off() -> None:
    on, off = (method({"t": [2]}, unlabelled=wanted) for wanted in (True, False))
    assert (on.streams, off.streams) == (("labelled", "unlabelled"), ("labelled",))
    batch = random_batch({"t": [(2, 4)]}, 1)
    alone = off.loss({"labelled": batch}, 0)
    torch.testing.assert_close(
        alone.parts["distillation"].double(), error(batch.image, batch.features["t"][0]), atol=1e-4, rtol=0
    )
    both = on.loss({"labelled": batch, "unlabelled": random_batch({"t": [(2, 4)]}, 2)}, 0)
    assert torch.equal(alone.parts["cross_entropy"], both.parts["cross_entropy"])


def test_labels_of_unlabelled_tiles_do_not_count() -> None:
    given = {"labelled": random_batch({"t": [(2, 4)]}, 1), "unlabelled": random_batch({"t": [(2, 4)]}, 2)}
    other = batch_of(given["unlabelled"].image, given["unlabelled"].features)
    assert not torch.equal(other.label, given["unlabelled"].label)
    made = method({"t": [2]})
    assert torch.equal(made.loss(given, 0).total, made.loss({**given, "unlabelled": other}, 0).total)


def test_without_weight_only_labels_teach() -> None:
    given = {"labelled": random_batch({"t": [(2, 4)]}, 1), "unlabelled": random_batch({"t": [(2, 4)]}, 2)}
    made = method({"t": [2]}, weight=0.0)
    losses = made.loss(given, 0)
    assert torch.equal(losses.total, losses.parts["cross_entropy"])
    losses.total.backward()
    assert all(not parameter.grad.any() for parameter in made.projections.parameters())
    assert made.student.decoder.classify.weight.grad.any()


def test_projections_are_of_the_teachers_widths() -> None:
    made = method({"a": [1, 7], "b": [2]})
    shapes = {name: [tuple(p.weight.shape[:2]) for p in made.projections[name]] for name in ("a", "b")}
    assert shapes == {"a": [(1, WIDTH), (7, WIDTH)], "b": [(2, WIDTH)]}


def test_standardised_maps_have_zero_mean_and_unit_spread_by_channel() -> None:
    torch.manual_seed(0)
    scales = torch.tensor([1e-2, 1.0, 300.0]).view(1, 3, 1, 1)
    maps = (torch.randn(4, 3, 5, 5) * scales + 10 * scales).half()
    found = standardised(maps)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std((0, 2, 3)), torch.ones(3), atol=5e-3, rtol=0)  # 1e-5 of a spread of 1e-2


def test_a_channel_that_never_changes_is_zero_and_not_noise() -> None:
    constant = torch.full((4, 2, 5, 5), 3.0)
    assert (standardised(constant) == 0).all()
    assert EPSILON > 0
