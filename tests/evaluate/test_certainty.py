"""Class, certainty and entropy of probabilities worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from georelay.evaluate.certainty import read_off


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([1, 0, 0], (0, 254, 0)),
        ([1 / 3, 1 / 3, 1 / 3], (0, 85, 254)),  # 254 / 3 = 84.67; of equals the first
        ([0, 0.5, 0.5], (1, 127, 160)),  # ln 2 / ln 3 = 0.6309, times 254 is 160.3
        ([0.25, 0.25, 0.5], (2, 127, 240)),  # 1.5 ln 2 / ln 3 = 0.9464, times 254 is 240.4
        ([0, 1 + 1e-7, 0], (1, 254, 0)),  # as sums of float32 weights may give
    ],
)
def test_class_certainty_and_entropy(probabilities: list[float], expected: tuple[int, int, int]) -> None:
    layers = read_off(np.array(probabilities, np.float32).reshape(3, 1, 1))
    assert layers.dtype == np.uint8 and tuple(layers[:, 0, 0].tolist()) == expected


def test_every_pixel_is_read_off_by_itself() -> None:
    columns = np.random.default_rng(0).dirichlet([0.5] * 4, (3, 5)).transpose(2, 0, 1).astype(np.float32)
    layers = read_off(columns)
    for row, col in np.ndindex(3, 5):
        assert (layers[:, row, col] == read_off(columns[:, row : row + 1, col : col + 1])[:, 0, 0]).all()
