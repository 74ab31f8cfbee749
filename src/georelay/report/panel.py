"""The map panel: what is seen, the truth, and what each row makes of it, for fixed test scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from georelay.report.canvas import PLAIN, SMALL, SOFT, WIDTH, blank_figure, note_figure, short_name, wrapped
from georelay.report.maps import SURE, UNSURE, WRONG, Panel, PanelScene, RowMap, read_panel, scale_bar
from georelay.report.study import Study
from georelay.report.tables import Row, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_TILE, GAP_INCHES = 1.6, 0.06
EDGE_INCHES, SIDE_INCHES = 0.06, 0.22  # left of all tiles, and left of the rows' ones, for what a line shows
PLACE_INCHES, NAME_INCHES = 0.22, 0.16  # of the line with a scene's place, and of each line of a row's name
NAME_LINES = 3
MAPS_A_LINE = 5
MOST_MAPS = 10  # rows in the panel; of more, those of the short comparison are shown
MARK_INCHES, LETTER_INCHES, LINE_INCHES = 0.45, 0.075, 0.25  # of the legend: a patch with its gaps, a letter, a line
HALO = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
TRUTH = "truth"
KINDS = ("prediction", "errors", "entropy")


def draw(study: Study) -> Figure:
    """The figure of a study."""
    panel = read_panel(rows_shown(study.rows), study.seeds, study.root, study.scenes)
    return draw_panel(study.name, panel) if panel else note_figure("no row of this study has been evaluated yet")


def rows_shown(rows: Sequence[Row]) -> Sequence[Row]:
    """All rows, or the short comparison where there are many."""
    core = [row for row in rows if row["core"]]
    return core if core and len(rows) > MOST_MAPS else rows


def draw_panel(study: str, panel: Panel) -> Figure:
    """Each scene in bands: what is seen and the truth in the first columns, then a column a row."""
    sheet = _Sheet(study, panel)
    for scene in panel.scenes:
        sheet.place(f"{scene.name}: {scene.place}")
        for first in range(0, len(scene.rows), sheet.share):
            _draw_band(sheet, scene, scene.rows[first : first + sheet.share])
    _draw_legend(sheet.figure, panel)
    return sheet.figure


class _Sheet:
    """Places square tiles on a figure, band below band: every tile has the same size."""

    def __init__(self, study: str, panel: Panel) -> None:
        told = any(row.entropy is not None for scene in panel.scenes for row in scene.rows)
        self.kinds = KINDS if told else KINDS[:2]
        self.left = -(-(len(panel.scenes[0].images) + 1) // len(self.kinds))  # columns of what is seen and the truth
        count = len(panel.seed_of)
        bands = -(-count // (MAPS_A_LINE + 1 - self.left))
        self.share = -(-count // bands)  # maps on a line: 6 rows break into 3 and 3, not 5 and 1
        columns = self.left + self.share
        self.size = min(LARGEST_TILE, (WIDTH - 2 * EDGE_INCHES - SIDE_INCHES) / columns - GAP_INCHES)
        self.names = {name: wrapped(short_name(name, study), self.size, SMALL, NAME_LINES) for name in panel.seed_of}
        self.seeds = panel.seed_of
        self.title = NAME_INCHES * (2 + max(name.count("\n") for name in self.names.values())) + 0.05
        block = self.title + len(self.kinds) * (self.size + GAP_INCHES)
        height = len(panel.scenes) * (bands * block + PLACE_INCHES)
        self.figure = blank_figure(height + LINE_INCHES * _legend_lines(panel) + 0.05, layout=None)
        self.top, self.block = 0.0, block

    def place(self, text: str) -> None:
        """A line above a scene's bands."""
        self.figure.text(*self._at(EDGE_INCHES, self.top + 0.16), text, fontsize=PLAIN, fontweight="bold")
        self.top += PLACE_INCHES

    def tile(self, column: int, line: int) -> Axes:
        """The axes of one tile of the band under work, without ticks."""
        aside = SIDE_INCHES if column >= self.left else 0.0
        left = EDGE_INCHES + aside + column * (self.size + GAP_INCHES)
        down = self.top + self.title + line * (self.size + GAP_INCHES) + self.size
        size = self.size / WIDTH, self.size / self.figure.get_figheight()
        axes = self.figure.add_axes((*self._at(left, down), *size))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    def _at(self, left: float, down: float) -> tuple[float, float]:
        return left / WIDTH, 1 - down / self.figure.get_figheight()


