"""What a teacher is shown of a task: its bands by name, scaled as it was trained, on a grid that it can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.errors import UserError


@dataclass(frozen=True)
class Intake:
    """The way from a modality's raster values to a teacher's image.

    `places` are the teacher's bands in the modality, None for those it lacks. A value v is shown as
    (s - mean) / std with s = scale * v, or s = clip(scale * v / white, 0, 1) where there is a white.
    """

    places: tuple[int | None, ...]
    bands: int
    scale: float
    white: float | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str

    def __call__(self, raw: Tensor, valid: Tensor) -> Tensor:
        """Raster values (B, bands, T, T) to (B, teacher's bands, T, T); 0 where `valid` (B, 1, T, T) is false."""
        known = [place for place in self.places if place is not None]
        value = raw[:, known].float() * self.scale
        if self.white is not None:
            value = (value / self.white).clamp(0, 1)
        shown = torch.where(valid, (value - self._column(self.mean, raw)) / self._column(self.std, raw), 0.0)
        if len(known) == len(self.places):
            return shown
        image = shown.new_zeros(len(shown), len(self.places), *shown.shape[2:])
        image[:, [index for index, place in enumerate(self.places) if place is not None]] = shown
        return image

    def _column(self, numbers: Sequence[float], like: Tensor) -> Tensor:
        """Numbers of the bands that are there, as (1, bands, 1, 1)."""
        kept = [number for number, place in zip(numbers, self.places, strict=True) if place is not None]
        return torch.tensor(kept, dtype=torch.float32, device=like.device).view(1, -1, 1, 1)


def make_intake(settings: Mapping[str, Any], name: str, modality: Mapping[str, Any]) -> Intake:
    """The intake of teacher `name` for a modality, given as the facts in a task's card."""
    where = f"teachers.{name}"
    if modality["unit"] != settings["unit"]:
        what = f"reads {settings['unit']} and is offered {modality['unit']} only"
        raise UserError(what, f"{where}.unit", f"give its task a modality in {settings['unit']}, or the row another teacher")
    there = list(modality["bands"])
    wanted = there if settings["bands"] == "all" else list(settings["bands"])
    places = tuple(there.index(band) if band in there else None for band in wanted)
    _check_missing(settings, where, there, [band for band, place in zip(wanted, places, strict=True) if place is None])
    numbers = _numbers(settings["statistics"], where, modality, places)
    return Intake(places, len(there), **numbers, note=_note(wanted, there))


def fitted(image: Tensor, size: int | None, fit: str, align_corners: bool, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """An image whose sides are multiples of `multiple`, and the sides that the caller's tile has in it.

    resize: the tile fills the image. pad: zeros on the right and at the bottom, so the tile keeps its pixels.
    """
    height, width = image.shape[-2:]
    if fit == "pad":
        target = [_next(max(side, size or 0), multiple) for side in (height, width)]
        _require_room(max(height, width), size)
        return F.pad(image, (0, target[1] - width, 0, target[0] - height)), (height, width)
    if size is not None and size % multiple:
        hint = f"use {_next(size, multiple)}, or `fit: pad`"
        raise UserError(f"an input of {size} pixels is no multiple of {multiple}", "teacher.size", hint)
    sides = (size or _next(height, multiple), size or _next(width, multiple))
    if sides != (height, width):
        image = F.interpolate(image, sides, mode="bilinear", align_corners=align_corners)
    return image, sides


def _require_room(side: int, size: int | None) -> None:
    if size is not None and side > size:
        raise UserError(
            f"a tile of {side} pixels cannot be padded to {size}", "teacher.size", "use `fit: resize`, or a larger size"
        )


def _next(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _check_missing(settings: Mapping[str, Any], where: str, there: list[str], missing: list[str]) -> None:
    if not missing:
        return
    what = f"reads {', '.join(missing)}; the modality has {', '.join(there)}"
    if settings["missing"] == "refuse":
        raise UserError(what, f"{where}.bands", "name the bands it shall read, or set `missing: mean` to show it their mean")
    if len(missing) == len(settings["bands"]):
        raise UserError(f"{what}: it would see nothing", f"{where}.bands", "name the bands it shall read")


def _numbers(statistics: Any, where: str, modality: Mapping[str, Any], places: Sequence[int | None]) -> dict[str, Any]:
    """Scale, white, mean and std, one of the latter for each of the teacher's bands."""
    if statistics == "task":  # in raster units, as the student's are: the very same numbers come out
        mean, std = ([0.0 if p is None else float(modality[key][p]) for p in places] for key in ("mean", "std"))
        return {"scale": 1.0, "white": None, "mean": tuple(mean), "std": tuple(std)}
    for key in ("mean", "std"):
        if len(statistics[key]) != len(places):
            what = f"{len(statistics[key])} numbers for {len(places)} bands"
            raise UserError(what, f"{where}.statistics.{key}", "give one a band, or `statistics: task`")
    numbers = {key: tuple(float(value) for value in statistics[key]) for key in ("mean", "std")}
    return {"scale": float(modality["scale"]), "white": statistics.get("white"), **numbers}


def _note(wanted: Sequence[str], there: Sequence[str]) -> str:
    seen = [band for band in wanted if band in there]
    absent = [band for band in wanted if band not in there]
    shown = f"bands {', '.join(seen)} of {len(there)}"
    return "; ".join([shown, *(f"{band} is missing: its mean is shown" for band in absent)])
