"""Overlapping windows over a scene, blended, with only one row of windows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from georelay.errors import UserError

Corner = tuple[int, int]  # first row and first column of a window
Answer = Callable[[Sequence[Corner]], np.ndarray]  # windows -> [window, channel, y, x]


def starts(length: int, window: int, overlap: int) -> list[int]:
    """First pixels of the windows along an axis; the last window ends where the scene ends."""
    if not 0 <= overlap < window:
        raise UserError(f"overlap {overlap} must be less than the window, {window}", "predict.overlap")
    last = max(length - window, 0)
    return [*range(0, last, window - overlap), last]


def weights(window: int, overlap: int) -> np.ndarray:
    """How much each pixel of a window counts: 1 inside, falling over the overlap as a squared sine, never 0."""
    distance = np.minimum(np.arange(window), np.arange(window)[::-1]) + 0.5
    ramp = np.sin(np.pi / 2 * np.minimum(distance / max(overlap, 1), 1)) ** 2 if overlap else np.ones(window)
    return np.outer(ramp, ramp).astype(np.float32)


def blend(
    height: int, width: int, window: int, overlap: int, batch: int, channels: int, answer: Answer, uniform: bool = False
) -> Iterator[tuple[int, np.ndarray]]:
    """Weighted means of what `answer` says of all windows: bands [channel, y, x] of finished rows with their first row.

    Together the bands cover the scene once. Windows of a scene smaller than one window hang over; what they say of
    pixels outside is dropped. `uniform` lets every pixel of a window count the same.
    """
    rows, cols = starts(height, window, overlap), starts(width, window, overlap)
    weight, spread = weights(window, 0 if uniform else overlap), max(width, window)
    total, mass = np.zeros((channels, window, spread), np.float32), np.zeros((window, spread), np.float32)
    for row, following in zip(rows, [*rows[1:], height], strict=True):
        for first in range(0, len(cols), batch):
            group = cols[first : first + batch]
            for col, values in zip(group, answer([(row, col) for col in group]), strict=True):
                total[:, :, col : col + window] += values * weight
                mass[:, col : col + window] += weight
        done = min(following - row, window)
        yield row, (total[:, :done] / mass[:done])[..., :width]
        total, mass = _advanced(total, done), _advanced(mass, done)


def _advanced(band: np.ndarray, done: int) -> np.ndarray:
    """The accumulator moved down by `done` rows."""
    moved = np.zeros_like(band)
    moved[..., : band.shape[-2] - done, :] = band[..., done:, :]
    return moved
