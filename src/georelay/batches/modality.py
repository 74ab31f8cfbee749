"""What the network sees of a modality: its bands, unit and the statistics of the training tiles that scale it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Modality:
    """One sensor's bands. Mean and standard deviation are in raster units; a physical value is scale * raster value."""

    name: str
    bands: tuple[str, ...]
    unit: str
    scale: float
    nodata: float | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def centre(self) -> Tensor:
        """The mean as (1, bands, 1, 1)."""
        return torch.tensor(self.mean, dtype=torch.float32).view(1, -1, 1, 1)

    @property
    def spread(self) -> Tensor:
        """The standard deviation as (1, bands, 1, 1)."""
        return torch.tensor(self.std, dtype=torch.float32).view(1, -1, 1, 1)

    @property
    def black(self) -> Tensor:
        """Reflectance 0 as (1, bands, 1, 1), normalised; what has no black, the mean."""
        return -self.centre / self.spread if self.unit == "reflectance" else torch.zeros_like(self.centre)

    def normalised(self, raw: Tensor, valid: Tensor) -> Tensor:
        """Zero mean and unit spread over the training tiles; 0, the mean, where `valid` (B, 1, H, W) is false."""
        return torch.where(valid, (raw - self.centre) / self.spread, 0.0)

    def facts(self) -> dict[str, Any]:
        """Plain values that must be equal wherever weights trained with this modality are used."""
        return {"bands": list(self.bands), "unit": self.unit, "scale": self.scale, "mean": list(self.mean), "std": list(self.std)}


def modality_of(plan: Mapping[str, Any], name: str) -> Modality:
    """A modality of the plan, scaled by the statistics of the domain that is trained on.

    The other domain's statistics would be knowledge of it, which only a method of adaptation may use.
    """
    entry = plan["modalities"][name]
    source = entry.get("domains", {}).get(plan["train_domain"], entry)
    numbers = {key: tuple(float(value) for value in source[key]) for key in ("mean", "std")}
    nodata = None if entry["nodata"] is None else float(entry["nodata"])
    return Modality(name, tuple(entry["bands"]), entry["unit"], float(entry["scale"]), nodata, **numbers)


def modalities_of(plan: Mapping[str, Any], names: Sequence[str]) -> list[Modality]:
    """Several modalities of the plan, in the order in which their bands are stacked."""
    return [modality_of(plan, name) for name in names]
