"""Fixtures of the tile tests: sources under construction, and stores cut from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tile_sources import Made, Source, add_three_scenes, make_task, run_tiling


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """An empty source in UTM."""
    return Source(tmp_path / "raw")


@pytest.fixture
def three_scenes(source: Source) -> Source:
    """One scene per split."""
    return add_three_scenes(source)


@pytest.fixture
def tile(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Run the tile stage on a source; returns the store's path and its card."""

    def run(source: Source, task: SimpleNamespace | None = None, **bounds: int) -> tuple[Path, dict[str, Any]]:
        target = tmp_path / "tiles" / "made.zarr.zip"
        return target, run_tiling(source, task, target, **bounds)

    return run


@pytest.fixture(scope="session", params=["none", "zstd"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Three scenes tiled, plain and compressed."""
    folder = tmp_path_factory.mktemp(f"made-{request.param}")
    source = add_three_scenes(Source(folder / "raw"))
    card = run_tiling(source, make_task(compression=request.param), folder / "made.zarr.zip")
    return Made(folder / "made.zarr.zip", card, source)
