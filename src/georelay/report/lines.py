"""What a study's table says of each row: its spread over seeds, how it differs from its parent and from the baseline, notes.

Both differences come from one mechanism. The p-values of all that are compared with their parent are corrected as one family,
those of all that are compared with the baseline as another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from georelay.evaluate.confusion import mean_iou
from georelay.evaluate.scores import scores_path
from georelay.evaluate.statistics import (
    NO_DIFFERENCE,
    Difference,
    Share,
    Summary,
    gap_shares,
    holm,
    paired_differences,
    summarise,
)
from georelay.report import closed
from georelay.report.tables import Row, Runs, families

STAGES = ("evaluate", "predict", "train")  # of one seed, the last first


@dataclass(frozen=True)
class Against:
    """How a row differs from another in mIoU and by class, or the reason why that cannot be told."""

    row: str | None
    whole: Difference = NO_DIFFERENCE
    classes: Mapping[str, Difference] = field(default_factory=dict)
    reason: str = ""
    p_holm: float = math.nan


@dataclass(frozen=True)
class Line:
    """One row of a study's table; depth counts the ancestors that stand above it in the same table."""

    row: str
    why: str
    depth: int
    summary: Summary
    parent: Against
    base: Against
    notes: tuple[str, ...]
    shares: Mapping[str, closed.Ends] = field(default_factory=dict)


def study_lines(
    rows: Sequence[Row], runs: Mapping[str, Runs], seeds: Sequence[int], root: Path, resamples: int, seed: int
) -> list[Line]:
    """A line for each row, parents above their children."""
    against = partial(_against, runs=runs, resamples=resamples, seed=seed)
    ordered, base = list(families(rows)), baseline(rows)
    parents = {row["experiment"]: against(row["experiment"], row["parent"]) for _, row in ordered}
    bases = {name: found if found.row == base else against(name, base) for name, found in parents.items()}
    parents, bases = _corrected(parents), _corrected(bases)

    def line(depth: int, row: Row) -> Line:
        name = row["experiment"]
        missing = _unscored_runs(name, runs[name], seeds, root)
        return _line(row, depth, runs[name], parents[name], bases[name], missing)

    return [line(depth, row) for depth, row in ordered]


def baseline(rows: Sequence[Row]) -> str:
    """The first row that has no parent inside the study."""
    names = {row["experiment"] for row in rows}
    return next(str(row["experiment"]) for row in rows if row["parent"] not in names)


def _against(name: str, other: str | None, *, runs: Mapping[str, Runs], resamples: int, seed: int) -> Against:
    own = runs[name]
    if other is None or other == name or not own:
        return Against(None if other == name else other)
    if reason := _incomparable(own, other, runs):
        return Against(other, reason=reason)
    whole, *each = paired_differences(_cells(own), _cells(runs[other]), resamples, seed)
    return Against(other, whole, dict(zip(next(iter(own.values())).scored, each, strict=True)))


def _incomparable(own: Runs, other: str, runs: Mapping[str, Runs]) -> str:
    """Why a row cannot be paired with another; empty when it can."""
    if other not in runs:
        return f"parent {other} stands in another study"
    if not set(own) & set(runs[other]):
        return f"no seed in common with {other}"
    keys = {(scores.classes, scores.unscored, scores.scenes) for scores in [*own.values(), *runs[other].values()]}
    return f"tested on other scenes or classes than {other}" if len(keys) > 1 else ""


def _cells(runs: Runs) -> dict[int, np.ndarray]:
    return {seed: scores.confusions for seed, scores in runs.items()}


def _corrected(family: Mapping[str, Against]) -> dict[str, Against]:
    values = holm([found.whole.p for found in family.values()])
    return {name: replace(found, p_holm=p) for (name, found), p in zip(family.items(), values, strict=True)}


def _line(row: Row, depth: int, own: Runs, parent: Against, base: Against, missing: Iterable[str]) -> Line:
    summary = summarise([float(mean_iou(scores.pooled)) for scores in own.values()])
    notes = [*missing, *_alike(own), *_false_classes(own), *_pairs_note(parent, own)]
    if base.reason or base.whole.seeds != parent.whole.seeds:
        notes += _pairs_note(base, own, named=True)
    return Line(row["experiment"], row["why"], depth, summary, parent, base, tuple(dict.fromkeys(notes)))


