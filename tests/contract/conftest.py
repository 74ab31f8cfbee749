"""Makes tests/invented.py, a task small enough to train on in a second, importable for these tests."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

torch.set_num_threads(1)  # on networks this small a second thread costs more than it brings
