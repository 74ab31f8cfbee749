"""Boundary F1: whether the outlines of a class are where they should be, whatever the size of what they enclose.

After Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?" (BMVC), with one difference: they take
the mean over images of each image's score, here the pixels of all test scenes are counted before any ratio is taken, as they
are for IoU, so that a scene with ten pixels of a class does not weigh as much as one that is full of it.

A boundary pixel of a class is a counted pixel of it beside which (left, right, above or below) lies a counted pixel of another.
Pixels that do not count, and the edges of a scene, make no boundary. A boundary pixel is right if a boundary pixel of its class
in the other map is at most `tolerance` pixels away, centre to centre.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

NOWHERE, OUTSIDE = -1, -2  # no boundary; beyond the array: never the same


def boundary_definition(tolerance: int) -> str:
    """What the number is, for people."""
    return (
        "2 P R / (P + R) of a class's boundary pixels in all test scenes: P is the share of those in the map, R of those in the "
        f"truth, with one of the same class in the other at most {tolerance} pixels away; the mean is over classes that have any"
    )


def count_boundary(
    truth: np.ndarray, guess: np.ndarray, counted: np.ndarray, rows: slice, classes: int, tolerance: int
) -> np.ndarray:
    """Boundary pixels in some rows [4, class]: in the map, right ones of these, in the truth, found ones of these.

    Beside these rows there must be `tolerance + 1` more, where the scene has them.
    """
    true, guessed = boundary(truth, counted), boundary(guess, counted)
    facts = []
    for own, other in ((guessed, true), (true, guessed)):
        near = own == OUTSIDE
        for shifted in _around(other, tolerance):
            near |= own == shifted
        facts += [_count(own[rows], classes), _count(np.where(near, own, NOWHERE)[rows], classes)]
    return np.stack(facts)


def boundary(labels: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The class of every boundary pixel, NOWHERE elsewhere."""
    found = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        first, second = _neighbours(labels, axis), _neighbours(counted, axis)
        differ = (first[0] != first[1]) & second[0] & second[1]
        for side in _neighbours(found, axis):
            side |= differ
    return np.where(found, labels, np.int16(NOWHERE)).astype(np.int16)


def _neighbours(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """All pixels but the last, and all but the first, along an axis."""
    turned = np.moveaxis(array, axis, 0)
    return turned[:-1], turned[1:]


def _around(labels: np.ndarray, tolerance: int) -> Iterator[np.ndarray]:
    """The array as seen from every place in a disc."""
    padded = np.pad(labels, tolerance, constant_values=OUTSIDE)
    height, width = labels.shape
    steps = range(-tolerance, tolerance + 1)
    for down, right in ((down, right) for down in steps for right in steps if down**2 + right**2 <= tolerance**2):
        yield padded[tolerance + down :, tolerance + right :][:height, :width]


def _count(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels[labels >= 0], minlength=classes)


def boundary_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class from [4, class]: NaN without any boundary pixel, 0 where only one of map and truth has some."""
    guessed, right, true, found = counts.astype(np.float64)
    # 2 P R / (P + R) with P = right / guessed and R = found / true, without a division by nothing.
    above, below = 2 * right * found, right * true + found * guessed
    score = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return np.where(guessed + true > 0, score, np.nan)
