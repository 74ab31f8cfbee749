"""How sure a comparison is: mean and spread over seeds, and paired differences with an interval and a p-value.

Two things vary when an experiment is repeated: the seed of the training and the scenes of the test. The interval of a
difference covers both. Each bootstrap sample draws test scenes with replacement (the same draw for both rows and all
seeds, since all are tested on the same scenes), adds up their confusion matrices, scores them, and takes the difference
of each seed; then it draws seeds with replacement. Drawing 3 seeds from 3 makes intervals too narrow (a nominal 95 %
interval covered 78 % in a simulation where seeds dominate), and so does drawing 4 scenes from 4 (80 % where they do); so what
each draw moves is stretched by sqrt(n / (n - 1)) * t / z, the ratio between a t interval and a plug-in normal one. What varies
by seed and scene jointly is counted in both draws, so intervals err on the wide side. With one seed the interval covers scenes
only, with one scene seeds only. mIoU and the IoU of every class come from the same samples; a sample whose scenes hold nothing
of a class has no IoU of it and is left out there.

The p-value is the larger of two, both two-sided. The first is that of a paired t-test over seeds, which takes the test scenes
as given: rows that are as good on average, but not in the same scenes, it tells apart all too often. The second has the
variance of scenes, which is that of their draws times n / (n - 1), added to that of seeds, with degrees of freedom after Welch
and Satterthwaite, rounded down; alone it would be too sure where few seeds vary most. A study corrects the p-values of its
comparisons after Holm. How often intervals cover and studies err is measured by benchmarks/coverage.py and told in
docs/evidence.md. Plain numpy: scipy.stats takes longer to import (1.6 s) than all of this to run; the tests hold it against
scipy.

How large a difference is beside its spread over seeds is Cohen's d_z = mean / sd of the paired differences, times Hedges'
J(m) = gamma(m / 2) / (sqrt(m / 2) gamma((m - 1) / 2)) for m = n - 1, which takes out what small samples add on average. J(1)
is 0, two pairs have no unbiased estimate, so it starts at three. Whether rows come in the same order at every seed is told
by Kendall's tau-b between the orders of two seeds, the mean over all pairs of seeds.

The share of a gap that a row closes is a ratio of two such differences, (row - lower) / (upper - lower), each a mean over
seeds: gaps of single seeds may be near zero, and a mean of ratios would be all theirs. No t interval is that of a ratio,
but Fieller's theorem needs none: a share s is in the interval when row - lower - s (upper - lower) may be zero, and that is
a difference like any other, with the stretched samples above. Where upper - lower > 0 in a sample, it is at most zero there
just when s is at least that sample's own ratio. So the interval's ends are quantiles of the samples' ratios, numerator and
denominator from the same draw; samples without a gap count as beyond both ends, which is on the wide side. Where those
are more than the interval leaves out, upper - lower may itself be zero: the interval has no ends, and there is no gap.
In a simulation with a true share of a half this covered 93 to 100 % for 2 to 5 seeds; without the stretch, 48 to 92 % for 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from georelay.evaluate.confusion import class_iou, mean_present

LEVEL = 0.95  # every interval in tables, figures and report
NOISE = 0.5  # a rank agreement between seeds below this is warned of
ROUNDING = 1e-12  # differences of fractions that are closer than this are equal


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1) and number of values; NaN where they do not exist."""

    n: int
    mean: float
    sd: float


@dataclass(frozen=True)
class Difference:
    """Child minus parent over the seeds that both have, with its interval, p-value and effect size."""

    seeds: tuple[int, ...]
    mean: float
    low: float
    high: float
    p: float
    effect: float


@dataclass(frozen=True)
class Share:
    """What a row closes of the gap between two bounds, 1 all of it; without a gap it is NaN, from -inf to inf."""

    seeds: tuple[int, ...]
    mean: float
    low: float
    high: float


NO_DIFFERENCE = Difference((), math.nan, math.nan, math.nan, math.nan, math.nan)
NO_SHARE = Share((), math.nan, math.nan, math.nan)


def summarise(values: list[float]) -> Summary:
    """Mean and sample standard deviation of finite values; others are left out."""
    finite = np.array([value for value in values if math.isfinite(value)])
    mean = float(finite.mean()) if finite.size else math.nan
    sd = float(finite.std(ddof=1)) if finite.size > 1 else math.nan
    return Summary(finite.size, mean, sd)


def paired_difference(child: Mapping[int, np.ndarray], parent: Mapping[int, np.ndarray], resamples: int, seed: int) -> Difference:
    """Difference of mIoU between two rows; each maps a seed to confusions [scene, truth, predicted]."""
    return paired_differences(child, parent, resamples, seed)[0]