def _draw_band(sheet: _Sheet, scene: PanelScene, maps: Sequence[RowMap]) -> None:
    """As many lines of tiles as there are kinds of maps."""
    shown = [*scene.images.items(), (TRUTH, scene.truth)]
    names = {name: name for name, _ in shown} if len(shown) > 2 else {next(iter(scene.images)): "image", TRUTH: TRUTH}
    for place, (name, picture) in enumerate(shown):
        column, line = divmod(place, len(sheet.kinds))
        axes = sheet.tile(column, line)
        _show(axes, picture, smooth=name != TRUTH)
        _label(axes, names[name])
        if place == 0:
            _draw_scale(axes, scene)
    for column, row in enumerate(maps, start=sheet.left):
        _draw_row(sheet, column, row)
    sheet.top += sheet.block


def _draw_row(sheet: _Sheet, column: int, row: RowMap) -> None:
    tiles = [sheet.tile(column, line) for line in range(len(sheet.kinds))]
    score = "" if row.miou is None else f"{points(row.miou)}, seed {sheet.seeds[row.row]}"
    tiles[0].set_title(f"{sheet.names[row.row]}\n{score}", fontsize=SMALL, pad=3, linespacing=1.1)
    for axes, kind in zip(tiles, sheet.kinds, strict=True):
        picture = getattr(row, kind)
        if picture is not None:
            _show(axes, picture)
        else:
            axes.text(0.5, 0.5, f"no {kind}\nof this scene", ha="center", va="center", fontsize=SMALL, color=SOFT)
        if column == sheet.left:
            axes.set_ylabel(kind, fontsize=SMALL, labelpad=2)


def _show(axes: Axes, picture: np.ndarray, smooth: bool = False) -> None:
    axes.imshow(picture, interpolation="antialiased" if smooth else "nearest", aspect="equal")


def _label(axes: Axes, text: str) -> None:
    axes.text(0.04, 0.96, text, transform=axes.transAxes, fontsize=SMALL, va="top", bbox=HALO)


def _draw_scale(axes: Axes, scene: PanelScene) -> None:
    height, width = scene.truth.shape[:2]
    length, pixels = scale_bar(width, scene.gsd) if scene.gsd else (width // 4, width // 4)
    text = f"{length:g} px" if not scene.gsd else f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    x, y = 0.05 * width, 0.93 * height
    axes.plot([x, x + pixels], [y, y], color="white", linewidth=5, solid_capstyle="butt")
    axes.plot([x, x + pixels], [y, y], color="black", linewidth=2.5, solid_capstyle="butt")
    axes.text(x, y - 0.04 * width, text, fontsize=SMALL, va="bottom", ha="left", bbox=HALO)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _legend_entries(panel: Panel) -> list[tuple[str, Any]]:
    told = any(row.entropy is not None for scene in panel.scenes for row in scene.rows)
    entropy = {"entropy 0": SURE, "largest entropy": UNSURE} if told else {}
    signs = {"not counted": (0, 0, 0), "wrong": WRONG, "right": (204, 204, 204), **entropy}
    entries = [*zip(panel.classes, panel.colours, strict=True), *signs.items()]
    return [(name, tuple(value / 255 for value in colour)) for name, colour in entries]


def _legend_columns(panel: Panel) -> int:
    """How many entries stand side by side, the longest one taken for all."""
    longest = max(len(name) for name, _ in _legend_entries(panel))
    return max(1, int(WIDTH / (MARK_INCHES + LETTER_INCHES * longest)))


def _legend_lines(panel: Panel) -> int:
    return -(-len(_legend_entries(panel)) // _legend_columns(panel))


def _draw_legend(figure: Figure, panel: Panel) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=colour, edgecolor="0.3", label=name) for name, colour in _legend_entries(panel)]
    figure.legend(
        handles=patches,
        loc="lower center",
        ncols=_legend_columns(panel),
        frameon=False,
        fontsize=SMALL,
        handlelength=1.2,
        columnspacing=1.0,
        borderaxespad=0.2,
    )
