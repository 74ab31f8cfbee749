"""The table of methods, and the settings of each. Light: no torch, so that settings can be checked at once."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from georelay.settings import Strict


class Supervised(Strict):
    """Cross-entropy on labelled tiles, and nothing else."""

    label_smoothing: float = Field(ge=0, lt=1, description="share of the target spread evenly over all classes")


@dataclass(frozen=True)
class Entry:
    """Where a method lives and what can be set."""

    module: str
    name: str
    settings: type[Strict]


METHODS: dict[str, Entry] = {
    "supervised": Entry("georelay.methods.supervised", "SupervisedMethod", Supervised),
}
