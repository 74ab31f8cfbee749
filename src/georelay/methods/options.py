"""The methods by name: where each lives and which settings it takes. Light: `plan` reads this without torch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Base of a method's own settings: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SupervisedOptions(Options):
    """Cross-entropy on labelled tiles alone."""

    label_smoothing: float = Field(ge=0, lt=1)


@dataclass(frozen=True)
class MethodEntry:
    """Where a method's class is, and the class of its settings."""

    module: str
    class_name: str
    settings: type[Options]


METHODS: dict[str, MethodEntry] = {
    "supervised": MethodEntry("georelay.methods.supervised", "Supervised", SupervisedOptions),
}
