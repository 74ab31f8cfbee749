"""Figures of a study as PNG files. The same results give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from georelay.report.canvas import save_figure
from georelay.report.gallery import FIGURES, figure_path
from georelay.report.study import Study
from georelay.report.tables import Row


def draw_study(study: str, rows: Sequence[Row], seeds: Sequence[int], root: Path, *, scenes: int) -> None:
    """Write every figure of the gallery for a study."""
    seen = Study(study, rows, seeds, root, scenes)
    for kind, figure in FIGURES.items():
        save_figure(figure.draw(seen), figure_path(study, kind, root))
