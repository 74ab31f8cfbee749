"""Figures of a study as PNG files: the curves of its runs, and the map panel. The same results give the same bytes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from georelay.files import replacing
from georelay.report.closed import drawn_shares, read_shares
from georelay.report.curves import blank_figure, draw_curves, read_histories, short_name
from georelay.report.efficiency import label_curves
from georelay.report.maps import WRONG, Panel, PanelScene, RowMap, read_panel, scale_bar
from georelay.report.tables import Row, families, points, read_table, table_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND_MARK_INCHES, LEGEND_LETTER_INCHES = 0.45, 0.075  # a patch with its gaps, a letter at 9 points
TILE_INCHES, TITLE_INCHES, GAP_INCHES = 1.75, 0.36, 0.06
TRUTH = "truth"
MAPS_A_LINE = 5
MOST_MAPS = 10  # rows in the panel; of more, those of the short comparison are shown


def figure_path(study: str, kind: str, root: Path) -> Path:
    """Where a study's figure lies; kind is `curves` or `panel`."""
    return root / "results/figures" / f"{study}-{kind}.png"


def draw_study(study: str, rows: Sequence[Row], seeds: Sequence[int], root: Path, *, scenes: int) -> None:
    """Write the learning curves and the map panel of a study; what its table says of a gap stands above the curves."""
    names = [row["experiment"] for _, row in families(rows)]
    histories = {name: read_histories(name, seeds, root) for name in names}
    efficiency = label_curves([row for _, row in families(rows)], seeds, root)
    shares = drawn_shares(read_shares(read_table(study, root))) if table_path(study, root).is_file() else {}
    _save(draw_curves(study, histories, efficiency, shares), figure_path(study, "curves", root))
    panel = read_panel(_for_maps(rows), seeds, root, scenes)
    _save(_panel(study, panel) if panel else _nothing(), figure_path(study, "panel", root))


def _for_maps(rows: Sequence[Row]) -> Sequence[Row]:
    core = [row for row in rows if row["core"]]
    return core if core and len(rows) > MOST_MAPS else rows


