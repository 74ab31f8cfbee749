"""The forest plot: dots and intervals at the table's numbers, rows under their parents, nothing hidden by one wide interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evidence import row
from georelay.files import write_text
from georelay.report.forest import Panel, draw, limits, panels_of
from georelay.report.study import Study
from georelay.report.tables import table_path
from georelay.report.tree import BETTER, OPEN, WORSE, joints

HEAD = "row,parent,why,n,mean,sd,difference,low,high,p,base_difference,base_low,base_high,note,gap,gap low,gap high\n"
LINES = (
    "s-first,,,3,0.5,0.01,,,,,,,,,,,",
    "s-better,s-first,,3,0.6,0.02,0.1,0.05,0.15,0.01,0.1,0.05,0.15,,0.5,0.2,0.8",
    "s-child,s-better,,2,0.55,,-0.05,-0.08,-0.02,,0.05,-0.01,0.11,,0.25,-0.1,0.6",
    "s-open,s-first,,3,0.51,0.01,0.01,-0.02,0.04,0.4,0.01,-0.02,0.04,,0.05,-0.2,0.3",
    "s-never,s-first,,0,,,,,,,,,,no runs,,,",
)
ROWS = [row(*line.split(",")[:1], "s", line.split(",")[1] or None) for line in LINES]  # type: ignore[misc]


def study(root: Path, head: str = HEAD, lines: tuple[str, ...] = LINES) -> Study:
    write_text(table_path("s", root), head + "\n".join(lines) + "\n")
    return Study("s", ROWS, (0, 1, 2), root, 1)


def marks(axes: Any) -> list[tuple[float, float, str, str]]:
    """Place, mean, colour and filling of every dot."""
    dots = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    return [(dot.get_ydata()[0], round(dot.get_xdata()[0], 6), dot.get_color(), dot.get_markerfacecolor()) for dot in dots]


def bars(axes: Any) -> list[list[float]]:
    return [
        [round(x, 6) for x in line.get_xdata()]
        for line in axes.lines
        if line.get_linewidth() == 1.8 and len(line.get_xdata()) == 2
    ]


def test_dots_and_bars_stand_at_the_tables_numbers(tmp_path: Path) -> None:
    parent, base, gap = draw(study(tmp_path)).axes[2:]
    assert marks(parent) == [(1, 10, BETTER, BETTER), (2, -5, WORSE, WORSE), (3, 1, OPEN, "white")]
    assert bars(parent) == [[5, 15], [-8, -2], [-2, 4]]
    assert marks(base) == [(1, 10, BETTER, BETTER), (2, 5, OPEN, "white"), (3, 1, OPEN, "white")]
    assert marks(gap) == [(1, 50, BETTER, BETTER), (2, 25, OPEN, "white"), (3, 5, OPEN, "white")]
    assert [line.get_xdata()[0] for line in gap.lines[:2]] == [0, 100]


def test_better_and_worse_are_told_apart_without_colour(tmp_path: Path) -> None:
    figure = draw(study(tmp_path))
    assert [line.get_marker() for line in figure.axes[2].lines if line.get_linestyle() == "None"] == ["o", "s", "o"]
    assert [sign.get_marker() for sign in figure.legends[0].legend_handles] == ["o", "s", "o"]


def test_names_stand_under_their_parents_and_means_beside_them(tmp_path: Path) -> None:
    figure = draw(study(tmp_path))
    names, last = figure.axes[1], figure.axes[-1]
    assert [(text.get_text(), text.get_position()[1]) for text in names.texts] == [
        ("first", 0),
        ("better", 1),
        ("child", 2),
        ("open", 3),
        ("never", 4),
    ]
    offsets = [text.get_position()[0] for text in names.texts]
    assert offsets[0] < offsets[1] == offsets[3] == offsets[4] < offsets[2]
    assert [text.get_text() for text in last.texts][1:] == [
        "50.0 ± 1.0 (3)",
        "60.0 ± 2.0 (3)",
        "55.0 (2)",
        "51.0 ± 1.0 (3)",
        "no runs",
    ]


def test_older_tables_have_no_baseline(tmp_path: Path) -> None:
    cut = [",".join([*line.split(",")[:10], *line.split(",")[13:14]]) for line in (HEAD.strip(), *LINES)]
    panels = list(panels_of(study(tmp_path, cut[0] + "\n", tuple(cut[1:]))))
    assert [panel.title for panel in panels] == ["difference to the parent"]


def test_differences_to_the_baseline_are_not_shown_twice(tmp_path: Path) -> None:
    flat = study(tmp_path, lines=tuple(line for line in LINES if "s-child" not in line))
    assert [panel.title for panel in panels_of(flat)] == ["difference to the parent", "share of the gap closed"]


def test_a_study_without_runs_says_so(tmp_path: Path) -> None:
    assert "no row" in draw(Study("s", ROWS, (0,), tmp_path, 1)).texts[0].get_text()


def test_one_wide_interval_does_not_push_the_others_together(tmp_path: Path) -> None:
    lines = (*LINES[:3], LINES[3].replace("0.01,-0.02,0.04,0.4", "0.01,-0.9,0.9,0.4"), LINES[4])
    axes = draw(study(tmp_path, lines=lines)).axes[2]
    left, right = axes.get_xlim()
    assert -25 < left < -8 and 15 < right < 30
    assert [line.get_marker() for line in axes.lines if line.get_marker() in "<>"] == ["<", ">"]


def test_a_dot_far_outside_is_a_number(tmp_path: Path) -> None:
    near = {f"s-{index}": (index, index - 1.0, index + 1.0) for index in range(10)}
    panel = Panel(
        "", "", {name: (float(mean), low, high) for name, (mean, low, high) in near.items()} | {"s-far": (-90.0, -92.0, -88.0)}
    )
    left, right = limits(panel)
    assert -15 < left < -1 and 10 < right < 12
    lines = (*LINES[:3], LINES[3].replace("0.01,-0.02,0.04,0.4", "-0.9,-0.95,-0.85,0.4"), LINES[4])
    rows = [row(f"s-{index}", "s", "s-first") for index in range(8)]
    more = tuple(f"{each['experiment']},s-first,,3,0.5,0.01,0.0{index},0.0,0.1,0.4,,,,,,," for index, each in enumerate(rows))
    write_text(table_path("s", tmp_path), HEAD + "\n".join((*lines, *more)) + "\n")
    axes = draw(Study("s", [*ROWS, *rows], (0, 1, 2), tmp_path, 1)).axes[2]
    assert [text.get_text() for text in axes.texts] == ["−90.0"]
    assert axes.get_xlim()[0] > -60


@pytest.mark.parametrize(
    ("depths", "expected"), [([0, 1, 2, 1], [(0, 1, 1), (1, 2, 2), (0, 3, 1)]), ([0, 0, 1], [(1, 2, 1)]), ([0], [])]
)
def test_every_row_is_joined_to_its_parent(depths: list[int], expected: list[tuple[int, int, int]]) -> None:
    assert list(joints(depths)) == expected
