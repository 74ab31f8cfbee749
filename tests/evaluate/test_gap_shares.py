"""Shares of a gap: against hand-worked ratios, all draws of scenes, Fieller's formula, and where there is no gap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from georelay.evaluate import statistics
from georelay.evaluate.confusion import mean_iou
from georelay.evaluate.statistics import Share, gap_shares

RESAMPLES = 2000
Row = dict[int, np.ndarray]


def scenes(*right: int, of: int = 100) -> np.ndarray:
    """A scene for each count of right pixels among `of`, in each of two classes that are taken for each other."""
    return np.array([[[hit, of - hit], [of - hit, hit]] for hit in right])


def iou(right: float) -> float:
    """IoU of both classes, and so mIoU, where so many of 100 pixels are right."""
    return right / (200 - right)


def uneven() -> tuple[Row, Row, Row]:
    """Row, lower and upper bound at three seeds, whose gaps differ by seed."""
    right = {"row": (70, 82, 80), "lower": (50, 60, 50), "upper": (90, 85, 90)}
    row, lower, upper = ({s: scenes(hits, hits) for s, hits in enumerate(each)} for each in right.values())
    return row, lower, upper


def test_a_share_is_the_ratio_of_means_by_hand() -> None:
    gains = [iou(70) - iou(50), iou(82) - iou(60), iou(80) - iou(50)]
    gaps = [iou(90) - iou(50), iou(85) - iou(60), iou(90) - iou(50)]
    whole, *classes = gap_shares(*uneven(), RESAMPLES, seed=0)
    assert whole.mean == pytest.approx(sum(gains) / sum(gaps)) and whole.seeds == (0, 1, 2)
    assert whole.mean != pytest.approx(np.mean(np.divide(gains, gaps)), abs=1e-3)
    assert [each.mean for each in classes] == pytest.approx([whole.mean] * 2)


def test_the_lower_bound_closes_nothing_and_the_upper_all_of_it() -> None:
    _, lower, upper = uneven()
    bounds = [gap_shares(row, lower, upper, RESAMPLES, seed=0)[0] for row in (lower, upper)]
    assert [(each.mean, each.low, each.high) for each in bounds] == [(0, 0, 0), (1, 1, 1)]


def test_seeds_that_not_all_three_have_do_not_count() -> None:
    row, lower, upper = uneven()
    del row[0]
    del upper[1]
    (whole, *_) = gap_shares(row, lower, upper, RESAMPLES, seed=0)
    assert whole.seeds == (2,) and whole.mean == pytest.approx((iou(80) - iou(50)) / (iou(90) - iou(50)))
    del row[2]
    (none,) = gap_shares(row, lower, upper, RESAMPLES, seed=0)
    assert none.seeds == () and math.isnan(none.mean) and math.isnan(none.low)


def test_one_seed_gives_the_interval_of_all_draws_of_scenes_of_the_three_together() -> None:
    row, lower, upper = scenes(60, 75, 85), scenes(50, 70, 75), scenes(80, 85, 95)
    draws = np.stack(np.meshgrid(*[range(3)] * 3), -1).reshape(-1, 3)
    at = np.array([[mean_iou(each[draw].sum(0)) for each in (row, lower, upper)] for draw in [*draws, range(3)]])
    parts = at[:, [0, 2]] - at[:, [1]]  # gain and gap of each draw, those of all three scenes last
    stretched = parts[-1] + math.sqrt(3 / 2) * stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975) * (parts[:-1] - parts[-1])
    ends = stretched[:, 0] / stretched[:, 1]
    (whole, *_) = gap_shares({0: row}, {0: lower}, {0: upper}, 20_000, seed=0)
    assert stretched[:, 1].min() > 0
    assert (whole.low, whole.high) == pytest.approx((ends.min(), ends.max()))  # 1/27 > 2.5 %: the ends are the extremes


def fieller(gains: np.ndarray, gaps: np.ndarray) -> tuple[float, float]:
    """The roots of Fieller's quadratic for a ratio of means of paired values."""
    n, t = len(gains), stats.t.ppf(0.975, len(gains) - 1)
    (a, c), (_, b) = np.cov(gains, gaps) / n * t**2
    roots = np.roots([gaps.mean() ** 2 - b, -2 * (gains.mean() * gaps.mean() - c), gains.mean() ** 2 - a])
    return float(min(roots)), float(max(roots))


