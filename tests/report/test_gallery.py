"""The gallery: light, the same words for Snakemake, the same files for DVC, and every drawing module counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from georelay.plan import ROOTS
from georelay.report.gallery import FIGURES, figure_path

REPOSITORY = Path(__file__).parents[2]


def test_the_rule_file_may_import_it() -> None:
    script = "import sys, georelay.report.gallery; print(*{'numpy', 'matplotlib', 'torch', 'rasterio'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.split() == []


@pytest.mark.parametrize("kind", FIGURES)
def test_snakemake_has_the_same_caption(kind: str) -> None:
    text = (REPOSITORY / "workflow/report" / f"{kind}.rst").read_text()
    assert " ".join(text.split()) == FIGURES[kind].caption


def test_dvc_knows_every_figure() -> None:
    outs = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]["compare"]["do"]["outs"]
    wanted = {str(figure_path("${item}", kind, Path())) for kind in FIGURES}
    assert {out for out in outs if out.startswith("results/figures/")} == wanted


def test_a_change_of_any_drawing_module_draws_again() -> None:
    assert {figure.module for figure in FIGURES.values()} <= set(ROOTS["compare"])


def test_alternative_texts_name_the_study() -> None:
    assert all("study sky" in figure.alt.format(study="sky") for figure in FIGURES.values())
    assert [kind for kind, figure in FIGURES.items() if figure.published] == ["forest", "curves", "panel"]
