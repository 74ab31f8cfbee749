"""What all figures share: the sheet, signs that can be told apart in grey, names that fit, PNGs of the picture alone.

Matplotlib is imported inside the functions that draw, and used without pyplot: no global state, no window system. Colours
are Okabe and Ito's, safe for colour-blind readers, and never stand alone: a marker, a fill or a place says the same.
"""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from georelay.files import replacing
from georelay.reference import plain_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.6  # inches: about that of the page, so that letters keep their size there
DPI = 110
SMALL, PLAIN, LARGE = 8.5, 9.0, 10.0  # points
LETTER = 0.6 / 72  # inches a letter takes for each point of its size, on average
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
MARKERS = "os^DvPX*"
SOFT = "0.4"


def blank_figure(height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """A white sheet of so many inches in height."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=DPI, layout=layout, facecolor="white")


def note_figure(text: str) -> Figure:
    """A sheet that says why there is nothing to see."""
    figure = blank_figure(0.9, layout=None)
    figure.text(0.5, 0.5, text, ha="center", va="center", color=SOFT, fontsize=LARGE)
    return figure


def short_name(name: str, study: str) -> str:
    """A row's name without the study's, which stands above the figure already."""
    return plain_name(name).removeprefix(f"{plain_name(study)}-")


def wrapped(name: str, inches: float, size: float = PLAIN, lines: int = 2) -> str:
    """A name on as many lines as it takes in such a width; what is longer ends in dots."""
    letters = max(4, int(inches / (LETTER * size)))
    return "\n".join(textwrap.wrap(name, letters, max_lines=lines, placeholder="…", break_on_hyphens=True))


def finish_axes(axes: Axes, title: str, label: str) -> None:
    """A title, a label below, a quiet grid and no frame."""
    axes.set_title(title, fontsize=LARGE, loc="left")
    axes.set_xlabel(label, fontsize=PLAIN)
    axes.tick_params(labelsize=SMALL)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: Path) -> None:
    """As a PNG of at most 256 colours, which the eye does not miss, without the drawing library's name and version."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
