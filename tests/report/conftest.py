"""Makes tests/evidence.py, which invents a finished project, importable for these tests; two scored rows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the rows `base` and `better` have scores at three seeds."""
    from evidence import RIGHT, score_right

    for experiment, seeds in RIGHT.items():
        for seed, right in seeds.items():
            score_right(tmp_path, experiment, seed, right)
    return tmp_path