def paired_differences(
    child: Mapping[int, np.ndarray], parent: Mapping[int, np.ndarray], resamples: int, seed: int
) -> tuple[Difference, ...]:
    """Differences of mIoU, then of the IoU of each class; of mIoU alone where no seed is in common."""
    seeds = tuple(sorted(set(child) & set(parent)))
    if not seeds:
        return (NO_DIFFERENCE,)
    pair = np.stack([[child[s], parent[s]] for s in seeds])  # [seed, row, scene, truth, predicted]
    (drawn,) = _bootstrap(pair, resamples, np.random.default_rng(seed))
    return tuple(
        Difference(seeds, float(by_seed.mean()), *_interval(samples), _p_value(by_seed, centres, pair.shape[2]), hedges(by_seed))
        for by_seed, centres, samples in zip(*drawn, strict=True)
    )


def gap_shares(
    row: Mapping[int, np.ndarray], lower: Mapping[int, np.ndarray], upper: Mapping[int, np.ndarray], resamples: int, seed: int
) -> tuple[Share, ...]:
    """What a row closes of the gap in mIoU, then in the IoU of each class, over the seeds that all three have."""
    seeds = tuple(sorted(set(row) & set(lower) & set(upper)))
    if not seeds:
        return (NO_SHARE,)
    three = np.stack([[row[s], upper[s], lower[s]] for s in seeds])
    gain, gap = _bootstrap(three, resamples, np.random.default_rng(seed))
    return tuple(_share(seeds, *parts) for parts in zip(gain.exact, gap.exact, gain.samples, gap.samples, strict=True))


def _share(seeds: tuple[int, ...], gain: np.ndarray, gap: np.ndarray, gains: np.ndarray, gaps: np.ndarray) -> Share:
    """From differences to the lower bound by seed, the row's and the upper bound's, and their samples."""
    closed, whole = float(gain.mean()), float(gap.mean())
    kept = np.isfinite(gains) & np.isfinite(gaps)
    if math.isnan(closed) or math.isnan(whole) or not kept.any():
        return Share(seeds, math.nan, math.nan, math.nan)
    low, high = _share_interval(gains[kept], gaps[kept])
    if whole <= 0 or math.isinf(low) or math.isinf(high):
        return Share(seeds, math.nan, -math.inf, math.inf)
    return Share(seeds, closed / whole, low, high)


def _share_interval(gains: np.ndarray, gaps: np.ndarray) -> tuple[float, float]:
    beyond = np.full(gaps.shape, math.inf)
    shares = np.divide(gains, gaps, out=beyond, where=gaps > 0)
    low = np.quantile(np.where(gaps > 0, shares, -math.inf), (1 - LEVEL) / 2, method="lower")  # nothing lies between infinities
    high = np.quantile(shares, (1 + LEVEL) / 2, method="higher")
    return float(low), float(high)


def _differences_by_seed(pooled: np.ndarray) -> list[np.ndarray]:
    """From confusions [..., seed, row, truth, predicted] to [score, ..., seed], mIoU and classes: each row minus the last."""
    classes = class_iou(pooled)
    scores = np.stack([mean_present(classes), *np.moveaxis(classes, -1, 0)])
    return [scores[..., row] - scores[..., -1] for row in range(scores.shape[-1] - 1)]


class Drawn(NamedTuple):
    """What is known of a row's difference to another, for each score."""

    exact: np.ndarray  # [score, seed]
    centres: np.ndarray  # [score, sample]: means over seeds, scenes alone drawn
    samples: np.ndarray  # [score, sample]: means over seeds and scenes together, both stretched


def _bootstrap(stack: np.ndarray, resamples: int, generator: np.random.Generator) -> list[Drawn]:
    """Of every row its difference to the last."""
    seeds, rows, scenes, *matrix = stack.shape
    weights = generator.multinomial(scenes, np.full(scenes, 1 / scenes), size=resamples)
    cells = np.moveaxis(stack, 2, 0).reshape(scenes, -1).astype(np.float64)  # BLAS has no integers; exact below 2**53
    pooled = (weights @ cells).reshape(resamples, seeds, rows, *matrix)
    places = generator.integers(0, seeds, (resamples, seeds))
    pairs = zip(_differences_by_seed(stack.sum(2)), _differences_by_seed(pooled), strict=True)
    return [_drawn(exact, by_seed, scenes, places) for exact, by_seed in pairs]


