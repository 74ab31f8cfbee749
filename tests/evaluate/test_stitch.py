"""Stitching: windows cover, weights are smooth, and what every window agrees on comes back unchanged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from georelay.errors import UserError
from georelay.evaluate.stitch import Corner, blend, starts, weights


def stitched(scene: np.ndarray, window: int, overlap: int, batch: int) -> np.ndarray:
    """Blend windows that each show the scene, as mirrored beyond its edges."""
    height, width = scene.shape[1:]
    padded = np.pad(scene, ((0, 0), (0, max(0, window - height)), (0, max(0, window - width))), mode="symmetric")

    def answer(corners: Sequence[Corner]) -> np.ndarray:
        assert len(corners) <= batch
        return np.stack([padded[:, row : row + window, col : col + window] for row, col in corners])

    bands = list(blend(height, width, window, overlap, batch, len(scene), answer))
    assert [row for row, _ in bands] == np.cumsum([0, *(band.shape[1] for _, band in bands[:-1])]).tolist()
    assert max(band.shape[1] for _, band in bands) <= window
    return np.concatenate([band for _, band in bands], axis=1)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    window=st.integers(1, 20),
    share=st.floats(0, 0.99),
    batch=st.integers(1, 4),
)
@example(height=32, width=36, window=19, share=0.96875, batch=1)  # 324 windows over a pixel
def test_windows_that_agree_come_back_unchanged(height: int, width: int, window: int, share: float, batch: int) -> None:
    scene = np.random.default_rng(height * 50 + width).normal(size=(2, height, width)).astype(np.float32)
    overlap = int(share * window)
    result = stitched(scene, window, overlap, batch)
    layers = (-(-window // (window - overlap)) + 1) ** 2  # windows over a pixel: so many numbers are summed, each sum is rounded
    np.testing.assert_allclose(result, scene, atol=0, rtol=(layers + 2) * np.finfo(np.float32).eps)


def test_the_last_window_ends_where_the_scene_ends() -> None:
    assert starts(100, 40, 10) == [0, 30, 60]
    assert starts(101, 40, 10) == [0, 30, 60, 61]
    assert starts(40, 40, 10) == starts(7, 40, 10) == [0]


def test_too_much_overlap_is_refused() -> None:
    with pytest.raises(UserError, match="overlap 8 must be less than the window, 8"):
        starts(20, 8, 8)


def test_weights_by_hand() -> None:
    # Overlap 2: pixel centres lie at 1/4 and 3/4 of the ramp, sin^2(pi/8) and sin^2(3 pi/8), which sum to 1.
    low, high = np.sin(np.pi / 8) ** 2, np.sin(3 * np.pi / 8) ** 2
    assert low + high == pytest.approx(1)
    np.testing.assert_allclose(weights(6, 2)[3], np.array([low, high, 1, 1, high, low]), atol=1e-7)
    assert weights(6, 0).min() == 1


def test_windows_that_count_the_same_have_their_plain_mean() -> None:
    def answer(corners: Sequence[Corner]) -> np.ndarray:
        return np.stack([np.full((1, 6, 6), float(col)) for _, col in corners])

    columns = np.concatenate([band[0] for _, band in blend(6, 9, 6, 4, 2, 1, answer, uniform=True)])[0]
    assert starts(9, 6, 4) == [0, 2, 3]
    np.testing.assert_allclose(columns, [0, 0, 1, *[5 / 3] * 3, 2.5, 2.5, 3], atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbours_that_disagree_fade_into_each_other(axis: int) -> None:
    def answer(corners: Sequence[Corner]) -> np.ndarray:
        return np.stack([np.full((1, 8, 8), float(corner[axis] > 0)) for corner in corners])

    size = (12, 8) if axis == 0 else (8, 12)
    blended = np.concatenate([band[0] for _, band in blend(*size, 8, 4, 2, 1, answer)])
    profile = blended[:, 0] if axis == 0 else blended[0]
    assert profile[:4].tolist() == [0] * 4
    assert profile[8:].tolist() == [1] * 4
    assert (np.diff(profile[3:9]) > 0).all()
