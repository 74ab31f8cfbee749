"""The forest plot: differences to the parent and to the baseline, and the share of a gap closed, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from georelay.report import closed
from georelay.report.canvas import PLAIN, SMALL, SOFT, WIDTH, blank_figure, note_figure, short_name, wrapped
from georelay.report.study import Study
from georelay.report.tables import spread
from georelay.report.tree import block_axes, block_inches, draw_interval, draw_key, sign_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORES = 1.3  # inches of the column of means
KEY = 0.28
REACH = 2.0  # an interval is drawn up to so many usual half-widths beyond the outermost dots: one wide one hides no other
FAR = 1.0  # a dot farther from the tenth and ninetieth of a hundred than they are from each other is told as a number
AIR = 0.05  # of the width, beside the outermost
Ends = tuple[float, float, float]  # mean, low, high


class Panel(NamedTuple):
    """Numbers of rows side by side, and where lines stand that they are read against."""

    title: str
    label: str
    ends: Mapping[str, Ends]
    guides: tuple[float, ...] = (0.0,)


def draw(study: Study) -> Figure:
    """The figure of a study."""
    if not any(line["n"] for line in study.lines.values()):
        return note_figure("no row of this study has been evaluated yet")
    panels = list(panels_of(study))
    figure = blank_figure(block_inches(study) + KEY, layout=None)
    axes = block_axes(figure, study, 0.0, max(1, len(panels)), SCORES)
    for each, panel in zip(axes, panels, strict=False):
        draw_panel(each, panel, list(study.depths))
    _draw_scores(axes[-1], study)
    draw_key(figure)
    return figure


def panels_of(study: Study) -> Iterator[Panel]:
    """What the table has differences of; those to the baseline only where they are not those to the parent throughout."""
    lines = study.lines
    parent = _ends(lines, ("difference", "low", "high"))
    yield Panel("difference to the parent", "points of mIoU", parent)
    base = _ends(lines, ("base_difference", "base_low", "base_high"))
    first = next(iter(study.depths))
    if any(lines[name]["parent"] != first for name in base):
        yield Panel(f"difference to {short_name(first, study.name)}", "points of mIoU", base)
    if shares := closed.drawn_shares(closed.read_shares(list(lines.values()))):
        yield Panel("share of the gap closed", "percent of the gap", shares, (0.0, 100.0))


def _ends(lines: Mapping[str, Mapping[str, Any]], columns: tuple[str, str, str]) -> dict[str, Ends]:
    """In points, of the rows that have them."""
    found = {row: [100 * line.get(column, math.nan) for column in columns] for row, line in lines.items()}
    return {row: (mean, low, high) for row, (mean, low, high) in found.items() if math.isfinite(mean)}


def draw_panel(axes: Axes, panel: Panel, rows: list[str]) -> None:
    """A dot and an interval each, beside the lines they are read against."""
    for guide in panel.guides:
        axes.axvline(guide, color="0.25", linewidth=1.0, linestyle="--" if guide else "-")
    edges = limits(panel)
    for name, ends in panel.ends.items():
        _draw_ends(axes, rows.index(name), ends, edges)
    axes.set_xlim(edges)
    axes.set_xlabel(panel.label, fontsize=PLAIN)
    title = wrapped(panel.title, axes.get_position().width * WIDTH, PLAIN)
    axes.set_title(title, fontsize=PLAIN, loc="left", linespacing=0.95)


def _draw_ends(axes: Axes, place: int, ends: Ends, edges: tuple[float, float]) -> None:
    """A dot on its interval; what goes on beyond the edges ends in an arrow, and a dot that is there is told as a number."""
    (mean, low, high), (left, right), sign = ends, edges, sign_of(*ends[1:])
    if left <= mean <= right:
        draw_interval(axes, place, (mean, max(low, left), min(high, right)), sign)
    else:
        side, align = (left, "left") if mean < left else (right, "right")
        axes.annotate(
            f"{mean:+.1f}".replace("-", "−"),
            (side, place),
            (8 if align == "left" else -8, 0),
            textcoords="offset points",
            ha=align,
            va="center",
            fontsize=SMALL,
            color=sign["color"],
        )
    for end, marker, beyond in ((left, "<", low < left), (right, ">", high > right)):
        if beyond:
            axes.plot([end], [place], marker, color=sign["color"], markersize=5, clip_on=False)


def limits(panel: Panel) -> tuple[float, float]:
    """From where to where a panel goes: all lines and dots but single far ones, intervals up to a multiple of the usual width."""
    if not panel.ends:
        return -1.0, 1.0
    means, lows, highs = (np.array(values) for values in zip(*panel.ends.values(), strict=True))
    tenth, last = np.quantile(means, (0.1, 0.9))
    usual = REACH * float(np.median(highs - lows) / 2)
    left = min(*panel.guides, max(lows.min(), max(means.min(), tenth - FAR * (last - tenth)) - usual), 0.0)
    right = max(*panel.guides, min(highs.max(), min(means.max(), last + FAR * (last - tenth)) + usual), 0.0)
    air = AIR * (right - left) or 1.0
    return float(left - air), float(right + air)


def _draw_scores(axes: Axes, study: Study) -> None:
    """Mean and spread of every row, right of the last axes."""
    at = axes.get_yaxis_transform()
    axes.text(1.06, -0.62, "mIoU ± sd (n)", transform=at, fontsize=PLAIN, va="bottom")
    for place, name in enumerate(study.depths):
        line = study.lines.get(name)
        text = f"{spread(line['mean'], line['sd'])} ({line['n']})" if line and line["n"] else "no runs"
        axes.text(1.06, place, text, transform=at, fontsize=PLAIN, va="center", color="black" if line else SOFT)
