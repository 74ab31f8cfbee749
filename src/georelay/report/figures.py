"""Figures of a study as PNG files: learning curves with their spread over seeds, and the map panel.

Matplotlib is imported inside the functions that draw, and used without pyplot: no global state, no window system. The
same results give the same bytes. Lines differ in colour (Okabe and Ito's, safe for colour-blind readers) and in marker,
so that they can be told apart in grey.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from georelay.files import replacing
from georelay.reference import plain_name
from georelay.report.efficiency import Curve, draw_label_curve, finish_label_axes, label_curves
from georelay.report.maps import WRONG, Panel, PanelScene, RowMap, read_panel, scale_bar
from georelay.report.tables import Row, families, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
MARKERS = "os^DvPX*"
LEGEND_MARK_INCHES, LEGEND_LETTER_INCHES = 0.45, 0.075  # a patch with its gaps, a letter at 9 points
BINS = 40  # a loss curve is drawn as means over this many parts of the training: single batches are noise
DPI = 110
CURVES_INCHES = (9.6, 3.6)
TILE_INCHES, TITLE_INCHES, GAP_INCHES = 1.75, 0.36, 0.06
MAPS_A_LINE = 5
MOST_CURVES = 6  # in one pair of axes; more become a line of axes each
MOST_MAPS = 10  # rows in the panel; of more, those of the short comparison are shown


def figure_path(study: str, kind: str, root: Path) -> Path:
    """Where a study's figure lies; kind is `curves` or `panel`."""
    return root / "results/figures" / f"{study}-{kind}.png"


def draw_study(study: str, rows: Sequence[Row], seeds: Sequence[int], root: Path, *, scenes: int) -> None:
    """Write the learning curves and the map panel of a study."""
    names = [row["experiment"] for _, row in families(rows)]
    histories = {name: read_histories(name, seeds, root) for name in names}
    efficiency = label_curves([row for _, row in families(rows)], seeds, root)
    _save(_curves(study, histories, efficiency), figure_path(study, "curves", root))
    panel = read_panel(_for_maps(rows), seeds, root, scenes)
    _save(_panel(study, panel) if panel else _nothing(), figure_path(study, "panel", root))


def _for_maps(rows: Sequence[Row]) -> Sequence[Row]:
    core = [row for row in rows if row["core"]]
    return core if core and len(rows) > MOST_MAPS else rows


def read_histories(experiment: str, seeds: Sequence[int], root: Path) -> list[dict[str, np.ndarray]]:
    """The columns of each finished seed's history.csv as numbers; NaN where a cell is blank."""
    paths = [root / "results/runs" / experiment / f"seed{seed}" / "history.csv" for seed in seeds]
    return [_columns(path.read_text()) for path in paths if path.is_file()]


def _columns(text: str) -> dict[str, np.ndarray]:
    reader = csv.DictReader(io.StringIO(text))
    rows = list(reader)
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in reader.fieldnames or ()}


