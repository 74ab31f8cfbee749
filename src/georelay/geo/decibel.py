"""Radar intensity as linear power and in decibels."""

from __future__ import annotations

import numpy as np


def to_db(power: np.ndarray, floor_db: float = -np.inf) -> np.ndarray:
    """10 log10 of linear power, in float64; weaker power than the floor's, zero and less among it, becomes the floor."""
    values = np.asarray(power, np.float64)
    with np.errstate(divide="ignore"):  # log of nothing: the floor takes it
        decibels = 10 * np.log10(np.where(np.isnan(values), np.nan, np.maximum(values, 0)))
    return np.asarray(np.maximum(decibels, floor_db))


def to_power(decibels: np.ndarray) -> np.ndarray:
    """Linear power, in float64; of float64 decibels it is the power that they came from, to the last digits of a float32."""
    return np.asarray(10 ** (np.asarray(decibels, np.float64) / 10))
