"""The curves of a study's runs over their steps: score, loss, and what became of pseudo-labels, with their spread over seeds.

Matplotlib is imported inside the functions that draw, and used without pyplot: no global state, no window system. Lines
differ in colour (Okabe and Ito's, safe for colour-blind readers) and in marker, so that they can be told apart in grey.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from georelay.reference import plain_name
from georelay.report.closed import TITLE, Ends, draw_shares, shares_inches
from georelay.report.efficiency import Curve, draw_label_curve, finish_label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
MARKERS = "os^DvPX*"
BINS = 40  # a loss curve is drawn as means over this many parts of the training: single batches are noise
DPI = 110
CURVES_INCHES = (9.6, 3.6)
ANSWERS_INCHES = 2.9
MOST_CURVES = 6  # in one pair of axes; more become a line of axes each
History = Mapping[str, np.ndarray]  # the columns of a run's history.csv


class Measure(NamedTuple):
    """A column of a history as it is drawn."""

    column: str
    title: str
    scale: float = 1.0
    bins: int | None = BINS
    logarithmic: bool = False


class Band(NamedTuple):
    """A line of axes: what each shows, and of which rows."""

    measures: Sequence[Measure]
    styles: Mapping[str, Mapping[str, Any]]
    inches: float


SCORES = (
    Measure("val_miou", "mIoU on validation tiles (points)", scale=100, bins=None),
    # Methods add up losses of very different sizes.
    Measure("loss", f"training loss (means of 1/{BINS} of the steps)", logarithmic=True),
)
ANSWERS = (
    Measure("sure", "share of sure pseudo-labels"),
    Measure("right", "share of right pseudo-labels"),
    Measure("confidence", "mean confidence of pseudo-labels"),
)


def read_histories(experiment: str, seeds: Sequence[int], root: Path) -> list[dict[str, np.ndarray]]:
    """The columns of each finished seed's history.csv as numbers; NaN where a cell is blank."""
    paths = [root / "results/runs" / experiment / f"seed{seed}" / "history.csv" for seed in seeds]
    return [_columns(path.read_text()) for path in paths if path.is_file()]


def _columns(text: str) -> dict[str, np.ndarray]:
    reader = csv.DictReader(io.StringIO(text))
    rows = list(reader)
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in reader.fieldnames or ()}


def draw_curves(
    study: str,
    histories: Mapping[str, Sequence[History]],
    efficiency: Mapping[str, Curve] = {},
    shares: Mapping[str, Ends] = {},
) -> Figure:
    """Shares of the gap, and scores by the share of labels, where rows have them; then each row's runs, a few at a time."""
    bands = list(_bands(study, histories))
    tops = [shares_inches(shares)] * bool(shares) + [CURVES_INCHES[1]] * bool(efficiency)
    heights = tops + [band.inches for band in bands]
    figure = blank_figure(CURVES_INCHES[0], sum(heights))
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if shares:
        _draw_gap(parts[0], shares, study)
    if efficiency:
        _draw_efficiency(parts[len(tops) - 1], efficiency, study)
    first: dict[str, Axes] = {}
    for part, band in zip(parts[len(tops) :], bands, strict=True):
        for axes, measure in zip(part.subplots(1, len(band.measures), squeeze=False)[0], band.measures, strict=True):
            _draw_measure(axes, measure, histories, band.styles)
            if first.setdefault(measure.column, axes) is not axes:
                axes.sharey(first[measure.column])
        _name_curves(part)
    return figure