def _drawn(exact: np.ndarray, by_seed: np.ndarray, scenes: int, places: np.ndarray) -> Drawn:
    """From draws of scenes [score, sample, seed], and for each sample a draw of seeds."""
    mean, centres = exact.mean(1)[:, None], by_seed.mean(2)
    both = np.take_along_axis(by_seed, places[None], axis=2).mean(2)
    samples = mean + _stretch(scenes) * (centres - mean) + _stretch(by_seed.shape[2]) * (both - centres)
    return Drawn(exact, centres, samples)


def _stretch(drawn: int) -> float:
    """Factor on what a draw of so many seeds or scenes moves, see the module's text; irrelevant for one."""
    if drawn < 2:
        return 1.0
    normal = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    return math.sqrt(drawn / (drawn - 1)) * t_quantile(LEVEL, drawn - 1) / normal


def _interval(samples: np.ndarray) -> tuple[float, float]:
    finite = samples[np.isfinite(samples)]  # a draw of scenes without any counted pixel, or any of a class, has no score
    if not finite.size:
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _p_value(differences: np.ndarray, centres: np.ndarray, scenes: int) -> float:
    """The larger p of two t-tests, over seeds and over seeds and scenes; the module's text says why."""
    p, finite = paired_t_test(differences), differences[np.isfinite(differences)]
    if math.isnan(p) or p == 1 or scenes < 2:
        return p
    by_seeds, by_scenes = float(finite.var(ddof=1)) / finite.size, float(np.nanvar(centres)) * scenes / (scenes - 1)
    error = by_seeds + by_scenes
    freedom = error**2 / (by_seeds**2 / (finite.size - 1) + by_scenes**2 / (scenes - 1))
    return max(p, _two_sided(float(finite.mean()) / math.sqrt(error), math.floor(freedom + ROUNDING)))


def paired_t_test(differences: np.ndarray) -> float:
    """Two-sided p-value of a mean difference of zero; NaN below two pairs, or where all are one number but 0."""
    finite = differences[np.isfinite(differences)]
    if finite.size < 2:
        return math.nan
    if np.ptp(finite) < ROUNDING:
        return 1.0 if abs(finite[0]) < ROUNDING else math.nan
    error = float(finite.std(ddof=1)) / math.sqrt(finite.size)
    return _two_sided(float(finite.mean()) / error, finite.size - 1)


def _two_sided(t: float, freedom: int) -> float:
    return max(0.0, 1.0 - t_coverage(abs(t), freedom))  # the series may end a rounding above 1


def hedges(differences: np.ndarray) -> float:
    """Mean paired difference in standard deviations, corrected for few pairs; NaN below three pairs or without spread."""
    finite = differences[np.isfinite(differences)]
    if finite.size < 3 or np.ptp(finite) < ROUNDING:
        return math.nan
    half = (finite.size - 1) / 2
    small = math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
    return small * float(finite.mean() / finite.std(ddof=1))


def holm(p: Sequence[float]) -> list[float]:
    """Step-down corrected p-values of one family (Holm 1979); NaN stays NaN and does not count."""
    values = np.array(p, dtype=np.float64)
    rising = np.argsort(values)[: int(np.isfinite(values).sum())]  # NaN is sorted last
    stepped = values[rising] * np.arange(rising.size, 0, -1)
    values[rising] = np.minimum(np.maximum.accumulate(stepped), 1)
    return [float(value) for value in values]


def rank_agreement(scores: np.ndarray) -> float:
    """Mean Kendall tau-b between the orders that two seeds give to rows; scores [row, seed], NaN below 3 rows or 2 seeds.

    With the sign of each pair of rows at a seed as a vector, tau-b of two seeds is the cosine between theirs. A seed at which
    all rows are equal has no order and is left out.
    """
    if len(scores) < 3:
        return math.nan
    one, other = np.triu_indices(len(scores), 1)
    signs = np.sign(scores[one] - scores[other])
    lengths = np.sqrt((signs**2).sum(0))
    units = signs[:, lengths > 0] / lengths[lengths > 0]
    taus = (units.T @ units)[np.triu_indices(units.shape[1], 1)]
    return float(taus.mean()) if taus.size else math.nan


def t_coverage(t: float, freedom: int) -> float:
    """P(|T| < t) of Student's t for whole degrees of freedom, by its finite series (Abramowitz & Stegun 26.7.3-4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (power - 1) / power
    series = math.sin(angle) * total
    return 2 / math.pi * (angle + series) if odd else series


def t_quantile(level: float, freedom: int) -> float:
    """The t with P(|T| < t) = level, by bisection."""
    low, high = 0.0, 1.0
    while t_coverage(high, freedom) < level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_coverage(middle, freedom) < level else (low, middle)
    return high
