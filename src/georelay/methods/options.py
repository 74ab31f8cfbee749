"""The table of methods, and the settings of each. Light: no torch, so that settings can be checked at once."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from georelay.settings import Strict


class Supervised(Strict):
    """Cross-entropy on labelled tiles, and nothing else."""

    label_smoothing: float = Field(ge=0, lt=1, description="share of the target spread evenly over all classes")


class Pretext(Strict):
    """A paired raster told from an image of which parts are hidden: how the embedded teachers are taught."""

    targets: list[str] = Field(min_length=1, description="bands of the pair")
    edges: list[float] = Field(description="between the levels of a target that are told apart, in its sds; none: regression")
    masked: float = Field(ge=0, lt=1, description="share of the image's blocks that are hidden")
    block: int = Field(gt=0, description="side of a hidden block in pixels")
    band_dropout: float = Field(ge=0, lt=1, description="chance that a band is hidden, in half of the images")


class Distil(Strict):
    """Cross-entropy on labelled tiles, and features of frozen teachers on all tiles."""

    weight: float = Field(ge=0, description="of the mean squared error to each teacher's standardised maps")
    unlabelled: bool = Field(description="also on a batch of unlabelled tiles, where most of the gain is")


@dataclass(frozen=True)
class Entry:
    """Where a method lives, what can be set, and how many teachers it takes, at least and at most."""

    module: str
    name: str
    settings: type[Strict]
    teachers: tuple[int, int] = (0, 0)


METHODS: dict[str, Entry] = {
    "supervised": Entry("georelay.methods.supervised", "SupervisedMethod", Supervised),
    "pretext": Entry("georelay.methods.pretext", "PretextMethod", Pretext),
    "distil": Entry("georelay.methods.distil", "DistilMethod", Distil, teachers=(1, 8)),
}
