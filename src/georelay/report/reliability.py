"""Reliability diagrams: whether pixels that are 80 % sure are right in 80 % of the cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from georelay.evaluate.scores import scores_path
from georelay.files import read_json
from georelay.report.canvas import COLOURS, PLAIN, SMALL, WIDTH, blank_figure, note_figure, short_name, wrapped
from georelay.report.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST_COLUMNS, MOST_COLUMNS = 3, 4
AROUND = 1.15  # inches above and below a diagram, together
KEYS = ("low", "high", "pixels", "confidence", "accuracy")
LEAST = 1e-4  # of all pixels: the accuracy of fewer is noise


@dataclass(frozen=True)
class Bins:
    """Pixels by their confidence, of one run or of several together."""

    low: np.ndarray
    high: np.ndarray
    pixels: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """Of all pixels."""
        return np.asarray(self.pixels / max(1, self.pixels.sum()))

    @property
    def told(self) -> np.ndarray:
        """Which bins hold enough pixels to speak of."""
        return np.asarray(self.share >= LEAST)


def draw(study: Study) -> Figure:
    """The figure of a study."""
    found = {name: told for name in study.runs if (told := calibrations(study, name))}
    if not found:
        return note_figure("no calibration in results/scores: run `georelay predict` and `georelay evaluate` again")
    columns = max(FEWEST_COLUMNS, min(MOST_COLUMNS, len(found)))
    lines = -(-len(found) // columns)
    figure = blank_figure(lines * (WIDTH / columns - 0.4 + AROUND))
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for each, (name, told) in zip(axes.flat, found.items(), strict=False):
        draw_diagram(each, [bins_of(calibration) for calibration in told])
        title = wrapped(short_name(name, study.name), WIDTH / columns - 0.4)
        each.set_title(f"{title}\nECE {_spread(told)}", fontsize=PLAIN, loc="left")
    for each in axes.flat[len(found) :]:
        each.set_visible(False)
    for each in axes[:, 0]:
        each.set_ylabel("share of right pixels", fontsize=PLAIN)
    for place in range(min(columns, len(found))):
        last = axes[(len(found) - 1 - place) // columns, place]
        last.set_xlabel("probability of the chosen class", fontsize=PLAIN)
        last.tick_params(labelbottom=True)
    return figure


def calibrations(study: Study, name: str) -> list[Mapping[str, Any]]:
    """What the scores of a row say of its probabilities, one entry a seed; older scores say nothing."""
    facts = (read_json(scores_path(name, seed, study.root)).get("calibration") for seed in study.runs[name])
    return [found for found in facts if found and found["ece"] is not None]


def bins_of(calibration: Mapping[str, Any]) -> Bins:
    """The bins of one run; NaN where a bin is empty."""
    columns = {key: np.array([one[key] for one in calibration["bins"]], float) for key in KEYS}
    return Bins(**columns)


def pooled(runs: Sequence[Bins]) -> Bins:
    """Several runs as if their pixels were one's."""
    pixels = np.sum([run.pixels for run in runs], axis=0)

    def mean(values: list[np.ndarray]) -> np.ndarray:
        weights = [run.pixels for run in runs]
        total = np.sum([np.where(weight > 0, weight * value, 0) for weight, value in zip(weights, values, strict=True)], axis=0)
        return np.asarray(np.divide(total, pixels, out=np.full(pixels.shape, np.nan), where=pixels > 0))

    confidence, accuracy = mean([run.confidence for run in runs]), mean([run.accuracy for run in runs])
    return Bins(runs[0].low, runs[0].high, pixels, confidence, accuracy)


def draw_diagram(axes: Axes, runs: Sequence[Bins]) -> None:
    """The share of pixels as bars, the diagonal, each seed, and all of them."""
    whole = pooled(runs)
    axes.bar(whole.low, whole.share, whole.high - whole.low, align="edge", color="0.85", edgecolor="0.7", linewidth=0.5)
    axes.plot([0, 1], [0, 1], color="0.35", linewidth=1, linestyle="--")
    for run in runs:
        axes.plot(run.confidence[run.told], run.accuracy[run.told], color=COLOURS[0], linewidth=0.7, alpha=0.5)
    axes.plot(whole.confidence[whole.told], whole.accuracy[whole.told], "o-", color=COLOURS[0], linewidth=1.6, markersize=4)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def _spread(told: Sequence[Mapping[str, Any]]) -> str:
    values = [100 * one["ece"] for one in told]
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread} %"
