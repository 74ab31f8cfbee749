"""The curves of a study's runs over their steps: score, loss, and what became of pseudo-labels, with their spread over seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from georelay.report.canvas import COLOURS, MARKERS, PLAIN, SOFT, blank_figure, finish_axes, short_name, wrapped
from georelay.report.efficiency import Curve, draw_label_curve, finish_label_axes, label_curves
from georelay.report.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

BINS = 40  # a loss curve is drawn as means over this many parts of the training: single batches are noise
BAND_INCHES, ANSWERS_INCHES = 3.1, 2.9
MOST_CURVES = 6  # in one pair of axes; more become a line of axes each
NAME_INCHES = 1.5  # of a name beside its curve
APART = 0.08  # of the axes' height, between two names; of two lines twice as much
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


def draw(study: Study) -> Figure:
    """The figure of a study."""
    ordered = sorted(study.rows, key=lambda row: list(study.depths).index(row["experiment"]))
    histories = {name: read_histories(name, study.seeds, study.root) for name in study.depths}
    return draw_curves(study.name, histories, label_curves(ordered, study.seeds, study.root))


def draw_curves(study: str, histories: Mapping[str, Sequence[History]], efficiency: Mapping[str, Curve] = {}) -> Figure:
    """Scores by the share of labels, where rows differ in it; then each row's runs, a few at a time."""
    bands = list(_bands(study, histories))
    tops = [BAND_INCHES] * bool(efficiency)
    heights = tops + [band.inches for band in bands]
    figure = blank_figure(sum(heights))
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if efficiency:
        _draw_efficiency(parts[0], efficiency, study)
    first: dict[str, Axes] = {}
    for part, band in zip(parts[len(tops) :], bands, strict=True):
        for axes, measure in zip(part.subplots(1, len(band.measures), squeeze=False)[0], band.measures, strict=True):
            _draw_measure(axes, measure, histories, band.styles)
            if first.setdefault(measure.column, axes) is not axes:
                axes.sharey(first[measure.column])
    for axes in first.values():
        axes.autoscale(axis="y")  # over all that share it: `sharey` alone takes over the first one's limits
    for part in parts:
        name_curves(max(part.axes, key=lambda axes: len(axes.get_legend_handles_labels()[1])))
    return figure


def _bands(study: str, histories: Mapping[str, Sequence[History]]) -> Iterator[Band]:
    """Score and loss of a few rows; below them, under the same signs, the pseudo-labels of those that give any."""
    names = list(histories)
    answers = [measure for measure in ANSWERS if any(_noted(runs, measure) for runs in histories.values())]
    share = -(-len(names) // max(1, -(-len(names) // MOST_CURVES)))  # 13 rows are 5, 5 and 3, not 6, 6 and 1
    for first in range(0, len(names), share) if names else [0]:
        styles = {name: _style(index, short_name(name, study)) for index, name in enumerate(names[first : first + share])}
        yield Band(SCORES, styles, BAND_INCHES)
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
    finish_axes(axes, measure.title, "step")
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center", color=SOFT)
    if measure.logarithmic and axes.lines:
        _scale_by_ratio(axes)


def _scale_by_ratio(axes: Axes) -> None:
    """A logarithmic axis with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_efficiency(part: SubFigure, efficiency: Mapping[str, Curve], study: str) -> None:
    axes = part.subplots()
    for index, (name, curve) in enumerate(efficiency.items()):
        draw_label_curve(axes, curve, index - (len(efficiency) - 1) / 2, _style(index, short_name(name, study)))
    finish_axes(axes, "mIoU on test scenes (points) by the share of labelled tiles", "labelled training tiles")
    finish_label_axes(axes, sorted({share for curve in efficiency.values() for share in curve}))


def name_curves(axes: Axes) -> None:
    """The sign and the name of every curve beside the axes, at the height of its end or as near as the others let it be."""
    signs, labels = axes.get_legend_handles_labels()
    lines = [getattr(sign, "lines", [sign])[0] for sign in signs]
    ends = [axes.transData.transform(line.get_xydata()[-1])[1] for line in lines]
    heights = [float(axes.transAxes.inverted().transform((0, end))[1]) for end in ends]
    texts = [wrapped(str(label), NAME_INCHES) for label in labels]
    room = [APART * (1 + text.count("\n")) for text in texts]
    for line, text, height in zip(lines, texts, spread_out(heights, room), strict=True):
        facts = {"transform": axes.transAxes, "clip_on": False, "color": line.get_color()}
        axes.plot([1.03, 1.07], [height] * 2, markevery=[1], marker=line.get_marker(), markersize=4.5, linewidth=1.4, **facts)
        axes.text(1.1, height, text, transform=axes.transAxes, fontsize=PLAIN, va="center", linespacing=1.0)


def spread_out(wanted: Sequence[float], room: Sequence[float]) -> list[float]:
    """Middles of texts from the bottom (0) to the top (1): in the order wanted, none in another's room."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    heights, floor, ceiling = list(wanted), 0.0, 1.0
    for place in order:
        heights[place] = max(heights[place], floor + room[place] / 2)
        floor = heights[place] + room[place] / 2
    for place in reversed(order):
        heights[place] = min(heights[place], ceiling - room[place] / 2)
        ceiling = heights[place] - room[place] / 2
    return heights


def _style(index: int, label: str) -> dict[str, Any]:
    return {"color": COLOURS[index], "marker": MARKERS[index], "label": label}


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
