"""Confusion matrices of the short comparison: what the pixels of each true class were taken for."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from georelay.report.canvas import LARGE, LETTER, SMALL, WIDTH, blank_figure, note_figure, short_name, wrapped
from georelay.report.study import Study
from georelay.report.tables import Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL, LARGEST_CELL = 0.33, 0.5  # inches: room for three digits, and what looks well
MOST_A_LINE = 3
LABEL_LETTERS = 14  # of a class on one line
HEAD, GAP = 0.42, 0.15  # inches above a matrix, and beside it
DARK = 70.0  # percent from which white letters stand out more from a cell than black ones
WORDS = 0.22  # inches of what an axis is called


def draw(study: Study) -> Figure:
    """The figure of a study."""
    matrices = [matrix_of(name, study.runs[name]) for name in study.short]
    if not matrices:
        return note_figure("no row of this study has been evaluated yet")
    longest = max(len(line) for each in matrices for name in each.guesses for line in name.split("\n"))
    label = 0.12 + WORDS + LETTER * SMALL * longest
    widest = max(len(each.guesses) for each in matrices)
    columns = max(1, min(MOST_A_LINE, len(matrices), int((WIDTH - label) / (CELL * widest + GAP))))
    cell = min(LARGEST_CELL, (WIDTH - label) / columns / widest - GAP / widest)
    tall = HEAD + cell * max(len(each.truths) for each in matrices) + label
    figure = blank_figure(-(-len(matrices) // columns) * tall, layout=None)
    for place, each in enumerate(matrices):
        line, column = divmod(place, columns)
        left, top = label + column * (cell * widest + GAP), line * tall + HEAD
        axes = _axes(figure, left, top, cell * len(each.guesses), cell * len(each.truths))
        draw_matrix(axes, each)
        if column == 0 or each.truths != matrices[place - 1].truths:
            axes.set_ylabel("true class", fontsize=SMALL)
        else:
            axes.tick_params(labelleft=False)
        axes.set_title(wrapped(short_name(each.row, study.name), cell * widest, LARGE), fontsize=LARGE, loc="left")
    return figure


class Matrix(NamedTuple):
    """Shares [truth, predicted] in percent of the true class's pixels, NaN where it has none; names of lines and columns."""

    row: str
    shares: np.ndarray
    truths: list[str]
    guesses: list[str]


def matrix_of(row: str, runs: Runs) -> Matrix:
    """The confusion of a row, all seeds together; classes that are not scored are predicted behind the others, if at all."""
    scores = next(iter(runs.values()))
    counts = np.sum([each.pooled for each in runs.values()], axis=0)
    whole = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100 * counts, whole, out=np.full(counts.shape, np.nan), where=whole > 0)
    behind = [name for name in scores.classes if name in scores.unscored]
    names = ["\n".join(textwrap.wrap(name, LABEL_LETTERS)) for name in (*scores.scored, *behind)]
    return Matrix(row, shares, names[: len(scores.scored)], names[: counts.shape[1]])


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes by inches from the figure's upper left corner."""
    tall = figure.get_figheight()
    return figure.add_axes((left / WIDTH, 1 - (top + height) / tall, width / WIDTH, height / tall))


def draw_matrix(axes: Axes, matrix: Matrix) -> None:
    """A cell for each share with its number; darker is more; the diagonal is framed."""
    from matplotlib.patches import Rectangle

    axes.imshow(matrix.shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (line, column), share in np.ndenumerate(matrix.shares):
        if line == column:
            axes.add_patch(Rectangle((column - 0.5, line - 0.5), 1, 1, fill=False, edgecolor="0.3", linewidth=0.8))
        if np.isfinite(share):
            colour = "white" if share > DARK else "black" if share >= 0.5 else "0.45"
            axes.text(column, line, f"{share:.0f}", ha="center", va="center", fontsize=SMALL, color=colour)
    axes.set_xticks(range(len(matrix.guesses)), matrix.guesses, rotation=90, fontsize=SMALL)
    axes.set_yticks(range(len(matrix.truths)), matrix.truths, fontsize=SMALL)
    axes.set_xlabel("predicted class", fontsize=SMALL)
    axes.tick_params(length=0)
    axes.spines[:].set_color("0.7")
