"""Corrected p-values, effect sizes and the agreement of seeds, by hand and against scipy."""

from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from scipy import integrate, stats

from georelay.evaluate.statistics import hedges, holm, paired_differences, rank_agreement


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x 0.01, 2 x 0.03, and 1 x 0.04 may not be below
    assert holm([0.5, 0.02, 0.01, 0.5]) == pytest.approx([1, 0.06, 0.04, 1])
    assert holm([0.02]) == [0.02] and holm([]) == []


def test_holm_does_not_count_what_has_no_p() -> None:
    corrected = holm([math.nan, 0.03, math.nan, 0.01])
    assert corrected[1::2] == pytest.approx([0.03, 0.02]) and math.isnan(corrected[0]) and math.isnan(corrected[2])


def test_holm_rejects_as_its_definition_does() -> None:
    """Step down through the rising p while p(k) <= level / (m - k + 1), as in Holm's paper."""
    p = np.random.default_rng(0).beta(0.3, 2, 12)
    for level in (0.01, 0.05, 0.2):
        rising = np.sort(p)
        stops = [k for k in range(12) if rising[k] > level / (12 - k)]
        rejected = set(rising[: stops[0] if stops else 12])
        assert {value for value, corrected in zip(p, holm(list(p)), strict=True) if corrected <= level} == rejected


def test_an_effect_by_hand() -> None:
    """J(2) = gamma(1) / gamma(1/2) = 1 / sqrt(pi); J(4) = gamma(2) / (sqrt(2) gamma(3/2)) = sqrt(2 / pi)."""
    assert hedges(np.array([0.01, 0.02, 0.03])) == pytest.approx(2 / math.sqrt(math.pi))
    assert hedges(np.array([-1.0, -2, -3, -4, -5])) == pytest.approx(-3 / math.sqrt(2.5) * math.sqrt(2 / math.pi))


@pytest.mark.parametrize("count", [3, 5, 8])
def test_an_effect_is_right_on_average(count: int) -> None:
    """sqrt(n) d_z of normal differences follows a noncentral t, whose mean the correction turns into the true effect."""
    freedom, true = count - 1, 0.8
    mean = stats.nct.mean(freedom, true * math.sqrt(count)) / math.sqrt(count)
    values = np.arange(count, dtype=float)
    correction = hedges(values) / (values.mean() / values.std(ddof=1))
    assert correction * mean == pytest.approx(true)


def test_the_standard_error_of_an_effect_at_five_seeds_is_what_the_definitions_say() -> None:
    spread = integrate.quad(lambda t: t**2 * stats.t.pdf(t, 4), -np.inf, np.inf)[0] / 5
    assert math.sqrt(2 / math.pi * spread) == pytest.approx(0.5, abs=0.01)


def test_few_pairs_or_none_that_differ_have_no_effect() -> None:
    assert math.isnan(hedges(np.array([0.1, 0.3])))  # J(1) = 0
    assert math.isnan(hedges(np.array([0.1, 0.3, math.nan])))
    assert math.isnan(hedges(np.full(3, 0.1)))  # whose computed spread is not zero
    assert not math.isnan(hedges(np.array([0.1, 0.1, 0.1001])))


def test_a_difference_has_its_effect() -> None:
    """IoU of the first of two classes in 100 pixels that hold nothing else: as many percent as are right."""
    row, base = (
        {s: np.array([[[right, 100 - right], [0, 0]]]) for s, right in enumerate(each)} for each in ((52, 54, 56), [50] * 3)
    )
    _, first, second = paired_differences(row, base, 100, seed=0)
    assert first.effect == pytest.approx(2 / math.sqrt(math.pi)) and math.isnan(second.effect)


def test_rank_agreement_by_hand() -> None:
    """Rows a < b < c at two seeds, a < c < b at the third: of 3 pairs 1 is turned, tau = 1/3 with both others."""
    scores = np.array([[0.1, 0.2, 0.1], [0.2, 0.3, 0.5], [0.3, 0.4, 0.4]])
    assert rank_agreement(scores) == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)
    assert rank_agreement(scores[:, :2]) == pytest.approx(1) and rank_agreement(scores[:, :1] * [1, -1]) == pytest.approx(-1)


def test_rank_agreement_with_ties_is_scipys() -> None:
    scores = np.random.default_rng(2).integers(0, 4, (7, 4)).astype(float)
    taus = [stats.kendalltau(scores[:, a], scores[:, b], variant="b").statistic for a, b in combinations(range(4), 2)]
    assert rank_agreement(scores) == pytest.approx(np.mean(taus))


def test_chance_agrees_on_nothing() -> None:
    pairs = [np.column_stack([range(4), order]).astype(float) for order in permutations(range(4))]
    assert np.mean([rank_agreement(pair) for pair in pairs]) == pytest.approx(0, abs=1e-12)


def test_without_three_rows_or_two_seeds_there_is_no_agreement() -> None:
    scores = np.array([[0.1, 0.2], [0.2, 0.3], [0.3, 0.4]])
    assert math.isnan(rank_agreement(scores[:2])) and math.isnan(rank_agreement(scores[:, :1]))
    assert math.isnan(rank_agreement(np.empty((0, 0))))
    scores[:, 1] = 0.5  # no order at this seed
    assert math.isnan(rank_agreement(scores))
    assert rank_agreement(np.column_stack([scores, scores[:, 0]])) == pytest.approx(1)
