"""Settings of teachers: where a frozen network comes from, what it is shown, which of its maps are kept."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from georelay.settings.base import Count, Positive, Slug, Strict

TAP_WORD = r"^(decoder|logits|aligned-(0|[1-9][0-9]*))$"


def _tap(value: Any) -> Any:
    """One complaint in the place of one for each member of the union."""
    if (type(value) is int and value >= 0) or (isinstance(value, str) and re.fullmatch(TAP_WORD, value)):
        return value
    raise ValueError("must be the number of a block or stage, decoder, logits, or aligned-0, aligned-1 and so on")


Tap = Annotated[Count | Annotated[str, Field(pattern=TAP_WORD)], BeforeValidator(_tap)]


class Statistics(Strict):
    """What a teacher takes for a band's mean and spread: v = clip(physical / white, 0, 1) where white is given."""

    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]
    white: float | None = Field(gt=0, description="physical value shown as 1; null: physical values as they are")


class Taught(Strict):
    """How a teacher of our own is made: a method on a task, through the same loop as any row."""

    task: Slug
    method: str
    seed: Count
    set: dict[str, Any] = Field(default_factory=dict)


class Teacher(Strict):
    """A frozen network: where it comes from, what it is shown, and which of its maps are kept."""

    why: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    origin: Literal["taught", "random", "hub", "file"] = Field(description="random: as taught, but untrained (a control)")
    network: str | None = Field(description="a timm model name (hub, file)")
    arguments: dict[str, Any] = Field(description="more arguments for timm")
    file: str | None = Field(description="safetensors, or .pth of plain weights (file)")
    sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    ignored_keys: list[str] = Field(description="patterns of keys in the file that may stay unused")
    taught: Taught | None
    taps: list[Tap] = Field(min_length=1, description="what is kept: maps of blocks or stages, or of a taught network's decoder")
    normed: list[Count] = Field(description="taps that pass the network's final norm")
    unit: Literal["reflectance", "dB"] = Field(description="of the modality it reads")
    bands: list[str] | Literal["all"] | None = Field(description="in the teacher's order; null: as it was taught")
    missing: Literal["refuse", "mean"] = Field(description="a band that the task lacks: an error, or its mean is shown")
    statistics: Statistics | Literal["task"] | None = Field(description="task: the student's; null: as it was taught")
    size: Positive | None = Field(description="side of its input in pixels; null: the tile's")
    fit: Literal["pad", "resize"] = Field(description="how a tile comes to that size, or to whole patches")
    align_corners: bool
    positions: Literal["timm", "exact", "dinov2"] = Field(description="how its position table is resampled")
    position_grid: Positive | None = Field(description="grid that the table is brought to first")
    dtype: Literal["fp16", "bf16"] = Field(description="of the stored features")
    batch: Positive = Field(description="tiles at a time when features are computed")
    threads: Positive
    device: Literal["auto", "cpu", "cuda"]


class Pairing(Strict):
    """A teacher's features of a task's tiles."""

    task: Slug
    teacher: Slug
