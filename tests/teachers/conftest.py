"""Settings of a small teacher and the facts of two modalities, for every test of teachers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SETTINGS: dict[str, Any] = {
    "why": "a test",
    "licence": "none",
    "origin": "random",
    "network": "test_vit",
    "arguments": {},
    "file": None,
    "sha256": None,
    "ignored_keys": [],
    "taught": None,
    "taps": [1, 5],
    "normed": [5],
    "unit": "reflectance",
    "bands": ["red", "green", "blue"],
    "missing": "refuse",
    "statistics": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.5], "white": 0.4},
    "size": None,
    "fit": "pad",
    "align_corners": False,
    "positions": "timm",
    "position_grid": None,
    "dtype": "fp16",
    "batch": 4,
}
MODALITIES: dict[str, dict[str, Any]] = {
    "sar": {"bands": ["vv", "vh"], "unit": "dB", "scale": 1.0, "nodata": -9999.0, "mean": [-12.0, -18.0], "std": [4.0, 2.0]},
    "optical": {
        "bands": ["blue", "green", "red", "nir"],
        "unit": "reflectance",
        "scale": 1e-4,
        "nodata": 0,
        "mean": [1000.0, 2000.0, 3000.0, 4000.0],
        "std": [500.0, 500.0, 1000.0, 2000.0],
    },
}


@pytest.fixture
def teacher_settings() -> Callable[..., dict[str, Any]]:
    """A teacher's merged settings with some of them changed."""
    return lambda **changes: SETTINGS | changes


@pytest.fixture
def modalities() -> dict[str, dict[str, Any]]:
    return MODALITIES
