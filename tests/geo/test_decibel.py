"""Linear power and decibels, by hand and there and back."""

from __future__ import annotations

import numpy as np

from georelay.geo.decibel import to_db, to_power


def test_by_hand() -> None:
    assert to_db(np.array([1.0, 10.0, 0.001])).tolist() == [0.0, 10.0, -30.0]
    assert to_power(np.array([0.0, 20.0, -10.0])).tolist() == [1.0, 100.0, 0.1]


def test_positive_power_comes_back_exactly() -> None:
    power = np.exp(np.random.default_rng(0).uniform(-30, 20, 100_000)).astype(np.float32)
    assert np.array_equal(to_power(to_db(power)).astype(np.float32), power)


def test_what_is_weaker_than_the_floor_becomes_the_floor_and_nothing_else_does() -> None:
    decibels = to_db(np.array([0.0, -1.0, 1e-5, 1e-3, np.nan]), -40.0)
    assert decibels[:4].tolist() == [-40.0, -40.0, -40.0, -30.0] and np.isnan(decibels[4])
