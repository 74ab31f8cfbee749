"""Statistics against scipy, against exhaustive enumeration, and in the cases that few seeds bring."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from georelay.evaluate import statistics
from georelay.evaluate.confusion import class_iou, mean_iou
from georelay.evaluate.statistics import paired_difference, paired_differences, paired_t_test, summarise, t_coverage, t_quantile

RESAMPLES = 2000


def confusions(right: float, scenes: int, seed: int, pixels: int = 400, spread: float = 0.05) -> np.ndarray:
    """Two-class confusions of a map that is right on about a share of the pixels of each scene."""
    generator = np.random.default_rng(seed)
    hits = generator.binomial(pixels, np.clip(right + generator.normal(0, spread, (scenes, 2)), 0, 1))
    misses = pixels - hits
    return np.stack([np.stack([hits[:, 0], misses[:, 0]], -1), np.stack([misses[:, 1], hits[:, 1]], -1)], 1)


def test_summary_by_hand() -> None:
    summary = summarise([0.4, 0.5, 0.9])
    assert (summary.n, summary.mean) == (3, pytest.approx(0.6))
    assert summary.sd == pytest.approx(math.sqrt((0.04 + 0.01 + 0.09) / 2))


def test_summary_of_one_none_and_nan() -> None:
    assert summarise([0.4]).mean == 0.4 and math.isnan(summarise([0.4]).sd)
    assert summarise([]).n == 0 and math.isnan(summarise([]).mean)
    assert summarise([0.4, math.nan, 0.6]).n == 2


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12, 31])
def test_students_t_is_scipys(freedom: int) -> None:
    for t in (0.0, 0.3, 2.1, 9.0):
        assert t_coverage(t, freedom) == pytest.approx(1 - 2 * stats.t.sf(t, freedom), abs=1e-12)
    assert t_quantile(0.95, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_p_is_that_of_scipys_paired_test(count: int) -> None:
    child, parent = np.random.default_rng(count).normal(0.5, 0.02, (2, count))
    child += 0.01
    assert paired_t_test(child - parent) == pytest.approx(stats.ttest_rel(child, parent).pvalue, abs=1e-12)


def test_p_of_one_pair_and_of_equal_differences() -> None:
    assert math.isnan(paired_t_test(np.array([0.1])))
    assert paired_t_test(np.zeros(3)) == paired_t_test(np.array([0.0, 1e-17, -1e-17])) == 1.0
    assert math.isnan(paired_t_test(np.full(3, 0.25))) and math.isnan(paired_t_test(np.array([0.1, 0.3 - 0.2, 0.1])))


def test_no_p_is_below_zero() -> None:
    """Where t is large the series of an even number of degrees of freedom ends a rounding above 1."""
    alike = [1 + 10.0**-power * np.arange(25) for power in np.linspace(2, 10, 50)]
    assert min(paired_t_test(differences) for differences in alike) == 0


def test_difference_is_child_minus_parent_over_common_seeds() -> None:
    child = {seed: confusions(0.8, 6, seed) for seed in (0, 1, 2)}
    parent = {seed: confusions(0.7, 6, 10 + seed) for seed in (1, 2, 3)}
    result = paired_difference(child, parent, RESAMPLES, seed=0)
    expected = [mean_iou(child[s].sum(0)) - mean_iou(parent[s].sum(0)) for s in (1, 2)]
    assert result.seeds == (1, 2)
    assert result.mean == pytest.approx(np.mean(expected))
    assert result.low < result.mean < result.high


def test_the_same_seed_gives_the_same_interval() -> None:
    rows = ({seed: confusions(0.8, 6, seed) for seed in range(3)}, {seed: confusions(0.75, 6, 9 + seed) for seed in range(3)})
    first = paired_difference(*rows, RESAMPLES, seed=4)
    assert paired_difference(*rows, RESAMPLES, seed=4) == first
    assert paired_difference(*rows, RESAMPLES, seed=5).low != first.low


def test_a_row_against_itself_differs_by_nothing() -> None:
    row = {seed: confusions(0.8, 6, seed) for seed in range(3)}
    result = paired_difference(row, row, RESAMPLES, seed=0)
    assert (result.mean, result.low, result.high, result.p) == (0.0, 0.0, 0.0, 1.0)


def test_no_common_seed_gives_no_difference() -> None:
    result = paired_difference({0: confusions(0.8, 4, 0)}, {1: confusions(0.8, 4, 0)}, RESAMPLES, seed=0)
    assert result.seeds == () and math.isnan(result.mean) and math.isnan(result.p)
    assert len(paired_differences({0: confusions(0.8, 4, 0)}, {1: confusions(0.8, 4, 0)}, RESAMPLES, seed=0)) == 1


def shares(right: list[list[int]]) -> dict[int, np.ndarray]:
    """By seed, scenes of two classes of 100 pixels each, of which so many are right."""
    return {s: np.array([[[hit, 100 - hit], [100 - hit, hit]] for hit in hits]) for s, hits in enumerate(right)}


def test_p_is_the_larger_of_those_over_seeds_and_over_scenes_too() -> None:
    """The second by hand, from all 27 draws of 3 scenes; where scenes are alike it is the first."""
    child, parent = shares([[80, 70, 60], [84, 71, 58], [82, 74, 63]]), shares([[60, 65, 61], [61, 67, 64], [63, 64, 60]])
    by_seed = [mean_iou(child[s].sum(0)) - mean_iou(parent[s].sum(0)) for s in range(3)]
    draws = np.stack(np.meshgrid(*[range(3)] * 3), -1).reshape(-1, 3)
    drawn = [np.mean([mean_iou(child[s][d].sum(0)) - mean_iou(parent[s][d].sum(0)) for s in range(3)]) for d in draws]
    seed_part, scene_part = np.var(by_seed, ddof=1) / 3, np.var(drawn) * 3 / 2
    freedom = (seed_part + scene_part) ** 2 / (seed_part**2 / 2 + scene_part**2 / 2)
    second = 2 * stats.t.sf(np.mean(by_seed) / math.sqrt(seed_part + scene_part), int(freedom))
    first = stats.ttest_1samp(by_seed, 0).pvalue
    assert second > 2 * first and paired_difference(child, parent, 20_000, seed=0).p == pytest.approx(second, rel=0.03)
    alike = shares([[80] * 3, [84] * 3, [82] * 3]), shares([[60] * 3, [61] * 3, [63] * 3])
    by_seed = [mean_iou(alike[0][s].sum(0)) - mean_iou(alike[1][s].sum(0)) for s in range(3)]
    assert paired_difference(*alike, RESAMPLES, seed=0).p == pytest.approx(stats.ttest_1samp(by_seed, 0).pvalue)


def p_by_scenes(trial: int) -> tuple[float, float]:
    """p of two rows that are as good on average, each better in other scenes at all three seeds; and that of seeds alone."""
    generator = np.random.default_rng(trial)
    right = 0.75 + generator.normal(0, 0.05, (2, 1, 8)) + generator.normal(0, 0.01, (2, 3, 8))
    rows = [shares((100 * each).astype(int).tolist()) for each in right]
    by_seed = np.array([mean_iou(rows[0][s].sum(0)) - mean_iou(rows[1][s].sum(0)) for s in range(3)])
    return paired_difference(rows[0], rows[1], 300, seed=0).p, paired_t_test(by_seed)


def test_rows_that_are_better_in_some_scenes_and_worse_in_others_are_rarely_told_apart() -> None:
    p, over_seeds = np.transpose([p_by_scenes(trial) for trial in range(200)])
    assert np.mean(p < 0.05) < 0.09 and np.mean(over_seeds < 0.05) > 0.4


def stretched(draws: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Draws of three scenes as far from the difference of all three as a t interval with two degrees of freedom asks for."""
    return np.asarray(exact + math.sqrt(3 / 2) * stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975) * (draws - exact))


