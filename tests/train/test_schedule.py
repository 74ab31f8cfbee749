"""Schedules by hand; the papers' forms are in tests/parity."""

from __future__ import annotations

import math
from typing import Any

import pytest

from georelay.train.schedule import Schedule

BASE: dict[str, Any] = {
    "schedule": "cosine",
    "schedule_count": "mmengine",
    "power": 1.0,
    "poly_begin": 0,
    "final": 0.1,
    "floor": 0.0,
    "steps": 25,
}
BASE |= {"warmup_steps": 5, "warmup_start": 0.2}


def rate(step: int, **changes: Any) -> float:
    return Schedule.of(BASE | changes).at(step)


def test_warm_up_rises_in_a_line_from_its_start_to_one() -> None:
    assert [rate(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_cosine_ends_at_its_floor_and_is_half_way_in_the_middle() -> None:
    # The decay runs from step 5 to step 24; a third of it would be no whole step, so: cos(pi / 2) at 14.5.
    assert rate(5) == pytest.approx(1.0)
    assert rate(24) == pytest.approx(0.1)
    assert (rate(14) + rate(15)) / 2 == pytest.approx(0.55)
    assert rate(10) == pytest.approx(0.1 + 0.9 * (0.5 + 0.5 * math.cos(math.pi * 5 / 19)))


def test_poly_falls_in_a_line_at_power_one() -> None:
    changes = {"schedule": "poly", "poly_begin": 4, "warmup_steps": 0}
    assert [rate(step, **changes) for step in (0, 4, 14, 24)] == pytest.approx([1.0, 1.0, 0.55, 0.1])


def test_poly_may_begin_inside_the_warm_up() -> None:
    assert rate(2, schedule="poly", poly_begin=0) == pytest.approx(0.6 * (0.1 + 0.9 * (1 - 2 / 24)))


def test_a_floor_is_a_rate_and_warm_up_goes_below_it() -> None:
    schedule = Schedule.of(BASE | {"schedule": "poly", "poly_begin": 0, "warmup_steps": 0, "final": 0.0, "floor": 1e-4})
    for base in (1e-3, 2e-3):
        rates = [base * schedule.at(step) + schedule.raised(step) for step in (0, 12, 24)]
        assert rates == pytest.approx([base, 1e-4 + (base - 1e-4) / 2, 1e-4])
    early = Schedule.of(BASE | {"schedule": "poly", "poly_begin": 0, "final": 0.0, "floor": 1e-4})
    assert 1e-3 * early.at(0) + early.raised(0) == pytest.approx(0.2 * 1e-3)
    assert 1e-3 * early.at(2) + early.raised(2) == pytest.approx(0.6 * (1e-4 + 9e-4 * 22 / 24))


def test_constant_only_warms_up() -> None:
    assert [rate(step, schedule="constant") for step in (0, 4, 24)] == pytest.approx([0.2, 1.0, 1.0])


@pytest.mark.parametrize("kind", ["cosine", "poly", "constant"])
@pytest.mark.parametrize("changes", [{"steps": 1}, {"steps": 2, "warmup_steps": 2}, {"warmup_steps": 0}, {"warmup_steps": 40}])
def test_short_runs_have_a_rate_too(kind: str, changes: dict[str, int]) -> None:
    steps = int(changes.get("steps", 25))
    assert all(0 < rate(step, schedule=kind, **changes) <= 1 for step in range(steps))