def _curves(
    study: str, histories: Mapping[str, Sequence[Mapping[str, np.ndarray]]], efficiency: Mapping[str, Curve] = {}
) -> Figure:
    """Scores by the share of labels where rows differ in it; validation score and loss, of many rows a few at a time."""
    names = list(histories)
    share = -(-len(names) // max(1, -(-len(names) // MOST_CURVES)))  # 13 rows are 5, 5 and 3, not 6, 6 and 1
    groups = [names[first : first + share] for first in range(0, len(names), share)] or [[]]
    bands = len(groups) + bool(efficiency)
    figure = _figure(CURVES_INCHES[0], CURVES_INCHES[1] * bands)
    parts = figure.subfigures(bands, 1, squeeze=False)[:, 0]
    if efficiency:
        _draw_efficiency(parts[0], efficiency, study)
    grid = [part.subplots(1, 2) for part in parts[bool(efficiency) :]]
    for part, axes, group in zip(parts[bool(efficiency) :], grid, groups, strict=True):
        for index, name in enumerate(group):
            style = _style(index, _short(name, study))
            _draw_spread(axes[0], [_points_of(run, "val_miou", 100, bins=None) for run in histories[name]], style)
            _draw_spread(axes[1], [_points_of(run, "loss", 1, bins=BINS) for run in histories[name]], style)
        _finish_axes(axes[0], "mIoU on validation tiles (points)")
        _finish_axes(axes[1], f"training loss (means of 1/{BINS} of the steps)")
        axes[1].set_yscale("log")  # methods add up losses of very different sizes
        _name_curves(part)
        for own, first in zip(axes, grid[0], strict=True):
            own.sharey(first) if own is not first else None
    return figure


def _draw_efficiency(part: SubFigure, efficiency: Mapping[str, Curve], study: str) -> None:
    axes = part.subplots()
    for index, (name, curve) in enumerate(efficiency.items()):
        draw_label_curve(axes, curve, index - (len(efficiency) - 1) / 2, _style(index, _short(name, study)))
    _finish_axes(axes, "mIoU on test scenes (points) by the share of labelled tiles")
    finish_label_axes(axes, sorted({share for curve in efficiency.values() for share in curve}))
    _name_curves(part)


def _name_curves(part: SubFigure) -> None:
    """One legend below the axes of a part; it takes no width from them."""
    handles, labels = max((one.get_legend_handles_labels() for one in part.axes), key=lambda pair: len(pair[0]))
    part.legend(handles, labels, loc="outside lower left", ncols=min(3, max(1, len(labels))), fontsize=9, frameon=False)


def _figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")


def _style(index: int, label: str) -> dict[str, Any]:
    return {"color": COLOURS[index], "marker": MARKERS[index], "label": label}


def _short(name: str, study: str) -> str:
    """A row's name without the study's, which stands above the figure already."""
    return plain_name(name).removeprefix(f"{plain_name(study)}-")


def _points_of(run: Mapping[str, np.ndarray], column: str, scale: float, bins: int | None) -> dict[float, float]:
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


def _panel(study: str, panel: Panel) -> Figure:
    count = len(panel.seed_of)
    lines = -(-count // MAPS_A_LINE)
    share = -(-count // lines)  # maps on a line: 6 rows break into 3 and 3, not 5 and 1
    columns = 1 + share
    bands = len(panel.scenes) * lines
    block = 2 * TILE_INCHES + GAP_INCHES + TITLE_INCHES
    width = columns * (TILE_INCHES + GAP_INCHES) + 0.25
    legend = 0.3 * _legend_lines(panel, width) + 0.1
    figure = _figure(width, bands * block + legend, layout=None)
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
    """Two lines of tiles: image and predictions above, truth and errors below."""
    image, truth = sheet.tile(top, 0, 0), sheet.tile(top, 0, 1)
    _show(image, scene.image, smooth=True)
    _show(truth, scene.truth)
    image.set_title(f"{scene.name}: image", fontsize=9)
    truth.set_ylabel("truth", fontsize=9)
    _draw_scale(image, scene)
    for column, row in enumerate(maps, start=1):
        _draw_row(sheet.tile(top, column, 0), sheet.tile(top, column, 1), row, study)


def _draw_row(above: Axes, below: Axes, row: RowMap, study: str) -> None:
    name = "\n".join(textwrap.wrap(_short(row.row, study), 24, break_on_hyphens=True)[:2])
    above.set_title(name if row.miou is None else f"{name}  {points(row.miou)}", fontsize=9)
    if row.prediction is None or row.errors is None:
        above.text(0.5, 0.5, "no map of\nthis scene", ha="center", va="center", fontsize=9, color="0.4")
        return
    _show(above, row.prediction)
    _show(below, row.errors)


def _show(axes: Axes, picture: np.ndarray, smooth: bool = False) -> None:
    axes.imshow(picture, interpolation="antialiased" if smooth else "nearest", aspect="equal")


def _draw_scale(axes: Axes, scene: PanelScene) -> None:
    width = scene.image.shape[1]
    length, pixels = scale_bar(width, scene.gsd) if scene.gsd else (width // 4, width // 4)
    text = f"{length:g} px" if not scene.gsd else f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    x, y = 0.05 * width, 0.93 * scene.image.shape[0]
    halo = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}
    axes.plot([x, x + pixels], [y, y], color="white", linewidth=5, solid_capstyle="butt")
    axes.plot([x, x + pixels], [y, y], color="black", linewidth=2.5, solid_capstyle="butt")
    axes.text(x, y - 0.04 * width, text, fontsize=8, va="bottom", ha="left", bbox=halo)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(scene.image.shape[0] - 0.5, -0.5))


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
    figure = _figure(6, 1.2)
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