def test_scenes_alike_leave_fiellers_interval_to_the_seeds() -> None:
    generator = np.random.default_rng(3)
    hits = {key: generator.normal(mean, 25_000, 12).astype(int) for key, mean in (("r", 700_000), ("l", 600_000), ("u", 780_000))}
    row, lower, upper = ({s: scenes(hit, of=1_000_000) for s, hit in enumerate(each)} for each in hits.values())
    scores = {key: iou(values / 10_000) for key, values in hits.items()}
    low, high = fieller(scores["r"] - scores["l"], scores["u"] - scores["l"])
    (whole, *_) = gap_shares(row, lower, upper, 20_000, seed=0)
    assert (whole.low, whole.high) == pytest.approx((low, high), abs=0.1 * (high - low))


@pytest.mark.parametrize("upper", [(62, 58, 60), (40, 42, 38), (60, 60, 60)])
def test_an_upper_bound_that_is_not_above_leaves_no_gap(upper: tuple[int, ...]) -> None:
    rows = [{s: scenes(hit, hit) for s, hit in enumerate(each)} for each in ((80, 82, 84), (60, 60, 60), upper)]
    found = gap_shares(*rows, RESAMPLES, seed=0)
    assert [(math.isnan(each.mean), each.low, each.high) for each in found] == [(True, -math.inf, math.inf)] * 3


def test_classes_have_gaps_of_their_own_and_an_absent_one_has_no_numbers() -> None:
    """IoU of class 0 has no gap, that of class 1 is as many percent as there are right pixels, 2 is nowhere; two seeds."""

    def made(*hits: tuple[int, int]) -> Row:  # missed as a fourth class, which is not scored
        return {s: np.array([[[a, 0, 0, 100 - a], [0, b, 0, 100 - b], [0] * 4]]) for s, (a, b) in enumerate(hits)}

    rows = made((60, 50), (64, 58)), made((60, 40), (62, 40)), made((61, 80), (61, 80))
    whole, first, second, absent = gap_shares(*rows, RESAMPLES, seed=0)
    assert whole.mean == pytest.approx((5 + 10) / (20.5 + 19.5))
    assert second.mean == pytest.approx((10 + 18) / (40 + 40))
    assert math.isnan(first.mean) and (first.low, first.high) == (-math.inf, math.inf)
    assert all(math.isnan(value) for value in (absent.mean, absent.low, absent.high))


def test_samples_without_a_gap_count_as_beyond_both_ends() -> None:
    gains, gaps = np.linspace(0.01, 1, 100), np.ones(100)
    wider = np.where(np.arange(100) == 50, -1.0, gaps)  # one of a hundred: less than an end leaves out
    plain, less = statistics._share_interval(gains, gaps), statistics._share_interval(gains, wider)
    assert plain == pytest.approx((0.03, 0.98)) and less == pytest.approx((0.02, 0.99))
    assert statistics._share_interval(gains, np.where(np.arange(100) < 3, -1.0, gaps)) == (-math.inf, math.inf)


def trial(number: int) -> Share:
    """A row half way between bounds, three seeds."""
    generator = np.random.default_rng(number)
    middle = (iou(60) + iou(75)) / 2
    levels = (200 * middle / (1 + middle), 60, 75)
    hits = [(10_000 * (level + 2 * generator.standard_normal(3))).astype(int) for level in levels]
    rows = [{s: scenes(hit, hit, of=1_000_000) for s, hit in enumerate(each)} for each in hits]
    return gap_shares(*rows, 300, seed=0)[0]


def test_the_interval_covers_with_three_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    def coverage() -> float:
        found = [trial(number) for number in range(150)]
        return float(np.mean([each.low <= 0.5 <= each.high for each in found]))

    assert 0.90 <= coverage() <= 0.99
    monkeypatch.setattr(statistics, "_stretch", lambda drawn: 1.0)
    assert coverage() < 0.8  # why percentiles of plain samples would not do
