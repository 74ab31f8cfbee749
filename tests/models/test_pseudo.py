"""Pseudo-labels and weights of pixels by hand; the arrays are in tests/parity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from georelay.errors import UserError
from georelay.models.pseudo import class_table, weighted_pseudo_labels


def logits(*chances: tuple[float, ...]) -> Tensor:
    """(1, classes, 1, pixels)."""
    return torch.tensor(chances, dtype=torch.float64).T.log()[None, :, None]


ANSWERS = logits((0.98, 0.01, 0.01), (0.05, 0.9, 0.05), (0.2, 0.1, 0.7), (0.01, 0.01, 0.98))


def test_sure_and_doubtful_pixels() -> None:
    """Two of four are sure: q = 0.5; the third is below 0.8, and its class does not matter."""
    found = weighted_pseudo_labels(ANSWERS, 0.975, 0.8, [1.0, 1.5, 2.0])
    assert found.label.tolist() == [[[0, 1, 2, 2]]]
    assert found.share.item() == 0.5
    assert found.weight.tolist() == [[[0.5, 0.75, 0.25, 1.0]]]
    assert found.weight.dtype == torch.float32
    less = weighted_pseudo_labels(ANSWERS, 0.975, 0.8, [1.0, 1.5, 2.0], doubt=0.0)
    assert less.weight.tolist() == [[[0.5, 0.75, 0.0, 1.0]]]


@pytest.mark.parametrize(("low", "weights"), [(None, [1.0, 1.5, 2.0]), (0.8, None), (None, None)])
def test_either_of_both_off_weighs_all_alike(low: float | None, weights: list[float] | None) -> None:
    assert weighted_pseudo_labels(ANSWERS, 0.975, low, weights).weight.tolist() == [[[0.5] * 4]]


def test_confidence_is_the_mean_over_valid_pixels() -> None:
    valid = torch.tensor([[[True, True, False, False]]])
    given = [weighted_pseudo_labels(ANSWERS, 0.975, None, None, valid=mask).confidence for mask in (None, valid, ~valid & valid)]
    torch.testing.assert_close(torch.stack(given), torch.tensor([0.89, 0.94, 0.0], dtype=torch.float64))


def test_nobody_sure_is_silence() -> None:
    assert not weighted_pseudo_labels(ANSWERS, 0.99, 0.8, [1.0, 1.5, 2.0]).weight.any()


def test_half_precision_is_judged_in_single_and_nothing_is_learnt_from() -> None:
    given = ANSWERS.bfloat16().requires_grad_()
    found = weighted_pseudo_labels(given, 0.975, 0.8, [1.0, 1.5, 2.0])
    assert found.weight.dtype == torch.float32
    assert not found.weight.requires_grad


def test_double_precision_judges_in_double() -> None:
    """A chance that single precision could not tell from the threshold; weights are single all the same."""
    found = weighted_pseudo_labels(logits((0.5 + 1e-11, 0.5 - 1e-11), (0.99, 0.01)), 0.5 + 1e-10, None, None)
    assert found.share.item() == 0.5
    assert found.weight.dtype == torch.float32


def test_published_look_up_replaces_in_place() -> None:
    assert class_table(3, [1.01, 1.01, 1.51], as_published=True) == [1.01, 1.01, 1.51]
    assert class_table(4, [1.01, 1.51, 1.51], as_published=True) == [1.01, 1.51, 1.51, 3.0]
    assert class_table(4, [2.0, 1.5, 3.0, 0.5], as_published=True) == [0.5, 1.5, 0.5, 0.5]
    assert class_table(2, [1.5, 2.5, 3.5], as_published=True) == [1.5, 2.5]


def test_ours_is_a_table() -> None:
    assert class_table(4, [2.0, 1.5, 3.0, 0.5]) == [2.0, 1.5, 3.0, 0.5]
    with pytest.raises(UserError, match="class_weights: 3 weights for 4 classes"):
        class_table(4, [2.0, 1.5, 3.0])