def _bands(study: str, histories: Mapping[str, Sequence[History]]) -> Iterator[Band]:
    """Score and loss of a few rows; below them, under the same signs, the pseudo-labels of those that give any."""
    names = list(histories)
    answers = [measure for measure in ANSWERS if any(_noted(runs, measure) for runs in histories.values())]
    share = -(-len(names) // max(1, -(-len(names) // MOST_CURVES)))  # 13 rows are 5, 5 and 3, not 6, 6 and 1
    for first in range(0, len(names), share) if names else [0]:
        styles = {name: _style(index, short_name(name, study)) for index, name in enumerate(names[first : first + share])}
        yield Band(SCORES, styles, CURVES_INCHES[1])
        answering = {name: style for name, style in styles.items() if any(_noted(histories[name], one) for one in answers)}
        if answering:
            yield Band(answers, answering, ANSWERS_INCHES)


def _noted(runs: Sequence[History], measure: Measure) -> bool:
    """Whether there is anything to draw: of tiles without labels no answer is known to be right, and 0 is no share."""
    values = np.concatenate([run.get(measure.column, np.empty(0)) for run in runs] or [np.empty(0)])
    return bool(np.isfinite(values).any() and (measure.column != "right" or np.nanmax(values) > 0))


def _draw_measure(
    axes: Axes, measure: Measure, histories: Mapping[str, Sequence[History]], styles: Mapping[str, Mapping[str, Any]]
) -> None:
    for name, style in styles.items():
        if _noted(histories[name], measure):
            _draw_spread(axes, [_points_of(run, measure.column, measure.scale, measure.bins) for run in histories[name]], style)
    _finish_axes(axes, measure.title)
    if measure.logarithmic:
        axes.set_yscale("log")


def _draw_gap(part: SubFigure, shares: Mapping[str, Ends], study: str) -> None:
    axes = part.subplots()
    draw_shares(axes, shares, [short_name(name, study) for name in shares])
    _finish_axes(axes, f"{TITLE}, mIoU on test scenes, with its 95 % interval")
    axes.set_xlabel("percent: 0 is the lower bound, 100 the upper", fontsize=9)


def _draw_efficiency(part: SubFigure, efficiency: Mapping[str, Curve], study: str) -> None:
    axes = part.subplots()
    for index, (name, curve) in enumerate(efficiency.items()):
        draw_label_curve(axes, curve, index - (len(efficiency) - 1) / 2, _style(index, short_name(name, study)))
    _finish_axes(axes, "mIoU on test scenes (points) by the share of labelled tiles")
    finish_label_axes(axes, sorted({share for curve in efficiency.values() for share in curve}))
    _name_curves(part)


def _name_curves(part: SubFigure) -> None:
    """One legend below the axes of a part; it takes no width from them."""
    signs: dict[str, Any] = {}
    for axes in part.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            signs.setdefault(label, handle)
    columns = min(3, max(1, len(signs)))
    part.legend(list(signs.values()), list(signs), loc="outside lower left", ncols=columns, fontsize=9, frameon=False)


def blank_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """A white sheet of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")


def _style(index: int, label: str) -> dict[str, Any]:
    return {"color": COLOURS[index], "marker": MARKERS[index], "label": label}


def short_name(name: str, study: str) -> str:
    """A row's name without the study's, which stands above the figure already."""
    return plain_name(name).removeprefix(f"{plain_name(study)}-")


def _points_of(run: History, column: str, scale: float, bins: int | None) -> dict[float, float]:
    """step -> value of one run, averaged within bins of equal length where asked."""
    steps, values = run.get("step", np.empty(0)), run.get(column, np.empty(0))
    if steps.size != values.size or not steps.size:
        return {}
    kept = np.isfinite(values)
    steps, values = steps[kept], values[kept] * scale
    if bins is None or steps.size <= bins:
        return dict(zip(steps.tolist(), values.tolist(), strict=True))
    groups = zip(np.array_split(steps, bins), np.array_split(values, bins), strict=True)
    return {float(part.mean()): float(value.mean()) for part, value in groups}


def _draw_spread(axes: Axes, runs: Sequence[Mapping[float, float]], style: Mapping[str, Any]) -> None:
    """Mean over seeds as a line, one standard deviation to each side as a band."""
    steps = sorted(set().union(*runs)) if runs else []
    if not steps:
        return
    values = [np.array([run[step] for run in runs if step in run]) for step in steps]
    mean = np.array([value.mean() for value in values])
    sd = np.array([value.std(ddof=1) if value.size > 1 else 0.0 for value in values])
    axes.fill_between(steps, mean - sd, mean + sd, color=style["color"], alpha=0.15, linewidth=0)
    axes.plot(steps, mean, markersize=4.5, linewidth=1.4, markevery=max(1, len(steps) // 8), **style)


def _finish_axes(axes: Axes, label: str) -> None:
    axes.set_title(label, fontsize=10, loc="left")
    axes.set_xlabel("step", fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center", color="0.4")