def _panel(study: str, panel: Panel) -> Figure:
    count = len(panel.seed_of)
    lines = -(-count // MAPS_A_LINE)
    share = -(-count // lines)  # maps on a line: 6 rows break into 3 and 3, not 5 and 1
    columns = _shown_columns(panel.scenes[0]) + share
    bands = len(panel.scenes) * lines
    block = 2 * TILE_INCHES + GAP_INCHES + TITLE_INCHES
    width = columns * (TILE_INCHES + GAP_INCHES) + 0.25
    legend = 0.3 * _legend_lines(panel, width) + 0.1
    figure = blank_figure(width, bands * block + legend, layout=None)
    sheet = _Sheet(figure, width, bands * block + legend)
    for index, scene in enumerate(panel.scenes):
        for line in range(lines):
            maps = scene.rows[line * share : (line + 1) * share]
            _draw_band(sheet, (index * lines + line) * block, scene, maps, study)
    _draw_legend(figure, panel, width)
    return figure


class _Sheet:
    """Places square tiles on a figure by inches from its upper left corner: every tile has the same size."""

    def __init__(self, figure: Figure, width: float, height: float) -> None:
        self.figure, self.width, self.height = figure, width, height

    def tile(self, top: float, column: int, line: int) -> Axes:
        """The axes of one tile, without ticks."""
        left = 0.25 + column * (TILE_INCHES + GAP_INCHES)
        down = top + TITLE_INCHES + line * (TILE_INCHES + GAP_INCHES)
        bottom = self.height - down - TILE_INCHES
        box = (left / self.width, bottom / self.height, TILE_INCHES / self.width, TILE_INCHES / self.height)
        axes = self.figure.add_axes(box)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes


def _draw_band(sheet: _Sheet, top: float, scene: PanelScene, maps: Sequence[RowMap], study: str) -> None:
    """Two lines of tiles: what is seen and the truth, two a column, then predictions above and errors below."""
    shown = [*scene.images.items(), (TRUTH, scene.truth)]
    names = {name: name for name, _ in shown} if len(shown) > 2 else {next(iter(scene.images)): "image", TRUTH: TRUTH}
    for place, (name, picture) in enumerate(shown):
        axes = sheet.tile(top, *divmod(place, 2))
        _show(axes, picture, smooth=name != TRUTH)
        if place == 0:
            axes.set_title(f"{scene.name}: {names[name]}", fontsize=9)
            _draw_scale(axes, scene)
        elif place % 2:
            axes.set_ylabel(names[name], fontsize=9)
        else:
            axes.set_title(names[name], fontsize=9)
    for column, row in enumerate(maps, start=_shown_columns(scene)):
        _draw_row(sheet.tile(top, column, 0), sheet.tile(top, column, 1), row, study)


def _shown_columns(scene: PanelScene) -> int:
    return -(-(len(scene.images) + 1) // 2)


def _draw_row(above: Axes, below: Axes, row: RowMap, study: str) -> None:
    name = "\n".join(textwrap.wrap(short_name(row.row, study), 24, break_on_hyphens=True)[:2])
    above.set_title(name if row.miou is None else f"{name}  {points(row.miou)}", fontsize=9)
    if row.prediction is None or row.errors is None:
        above.text(0.5, 0.5, "no map of\nthis scene", ha="center", va="center", fontsize=9, color="0.4")
        return
    _show(above, row.prediction)
    _show(below, row.errors)


def _show(axes: Axes, picture: np.ndarray, smooth: bool = False) -> None:
    axes.imshow(picture, interpolation="antialiased" if smooth else "nearest", aspect="equal")


def _draw_scale(axes: Axes, scene: PanelScene) -> None:
    height, width = scene.truth.shape[:2]
    length, pixels = scale_bar(width, scene.gsd) if scene.gsd else (width // 4, width // 4)
    text = f"{length:g} px" if not scene.gsd else f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    x, y = 0.05 * width, 0.93 * height
    halo = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
    axes.plot([x, x + pixels], [y, y], color="white", linewidth=5, solid_capstyle="butt")
    axes.plot([x, x + pixels], [y, y], color="black", linewidth=2.5, solid_capstyle="butt")
    axes.text(x, y - 0.04 * width, text, fontsize=8, va="bottom", ha="left", bbox=halo)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _legend_entries(panel: Panel) -> list[tuple[str, Any]]:
    classes = [(name, tuple(value / 255 for value in colour)) for name, colour in zip(panel.classes, panel.colours, strict=True)]
    wrong = tuple(value / 255 for value in WRONG)
    return [*classes, ("not counted", (0, 0, 0)), ("wrong", wrong), ("right", (0.8, 0.8, 0.8))]


def _legend_columns(panel: Panel, width: float) -> int:
    """How many entries stand side by side in so many inches, the longest one taken for all."""
    longest = max(len(name) for name, _ in _legend_entries(panel))
    return max(1, int(width / (LEGEND_MARK_INCHES + LEGEND_LETTER_INCHES * longest)))


def _legend_lines(panel: Panel, width: float) -> int:
    return -(-len(_legend_entries(panel)) // _legend_columns(panel, width))


def _draw_legend(figure: Figure, panel: Panel, width: float) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=colour, edgecolor="0.3", label=name) for name, colour in _legend_entries(panel)]
    figure.legend(
        handles=patches,
        loc="lower center",
        ncols=_legend_columns(panel, width),
        frameon=False,
        fontsize=9,
        handlelength=1.2,
        columnspacing=1.0,
    )


def _nothing() -> Figure:
    figure = blank_figure(6, 1.2)
    figure.text(0.5, 0.5, "no row of this study has been evaluated yet", ha="center", va="center", color="0.4")
    return figure


def _save(figure: Figure, path: Path) -> None:
    """As a PNG of at most 256 colours, which the eye does not miss, without the drawing library's name and version."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
