"""A student as others use it: raw values of a tile in, logits of every pixel out, in one module that torch can export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from georelay.batches.modality import Modality
from georelay.evaluate.predict import Mapper, Rasters, open_receipt, predict_at_multiple


class Served(nn.Module):
    """The bands of all inputs, stacked (B, bands, H, W) in raster units as float32, to logits (B, classes, H, W).

    Normalises with the statistics of the training tiles; a pixel without data in any band is seen as the mean. What the
    student is not shown at test is its mean everywhere, and no input.
    """

    def __init__(self, student: Any, modalities: Sequence[Modality], shown: Sequence[Modality], multiple: int) -> None:
        super().__init__()
        self.student, self.modalities, self.multiple = student, list(modalities), multiple
        self.shown = [modality.name for modality in shown]
        self.bands = [len(modality.bands) for modality in shown]

    def forward(self, raw: Tensor) -> Tensor:
        """Logits of every pixel."""
        values = dict(zip(self.shown, torch.split(raw, self.bands, dim=1), strict=True))
        parts = [(modality, values[modality.name]) for modality in self.modalities if modality.name in values]
        valid = torch.stack([_valid(modality, part) for modality, part in parts]).all(dim=0)
        image = torch.cat([_scaled(modality, values.get(modality.name), valid) for modality in self.modalities], dim=1)
        return predict_at_multiple(self.student, image, self.multiple)


def _valid(modality: Modality, values: Tensor) -> Tensor:
    there = torch.isfinite(values)
    return (there if modality.nodata is None else there & (values != modality.nodata)).all(dim=1, keepdim=True)


def _scaled(modality: Modality, values: Tensor | None, valid: Tensor) -> Tensor:
    if values is None:
        return torch.zeros_like(valid, dtype=torch.float32).expand(-1, len(modality.bands), -1, -1)
    return modality.normalised(values, valid)


def open_served(plan: dict[str, Any], weights: Path) -> Served:
    """The student of a run, on the CPU."""
    mapper = Mapper.open(plan, weights)
    student = mapper.student.to(device="cpu", memory_format=torch.contiguous_format)
    return Served(student, mapper.modalities, mapper.shown, plan["settings"]["predict"]["multiple"]).eval()


def example_tiles(plan: dict[str, Any], served: Served, side: int, root: Path) -> Tensor:
    """Two tiles as the module takes them, from a scene that nothing is scored on where there is one."""
    receipt = open_receipt(plan, root)
    scenes = receipt.select("val", plan["test_domain"]) or receipt.select(None, plan["test_domain"])
    shown = [modality for modality in served.modalities if modality.name in served.shown]
    rasters = Rasters.open(scenes[0], root / plan["source"]["folder"], shown)
    corners = [(0, 0), (max(rasters.grid.height - side, 0), max(rasters.grid.width - side, 0))]
    return torch.stack([torch.cat(rasters.window(corner, side)[0]) for corner in corners])