def test_one_seed_gives_the_interval_of_all_draws_of_scenes() -> None:
    child, parent = confusions(0.85, 3, 0), confusions(0.7, 3, 1)
    draws = np.stack(np.meshgrid(*[range(3)] * 3), -1).reshape(-1, 3)  # all 27 equally likely draws of 3 scenes
    drawn = np.array([mean_iou(child[draw].sum(0)) - mean_iou(parent[draw].sum(0)) for draw in draws])
    result = paired_difference({0: child}, {0: parent}, 20_000, seed=0)
    ends = stretched(drawn, mean_iou(child.sum(0)) - mean_iou(parent.sum(0)))
    assert (result.low, result.high) == pytest.approx((ends.min(), ends.max()))  # 1/27 > 2.5 %: the ends are the extremes
    assert math.isnan(result.p)


def test_classes_have_their_own_differences_in_the_same_draws() -> None:
    child, parent = ({seed: confusions(right, 3, 7 * seed + place) for seed in (0, 1)} for place, right in enumerate((0.85, 0.7)))
    whole, *classes = paired_differences(child, parent, RESAMPLES, seed=0)
    assert whole == paired_difference(child, parent, RESAMPLES, seed=0) and len(classes) == 2
    by_seed = np.array([class_iou(child[s].sum(0)) - class_iou(parent[s].sum(0)) for s in (0, 1)])
    for place, found in enumerate(classes):
        assert found.mean == pytest.approx(by_seed[:, place].mean())
        assert found.p > 0.999 * stats.ttest_1samp(by_seed[:, place], 0).pvalue
        assert found.seeds == (0, 1) and found.low < found.mean < found.high