def _unscored_runs(name: str, own: Runs, seeds: Sequence[int], root: Path) -> Iterator[str]:
    """Seeds that nothing was counted of, that were never run, and that were begun: a failed run is no missing one."""
    empty = [seed for seed in seeds if seed not in own and scores_path(name, seed, root).is_file()]
    traces = {seed: _trace(name, seed, root) for seed in seeds if seed not in (*own, *empty)}
    never = [seed for seed, trace in traces.items() if trace is None]
    if empty:
        yield f"{_seeds(empty)} without a counted pixel: no true class where the map has one"
    if not own and not empty:
        yield "no runs" if len(never) == len(seeds) else "no finished runs"
    elif never:
        yield f"{_seeds(never)} missing"
    yield from (f"seed {seed} failed or unfinished, see {trace}" for seed, trace in traces.items() if trace)


def _trace(name: str, seed: int, root: Path) -> str | None:
    """The log of the last stage that a run came to; its folder where the logs are gone."""
    logs = [f"results/logs/{stage}/{name}/seed{seed}.log" for stage in STAGES]
    return next((place for place in [*logs, f"results/runs/{name}/seed{seed}/plan.json"] if (root / place).is_file()), None)


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _alike(own: Runs) -> Iterator[str]:
    """Runs that do not depend on their seed are one run, however often it was counted."""
    first, *others = [scores.counts for scores in own.values()] or [np.empty(0)]
    if others and all(np.array_equal(first, other) for other in others):
        yield "the same counts at every seed: no sd, interval or p tells what training it anew would change"


def _false_classes(own: Runs) -> Iterator[str]:
    """Classes that are predicted though no pixel is truly of them."""
    found: dict[str, list[int]] = {}
    for seed, scores in own.items():
        truth, predicted = scores.pooled.sum(1), scores.pooled.sum(0)
        for name, true, claimed in zip(scores.scored, truth, predicted, strict=False):
            if claimed and not true:
                found.setdefault(name, []).append(seed)
    for name, at in found.items():
        yield f"{name} is predicted at {_seeds(at)} though no true pixel is of it: an IoU of 0 there, which lowers mIoU"


def _pairs_note(gap: Against, own: Runs, named: bool = False) -> Iterator[str]:
    """What limits a difference; `named` where it is not the one to the parent."""
    pairs = gap.whole.seeds
    if gap.reason:
        yield gap.reason
    elif len(pairs) == 1:
        yield f"one pair{f' with {gap.row}' if named else ''}: the interval covers test scenes only, and there is no p"
    elif pairs and len(pairs) < len(own):
        yield f"difference{f' to {gap.row}' if named else ''} over {_seeds(pairs)}"


def with_shares(lines: Sequence[Line], bounds: closed.Bounds, runs: Mapping[str, Runs], resamples: int, seed: int) -> list[Line]:
    """Lines with their shares of the gap and what is to be said of them; bounds and rows without runs stay as they are."""
    shares = partial(gap_shares, resamples=resamples, seed=seed)
    return [line if line.row in bounds or not runs[line.row] else _judged(line, bounds, runs, shares) for line in lines]


def _judged(line: Line, bounds: closed.Bounds, runs: Mapping[str, Runs], shares_of: Callable[..., tuple[Share, ...]]) -> Line:
    own = runs[line.row]
    reason = _incomparable(own, bounds[0], runs) or _incomparable(own, bounds[1], runs)
    if not reason and not set(own).intersection(*(runs[name] for name in bounds)):
        reason = f"no seed in common with both {' and '.join(bounds)}"
    shares = () if reason else shares_of(_cells(own), _cells(runs[bounds[0]]), _cells(runs[bounds[1]]))
    said = f"no share of the gap: {reason}" if reason else _share_note(shares[0], len(own))
    scored = ("", *next(iter(own.values())).scored)
    ends = {name: closed.ends_of(share) for name, share in zip(scored, shares, strict=False)}
    return replace(line, shares=ends, notes=(*line.notes, *([said] if said else [])))


def _share_note(share: Share, runs: int) -> str:
    if len(share.seeds) == 1:
        return f"share of the gap over seed {share.seeds[0]}: its interval covers test scenes only"
    return f"share of the gap over seeds {', '.join(map(str, share.seeds))}" if len(share.seeds) < runs else ""
