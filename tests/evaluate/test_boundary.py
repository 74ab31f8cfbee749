"""Boundary F1 on maps small enough to count by eye, and against distances computed another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from georelay.evaluate.boundary import boundary, boundary_f1, count_boundary

ALL = slice(None)


def halves(left: int, width: int = 8, height: int = 3) -> np.ndarray:
    """Class 0 in the first columns, class 1 in the others."""
    return np.where(np.arange(width) < left, 0, 1)[None].repeat(height, 0).astype(np.uint8)


def counts(truth: np.ndarray, guess: np.ndarray, tolerance: int, classes: int = 3) -> list[list[int]]:
    counted = (truth != 255) & (guess != 255)
    return count_boundary(truth, guess, counted, ALL, classes, tolerance).tolist()


def test_a_boundary_has_a_pixel_on_either_side_and_none_towards_what_does_not_count() -> None:
    labels = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
    assert boundary(labels, labels != 255).tolist() == [[-1, 0, 1, -1], [-1, 0, 1, -1]]


def test_a_corner_alone_makes_no_boundary() -> None:
    labels = np.array([[0, 255], [255, 1]], np.uint8)
    assert (boundary(labels, labels != 255) == -1).all()


def test_a_shifted_edge_by_hand() -> None:
    """The edge lies two columns further right: each class has 3 boundary pixels in either map, 2 pixels apart."""
    truth, guess = halves(3), halves(5)
    assert counts(truth, guess, 1) == [[3, 3, 0], [0, 0, 0], [3, 3, 0], [0, 0, 0]]
    assert counts(truth, guess, 2) == [[3, 3, 0], [3, 3, 0], [3, 3, 0], [3, 3, 0]]


def test_distances_are_euclidean() -> None:
    """One pixel of class 1 that lies a knight's move away: the square root of 5, between 2 and 3."""
    truth, guess = np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.uint8)
    truth[1, 1], guess[2, 3] = 1, 1
    assert [counts(truth, guess, reach)[1][1] for reach in (1, 2, 3)] == [0, 0, 1]


def test_what_does_not_count_is_no_match() -> None:
    truth, guess = halves(3), halves(3)
    truth[:, 2] = 255  # the true edge is not known there
    assert counts(truth, guess, 3) == [[0] * 3] * 4


@pytest.mark.parametrize("tolerance", [0, 1, 3, 5])
def test_counts_are_those_of_distance_maps(tolerance: int) -> None:
    generator = np.random.default_rng(tolerance)
    truth, guess = (generator.integers(0, 3, (7, 9)).astype(np.uint8).repeat(4, 0).repeat(4, 1) for _ in range(2))
    truth[10:14, 20:30] = 255
    counted = truth != 255
    found = count_boundary(truth, guess, counted, ALL, 3, tolerance)
    edges = boundary(guess, counted), boundary(truth, counted)
    for place, (own, other) in enumerate((edges, edges[::-1])):
        for value in range(3):
            near = distance_transform_edt(other != value) <= tolerance
            assert found[2 * place : 2 * place + 2, value].tolist() == [(own == value).sum(), ((own == value) & near).sum()]


def test_rows_with_enough_around_them_add_up_to_the_whole() -> None:
    generator = np.random.default_rng(5)
    truth, guess = (generator.integers(0, 2, (6, 5)).astype(np.uint8).repeat(3, 0).repeat(3, 1) for _ in range(2))
    counted, reach = np.ones(truth.shape, bool), 2
    whole = count_boundary(truth, guess, counted, ALL, 2, reach)
    parts = []
    for row in range(0, 18, 3):
        top, end = max(row - reach - 1, 0), min(row + 3 + reach + 1, 18)
        inside = slice(row - top, row - top + 3)
        parts.append(count_boundary(truth[top:end], guess[top:end], counted[top:end], inside, 2, reach))
    assert np.sum(parts, axis=0).tolist() == whole.tolist()


def test_f1_by_hand() -> None:
    # P = 3/4 and R = 3/6: 2 x 0.375 / 1.25. Then: nothing near; only predicted; only true; neither.
    table = np.array([[4, 5, 2, 0, 0], [3, 0, 0, 0, 0], [6, 5, 0, 7, 0], [3, 0, 0, 0, 0]])
    np.testing.assert_allclose(boundary_f1(table), [0.6, 0, 0, 0, np.nan])