def test_one_seed_gives_a_class_the_interval_of_all_draws_of_scenes() -> None:
    child, parent = confusions(0.85, 3, 0), confusions(0.7, 3, 1)
    draws = np.stack(np.meshgrid(*[range(3)] * 3), -1).reshape(-1, 3)
    drawn = np.array([class_iou(child[draw].sum(0)) - class_iou(parent[draw].sum(0)) for draw in draws])
    ends = stretched(drawn, class_iou(child.sum(0)) - class_iou(parent.sum(0)))
    _, *classes = paired_differences({0: child}, {0: parent}, 20_000, seed=0)
    for place, found in enumerate(classes):
        assert (found.low, found.high) == pytest.approx((ends[:, place].min(), ends[:, place].max()))


def test_a_class_in_few_scenes_is_left_out_of_draws_without_it_and_an_absent_one_has_no_numbers() -> None:
    """Class 1 lies in the first of three scenes alone; 2 is nowhere."""
    rows = [np.zeros((3, 3, 3), np.int64) for _ in range(2)]
    for row, right in zip(rows, (30, 20), strict=True):
        row[:, 0, 0], row[0, 1, 1], row[0, 1, 0] = 50, right, 40 - right
    _, _, rare, absent = paired_differences({0: rows[0]}, {0: rows[1]}, RESAMPLES, seed=0)
    assert rare.mean == rare.low == rare.high == pytest.approx(30 / 40 - 20 / 40)
    assert all(math.isnan(value) for value in (absent.mean, absent.low, absent.high, absent.p))


def test_scenes_alike_leave_the_width_of_a_t_interval_to_the_seeds() -> None:
    generator = np.random.default_rng(1)
    gains = generator.normal(0.02, 0.02, 12)
    pixels = 1_000_000
    row = {
        s: np.array([[[pixels // 2 + int(g * pixels / 2), pixels // 2 - int(g * pixels / 2)], [0, 0]]])
        for s, g in enumerate(gains)
    }
    base = {s: np.array([[[pixels // 2, pixels // 2], [0, 0]]]) for s in row}
    result = paired_difference(row, base, 20_000, seed=0)
    by_seed = [mean_iou(row[s][0]) - mean_iou(base[s][0]) for s in row]
    low, high = stats.t.interval(0.95, 11, np.mean(by_seed), stats.sem(by_seed))
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_stretch_is_one_for_a_seed_or_scene_and_falls_towards_one() -> None:
    factors = [statistics._stretch(drawn) for drawn in (1, 2, 3, 5, 50)]
    assert factors[0] == 1.0
    assert factors[1] > factors[2] > factors[3] > factors[4] > 1.0
    assert factors[2] == pytest.approx(math.sqrt(1.5) * stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975))


def trial_by_seeds(trial: int) -> bool:
    """Whether the interval of two rows that differ by their three seeds alone holds zero."""
    shift = np.random.default_rng(trial).normal(0, 0.02, (2, 3))
    rows = [{s: confusions(0.75 + row[s], 6, trial, 40_000, 0.0) for s in range(3)} for row in shift]
    result = paired_difference(rows[0], rows[1], 300, seed=0)
    return result.low <= 0 <= result.high


def trial_by_scenes(trial: int) -> bool:
    """The same for one seed and rows that differ by their four scenes alone."""
    rows = [confusions(0.75, 4, 2 * trial + row, 40_000) for row in range(2)]
    result = paired_difference({0: rows[0]}, {0: rows[1]}, 300, seed=0)
    return result.low <= 0 <= result.high


@pytest.mark.parametrize("trial", [trial_by_seeds, trial_by_scenes])
def test_interval_covers_with_few_seeds_or_scenes(trial: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.90 <= np.mean([trial(number) for number in range(200)]) <= 0.99
    monkeypatch.setattr(statistics, "_stretch", lambda drawn: 1.0)
    assert np.mean([trial(number) for number in range(200)]) < 0.85  # why the stretch is there
