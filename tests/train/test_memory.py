from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from georelay.models.device import keep_memory
from georelay.train import memory
from georelay.train.memory import forget_peak, peak_mb

CPU = torch.device("cpu")
BLOCK = 300  # MB


def touch_block() -> None:
    np.ones(BLOCK * 2**20, np.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts anew")
def test_a_peak_before_is_forgotten_and_one_after_is_not() -> None:
    keep_memory()  # as every training does: a block that is freed stays with the process
    touch_block()
    before = peak_mb(CPU)
    forget_peak(CPU)
    small = peak_mb(CPU)
    assert small < before - BLOCK / 2
    touch_block()
    assert peak_mb(CPU) > small + BLOCK / 2


def test_a_system_that_refuses_keeps_the_old_peak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "PEAK", tmp_path / "missing" / "clear_refs")
    before = peak_mb(CPU)
    forget_peak(CPU)
    assert peak_mb(CPU) >= before
