"""Label efficiency: scores by the share of labelled tiles; rows that are alike but for that share make a curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from georelay.evaluate.confusion import mean_iou
from georelay.report.tables import Row, read_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_SHARES = 3  # a bound and its upper bound are a comparison, not a curve
# Share of labelled tiles in percent -> mIoU of each seed in points.
Curve = Mapping[float, Sequence[float]]


def percent(labels: Any) -> float | None:
    """The share of labelled tiles that a row asks for; None where it asks for a count."""
    if labels is None:
        return 100.0
    return float(labels[:-1]) if isinstance(labels, str) else None


def label_curves(rows: Sequence[Row], seeds: Sequence[int], root: Path) -> dict[str, Curve]:
    """Curves by the part of their rows' names that is the same; rows at fewer than three shares make none."""
    families: dict[str, dict[float, str]] = {}
    for row in rows:
        if (share := percent(row["labels"])) is not None:
            families.setdefault(row["family"], {})[share] = row["experiment"]
    several = [family for family in families.values() if len(family) >= FEWEST_SHARES]
    return {_name(family.values()): _curve(family, seeds, root) for family in several}


def _name(names: Iterable[str]) -> str:
    """The words that all names begin with."""
    words = zip(*(name.split("-") for name in names), strict=False)
    return "-".join(same[0] for same in takewhile(lambda each: len(set(each)) == 1, words))


def _curve(family: Mapping[float, str], seeds: Sequence[int], root: Path) -> Curve:
    runs = {share: read_runs(family[share], seeds, root).values() for share in sorted(family)}
    return {share: [100 * float(mean_iou(run.pooled)) for run in found] for share, found in runs.items() if found}


def draw_label_curve(axes: Axes, curve: Curve, place: float, style: Mapping[str, Any]) -> None:
    """Mean over seeds, one standard deviation up and down; `place` moves the curve aside so that no bar hides another."""
    means = [float(np.mean(scores)) for scores in curve.values()]
    spreads = [float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0 for scores in curve.values()]
    at = [share * 1.04**place for share in curve]
    axes.errorbar(at, means, spreads, capsize=3, linewidth=1.4, elinewidth=1, markersize=5, **style)


def finish_label_axes(axes: Axes, shares: Sequence[float]) -> None:
    """Shares on a logarithmic axis, each with its number."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_xticks(list(shares), [f"{share:g} %" for share in shares])
    axes.xaxis.set_minor_locator(NullLocator())
