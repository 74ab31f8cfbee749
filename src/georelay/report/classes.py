"""IoU of each class, a pair of axes each: what a mean over classes hides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from georelay.evaluate.confusion import class_iou, mean_iou
from georelay.report.canvas import PLAIN, WIDTH, blank_figure, note_figure, wrapped
from georelay.report.study import Study
from georelay.report.tables import Runs
from georelay.report.tree import block_axes, block_inches, draw_interval, draw_key, names_inches, sign_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHOLE = "mIoU"
NARROWEST = 1.0  # inches of a pair of axes
LEAST_SPAN = 8.0  # points
AIR = 0.1  # of the width, beside the outermost: half a mark, which the edge must not cut
KEY = 0.28
Values = Mapping[str, Mapping[str, np.ndarray]]  # by class, then by row: one value a seed, in points


def draw(study: Study) -> Figure:
    """The figure of a study."""
    values = values_of(study.runs)
    if not values:
        return note_figure("no row of this study has been evaluated yet")
    most = max(1, int((WIDTH - names_inches(study)) / NARROWEST))
    share = -(-len(values) // -(-len(values) // most))
    blocks = -(-len(values) // share)
    figure = blank_figure(blocks * block_inches(study) + KEY, layout=None)
    axes = [each for block in range(blocks) for each in block_axes(figure, study, block * block_inches(study), share)]
    for each, (name, rows) in zip(axes, values.items(), strict=False):
        _draw_class(each, name, rows, study)
    for each in axes[len(values) :]:
        each.set_visible(False)
    draw_key(figure, ("better than the parent", "worse", "undecided"))
    return figure


def values_of(runs: Mapping[str, Runs]) -> Values:
    """mIoU and the IoU of each class that any row is scored in; NaN where a class is absent."""
    names = dict.fromkeys(name for found in runs.values() for scores in found.values() for name in scores.scored)
    values: dict[str, dict[str, np.ndarray]] = {name: {} for name in (WHOLE, *names)} if names else {}
    for row, found in runs.items():
        scored = next(iter(found.values())).scored
        pooled = np.stack([scores.pooled for scores in found.values()])
        each = {WHOLE: mean_iou(pooled), **dict(zip(scored, class_iou(pooled).T, strict=True))}
        for name, value in each.items():
            values[name][row] = 100 * np.asarray(value)
    return values


def ends_of(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, and one standard deviation to each side; the mean alone where one value has no spread."""
    mean, sd = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return mean, mean - sd, mean + sd


def _draw_class(axes: Axes, name: str, rows: Mapping[str, np.ndarray], study: Study) -> None:
    axes.margins(x=AIR)
    there = {row: found for row, found in rows.items() if np.isfinite(found).all()}
    for place, row in enumerate(study.depths):
        if row in there:
            axes.plot(there[row], np.full(len(there[row]), place + 0.3), "|", color="0.45", markersize=4)
            draw_interval(axes, place, ends_of(there[row]), _sign(study, row, name))
    first = next(iter(study.depths))
    if first in there:
        axes.axvline(float(there[first].mean()), color="0.4", linewidth=0.9, linestyle="--", zorder=0.9)
    _set_span(axes)
    width = axes.get_position().width * WIDTH
    weight = "bold" if name == WHOLE else "normal"
    axes.set_title(wrapped(name, width, PLAIN), fontsize=PLAIN, loc="left", fontweight=weight, linespacing=0.95)
    axes.set_xlabel("points", fontsize=PLAIN)
    axes.locator_params(axis="x", nbins=3, integer=True)


def _set_span(axes: Axes) -> None:
    """No narrower than so many points: what all rows have in common must not look like a difference."""
    low, high = axes.get_xlim()
    spare = max(0.0, LEAST_SPAN - (high - low)) / 2
    axes.set_xlim(low - spare, high + spare)


def _sign(study: Study, row: str, name: str) -> dict[str, Any]:
    """As in the forest plot; a diamond where there is nothing to differ from."""
    line = study.lines.get(row, {})
    suffix = "" if name == WHOLE else f" {name}"
    low, high = (line.get(f"{end}{suffix}", math.nan) for end in ("low", "high"))
    return {"marker": "D", "color": "black", "markerfacecolor": "black"} if math.isnan(low) else sign_of(low, high)
