"""What to know before believing a study's table: whether seeds agree on the order, whether anything is told apart, classes
that are not there or in few scenes, and scenes that are alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from georelay.evaluate.confusion import mean_iou
from georelay.evaluate.scores import Scores
from georelay.evaluate.statistics import LEVEL, NOISE, rank_agreement
from georelay.report.tables import Runs

Interval = tuple[float, float]


def cautions(runs: Mapping[str, Runs], intervals: Mapping[str, Sequence[Interval]]) -> list[str]:
    """Sentences about a study from the scores of its rows, and from its intervals by what they are differences to."""
    undecided = (_undecided(to) for to, ends in intervals.items() if _hold_zero(ends))
    return [_agreement(runs), *undecided, *_alone(runs), *_absent(runs), *_scarce(runs)]


def _agreement(runs: Mapping[str, Runs]) -> str:
    scores = shared_scores(runs)
    agreement, (rows, seeds) = rank_agreement(scores), scores.shape
    if math.isnan(agreement):
        return (
            "Warning: whether seeds agree on the order of the rows cannot be told: that takes three rows, not all equal, with "
            f"two seeds in common, and here the rows and seeds to go by are {rows} and {seeds}."
        )
    told = f"Rank agreement between seeds: {agreement:.2f}".replace("-", "−")
    named = f"{told} (mean Kendall tau-b, {rows} of {len(runs)} rows, {seeds} seeds)."
    return f"{named} Warning: below {NOISE} the order of the rows rests on noise." if agreement < NOISE else named


def shared_scores(runs: Mapping[str, Runs]) -> np.ndarray:
    """mIoU [row, seed] of the rows tested on what the first of them is tested on, at seeds that they all have.

    Of rows with unequal seeds those are kept that leave the most pairs of rows at pairs of seeds.
    """
    tested = {name: {_tested(scores) for scores in own.values()} for name, own in runs.items() if own}
    first = next(iter(tested.values()), set())
    alike = [runs[name] for name, kinds in tested.items() if kinds == first and len(kinds) == 1]
    whole = {seeds: [own for own in alike if set(seeds) <= set(own)] for seeds in sorted({tuple(sorted(own)) for own in alike})}
    seeds = max(whole, key=lambda seeds: math.comb(len(whole[seeds]), 2) * math.comb(len(seeds), 2), default=())
    kept = whole.get(seeds, [])
    return np.array([[float(mean_iou(own[seed].pooled)) for seed in seeds] for own in kept]).reshape(len(kept), len(seeds))


def _tested(scores: Scores) -> tuple[tuple[str, ...], ...]:
    return scores.classes, scores.unscored, scores.scenes


def _hold_zero(intervals: Iterable[Interval]) -> bool:
    known = [(low, high) for low, high in intervals if not math.isnan(low)]
    return bool(known) and all(low <= 0 <= high for low, high in known)


def _undecided(to: str) -> str:
    return f"Warning: every 95 % interval of the differences to {to} holds zero: none of them is told apart from noise."


def _alone(runs: Mapping[str, Runs]) -> Iterator[str]:
    rows = [name for name, own in runs.items() if any(len(scores.scenes) == 1 for scores in own.values())]
    if rows:
        yield f"Warning: {', '.join(rows)}: tested on a single scene, so intervals and p-values say nothing of other scenes."


def _absent(runs: Mapping[str, Runs]) -> Iterator[str]:
    for label, whose in _classes(runs, lambda held: not held.any()):
        yield f"No true pixel of the test scenes{whose} is of class {label}: left out of mIoU, unless it is predicted."


def _scarce(runs: Mapping[str, Runs]) -> Iterator[str]:
    for label, whose in _classes(runs, _is_scarce):
        yield (
            f"Warning: so few of the test scenes{whose} hold class {label} that more than one sample in twenty lacks it: the "
            f"intervals of {label} are too narrow, and some samples of mIoU are without it."
        )


def _is_scarce(held: np.ndarray) -> bool:
    """Whether draws with replacement lack what some scenes hold more often than an interval may leave out."""
    return bool(held.any()) and float((1 - held.mean()) ** held.size) > 1 - LEVEL


def _classes(runs: Mapping[str, Runs], odd: Callable[[np.ndarray], bool]) -> Iterator[tuple[str, str]]:
    """Classes that are odd by which scenes hold true pixels of them, with the rows of which that holds where it is not all."""
    firsts = {name: next(iter(own.values())) for name, own in runs.items() if own}
    found: dict[str, list[str]] = {}
    for name, scores in firsts.items():
        for label, held in zip(scores.scored, (scores.confusions.sum(2) > 0).T, strict=True):
            if odd(held):
                found.setdefault(label, []).append(name)
    for label, rows in found.items():
        yield label, "" if len(rows) == len(firsts) else f" of {', '.join(rows)}"
