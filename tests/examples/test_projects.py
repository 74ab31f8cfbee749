"""Every example project is whole: its rows and teachers resolve without data, and nothing of it lies anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from georelay.params import load_params
from georelay.reading import load_yaml
from georelay.rows import bounds_of, resolve_teacher, rows

EXAMPLES = Path(__file__).parents[2] / "examples"
PROJECTS = sorted(EXAMPLES.glob("*/params.yaml"))
each = pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)


def texts(value: Any) -> Iterator[str]:
    """All words of a YAML file, however deep."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield from (value,) if isinstance(value, str) else (text for part in inner for text in texts(part))


def test_there_are_some() -> None:
    assert {path.parent.name for path in PROJECTS} >= {"buildings_across_countries", "buildings_few_labels", "floods_spain"}


@each
def test_rows_and_teachers_resolve(path: Path) -> None:
    params = load_params(path)
    chosen = rows(params)
    assert [row.name for row in chosen] == [name for name in params.experiments if name in params.active.experiments]
    assert {row.study for row in chosen} == set(params.active.studies)
    assert {params.tasks[row.task].source for row in chosen} <= set(params.active.sources)
    assert all(resolve_teacher(params, name).licence for name in params.active.teachers)
    assert all(set(bounds_of(params, study) or ()) <= set(params.active.experiments) for study in params.active.studies)


@each
def test_nothing_but_like_points_outside(path: Path) -> None:
    own = load_yaml(path)
    assert (path.parent / own.pop("like")).resolve() == EXAMPLES.parent / "params.yaml"
    outside = [text for text in texts(own) if text.startswith(("/", "~")) or ".." in PurePosixPath(text).parts]
    assert outside == []
    params = load_params(path)
    named = [getattr(params.sources[name], "path", "data") for name in params.active.sources]
    named += [row.model.weights for row in rows(params) if row.model.weights]
    named += [file for name in params.active.teachers if (file := resolve_teacher(params, name).file)]
    assert all(PurePosixPath(place).parts[0] == "data" for place in named)


@each
def test_it_says_what_it_asks_and_how_it_is_run(path: Path) -> None:
    project = path.parent.name
    assert f"snakemake -s Snakefile -d examples/{project} --cores all" in (path.parent / "README.md").read_text(encoding="utf-8")
