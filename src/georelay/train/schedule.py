"""The learning rate of a step: a linear warm-up times a decay, general enough for the forms that papers use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What is added to warmup_steps, to the decay's begin and to steps, by who counts. `late`: the loop sets the rate after
# its step, so that steps 0 and 1 share one.
COUNTS = {"mmengine": (-1, 0, -1), "mmcv": (0, 0, 0), "late": (0, 1, 1)}


@dataclass(frozen=True)
class Schedule:
    """Share of the base rate at a step, counted from 0.

    Warm-up rises from `start` at step 0 to 1 at `warm_until`. The decay falls from 1 at `begin` to `final` at `end`.
    Both multiply, and may overlap. The public libraries differ by one step in where they begin and end: see `COUNTS`.
    A `floor` is a rate, not a share: a base rate r is warm * (floor + (r - floor) * decay), which is r * `at` + `raised`.
    """

    kind: str
    start: float
    warm_until: int
    begin: int
    end: int
    final: float
    power: float
    floor: float

    @classmethod
    def of(cls, train: Mapping[str, Any]) -> Schedule:
        """The schedule that a plan's `settings.train` describes."""
        kind, warmup = train["schedule"], train["warmup_steps"]
        warm, first, last = COUNTS[train["schedule_count"]]
        begin = (train["poly_begin"] if kind == "poly" else warmup) + first
        end = (train["steps"] + last, train["final"], train["power"], train["floor"])
        return cls(kind, train["warmup_start"], warmup + warm, begin, *end)

    def at(self, step: int) -> float:
        """The share at a step."""
        return self._warm(step) * self._decay(step)

    def raised(self, step: int) -> float:
        """What the floor adds to any rate at a step."""
        return self.floor * self._warm(step) * (1 - self._decay(step))

    def _warm(self, step: int) -> float:
        if step >= self.warm_until:
            return 1.0
        return self.start + (1 - self.start) * step / self.warm_until

    def _decay(self, step: int) -> float:
        if self.kind == "constant" or step <= self.begin:
            return 1.0
        left = 1 - min(1.0, (step - self.begin) / (self.end - self.begin))
        shape = left**self.power if self.kind == "poly" else 0.5 - 0.5 * math.cos(math.pi * left)
        return self.final + (1 - self.final) * shape
