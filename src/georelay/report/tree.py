"""Rows of a study as lines of a figure: names under their parents' on the left, axes side by side, the same signs in all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from georelay.report.canvas import COLOURS, LETTER, PLAIN, SMALL, WIDTH, short_name, wrapped
from georelay.report.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE, HEAD, FOOT = 0.31, 0.36, 0.42  # inches: of a row, and of what stands above and below a block of rows
INDENT = 0.17  # inches to the right of the parent
WIDEST = 2.9  # inches of names; longer ones are broken
GAP, EDGE = 0.16, 0.12  # inches between axes and beside them
BETTER, WORSE, OPEN = COLOURS[0], COLOURS[1], "0.35"


def block_inches(study: Study) -> float:
    """The height of a block with all rows."""
    return HEAD + LINE * len(study.depths) + FOOT


def block_axes(figure: Figure, study: Study, top: float, count: int, right: float = 0.0) -> list[Axes]:
    """Axes side by side whose y is the row's number, `top` inches below the figure's upper edge; names stand left of them.

    `right` inches stay free behind the last one.
    """
    height = LINE * len(study.depths)
    bottom, names = figure.get_figheight() - top - HEAD - height, names_inches(study)
    left = EDGE + names + GAP
    width = (WIDTH - left - right - EDGE) / count

    def place(start: float, inches: float, order: int = 1) -> Axes:
        tall = figure.get_figheight()
        axes = figure.add_axes((start / WIDTH, bottom / tall, inches / WIDTH, height / tall), zorder=order)
        axes.set(ylim=(len(study.depths) - 0.5, -0.5), facecolor="none")
        return axes

    _draw_ground(place(0, WIDTH, 0), len(study.depths))
    _draw_names(place(EDGE, names), study, names)
    panels = [place(left + index * width, width - GAP) for index in range(count)]
    for axes in panels:
        axes.tick_params(left=False, labelleft=False, labelsize=SMALL)
        axes.grid(axis="x", color="0.88", linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
    return panels


def names_inches(study: Study) -> float:
    """The width that the names take."""
    needed = (INDENT * depth + LETTER * PLAIN * len(short_name(name, study.name)) for name, depth in study.depths.items())
    return min(WIDEST, max(needed) + 0.1)


def draw_interval(axes: Axes, place: int, ends: tuple[float, float, float], sign: dict[str, Any]) -> None:
    """A mean on its interval."""
    mean, low, high = ends
    axes.plot([low, high], [place, place], color=sign["color"], linewidth=1.8, solid_capstyle="butt")
    axes.plot([mean], [place], markersize=6.5, markeredgewidth=1.5, linestyle="", **sign)


def sign_of(low: float, high: float) -> dict[str, Any]:
    """How a difference is marked: filled and coloured where its interval leaves zero out, a square where it is below."""
    if low > 0 or high < 0:
        marker, colour = ("o", BETTER) if low > 0 else ("s", WORSE)
        return {"marker": marker, "color": colour, "markerfacecolor": colour}
    return {"marker": "o", "color": OPEN, "markerfacecolor": "white"}


def draw_key(figure: Figure, words: Sequence[str] = ("better", "worse", "undecided")) -> None:
    """What the signs of differences mean, below everything."""
    from matplotlib.lines import Line2D

    signs = [sign_of(1, 2), sign_of(-2, -1), sign_of(-1, 1)]
    handles = [Line2D([], [], linewidth=1.8, label=word, **sign) for word, sign in zip(words, signs, strict=True)]
    figure.legend(handles=handles, loc="lower right", ncols=len(words), fontsize=SMALL, frameon=False, borderaxespad=0.2)


def _draw_ground(axes: Axes, rows: int) -> None:
    """Every other line shaded, from edge to edge."""
    axes.axis("off")
    for place in range(0, rows, 2):
        axes.axhspan(place - 0.5, place + 0.5, color="0.955", linewidth=0)


def _draw_names(axes: Axes, study: Study, width: float) -> None:
    """The names of all rows, each joined to its parent's."""
    axes.set_xlim(0, width)
    axes.axis("off")
    for place, (name, depth) in enumerate(study.depths.items()):
        text = wrapped(short_name(name, study.name), width - INDENT * depth)
        size = SMALL if "\n" in text else PLAIN
        axes.text(INDENT * depth, place, text, fontsize=size, va="center", linespacing=1.0)
    for parent, child, depth in joints(list(study.depths.values())):
        x = INDENT * (depth - 1) + 0.05
        axes.plot([x, x, x + 0.09], [parent + 0.4, child, child], color="0.55", linewidth=0.8)


def joints(depths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Of every row with a parent: the parent's line, its own, and its depth."""
    last: dict[int, int] = {}
    for place, depth in enumerate(depths):
        last[depth] = place
        if depth:
            yield last[depth - 1], place, depth
