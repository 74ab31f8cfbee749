"""Strong colour changes of pictures: jitter of brightness, contrast, saturation and hue, greying, blur.

As torchvision's ColorJitter and RandomGrayscale and Pillow's blur define them, on values brought to 0 ... 1, for any
number of bands: grey is the luma of red, green and blue where the bands are named so, else their mean, and only those
three have a hue. What the public codes draw sample by sample is drawn for the whole batch and cut to the samples at hand;
the order of the four changes is drawn once a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.modality import Modality

LUMA = {"red": 0.299, "green": 0.587, "blue": 0.114}
PASSES = 3  # running means that stand for a Gaussian


def jittered(
    image: Tensor, modality: Modality, strong: Mapping[str, Any], rng: np.random.Generator, batch: int, samples: slice
) -> Tensor:
    """Normalised values of a picture, strongly changed; `image` holds the `samples` of a batch of `batch`."""
    if not (strong["jitter"]["chance"] or strong["grey"] or strong["blur"]["chance"]):
        return image
    unit = modality.scale / strong["white"]
    shade = Shade(modality)
    value = (image * modality.spread + modality.centre) * unit
    before = value
    value = shade.changed(value.clamp(0, 1), strong["jitter"], rng, batch, samples)
    value = torch.where(_chosen(rng, strong["grey"], batch, samples), shade.grey(value).expand_as(value), value)
    value = _blurred(value, strong["blur"], rng, batch, samples)
    # What nothing was done to keeps its bits, and values beyond 0 ... 1.
    same = (value == before.clamp(0, 1)).flatten(1).all(dim=1).view(-1, 1, 1, 1)
    return torch.where(same, image, (value / unit - modality.centre) / modality.spread)


def distorted(
    image: Tensor, modality: Modality, settings: Mapping[str, Any], rng: np.random.Generator, batch: int, samples: slice
) -> Tensor:
    """mmsegmentation's photometric distortion, each part with a chance of its own: brightness is added, contrast multiplied
    before or after the colours, saturation multiplied and hue turned in HSV; values are cut to 0 ... 1 after each.
    """
    if not settings["chance"]:
        return image
    unit, shade = modality.scale / settings["white"], Shade(modality)
    value = ((image * modality.spread + modality.centre) * unit).clamp(0, 1)

    def draw(low: float, high: float, idle: float) -> Tensor:
        numbers = np.where(rng.random(batch) < settings["chance"], rng.uniform(low, high, batch), idle)
        return _column(numbers, samples)

    bright, contrast, saturation, hue = (settings[name] for name in ("brightness", "contrast", "saturation", "hue"))
    value = (value + draw(-bright, bright, 0.0)).clamp(0, 1)
    early, factor = _chosen(rng, 0.5, batch, samples), draw(1 - contrast, 1 + contrast, 1.0)
    value = (value * torch.where(early, factor, 1.0)).clamp(0, 1)
    value = shade.coloured(value, draw(1 - saturation, 1 + saturation, 1.0), draw(-hue, hue, 0.0))
    value = (value * torch.where(early, 1.0, factor)).clamp(0, 1)
    result: Tensor = (value / unit - modality.centre) / modality.spread
    return result


class Shade:
    """The four changes of a picture with certain bands."""

    def __init__(self, modality: Modality) -> None:
        bands = list(modality.bands)
        self.rgb = [bands.index(name) for name in LUMA] if set(LUMA) <= set(bands) else None
        weights = [LUMA.get(band, 0.0) for band in bands] if self.rgb else [1 / len(bands)] * len(bands)
        self.weights = torch.tensor(weights).view(1, -1, 1, 1)

    def grey(self, value: Tensor) -> Tensor:
        """Luma (B, 1, H, W)."""
        return (value * self.weights).sum(dim=1, keepdim=True)

    def changed(self, value: Tensor, jitter: Mapping[str, Any], rng: np.random.Generator, batch: int, samples: slice) -> Tensor:
        """Brightness, contrast, saturation and hue, in an order drawn for the batch."""
        chosen, result = _chosen(rng, jitter["chance"], batch, samples), value
        changes: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "brightness": lambda some, factor: some * factor,
            "contrast": lambda some, factor: torch.lerp(self.grey(some).mean(dim=(2, 3), keepdim=True), some, factor),
            "saturation": lambda some, factor: torch.lerp(self.grey(some), some, factor),
            "hue": self._turned,
        }
        factors = {name: self._factor(name, jitter[name], rng, batch, samples) for name in changes}
        for place in rng.permutation(len(changes)):
            name = list(changes)[place]
            if jitter[name]:
                result = changes[name](result, factors[name]).clamp(0, 1)
        return torch.where(chosen, result, value)

    def _factor(self, name: str, spread: float, rng: np.random.Generator, batch: int, samples: slice) -> Tensor:
        low, high = (-spread, spread) if name == "hue" else (max(0.0, 1 - spread), 1 + spread)
        return _column(rng.uniform(low, high, batch), samples)

    def _turned(self, value: Tensor, turn: Tensor) -> Tensor:
        """Hue turned by a share of the circle."""
        return self.coloured(value, torch.ones_like(turn), turn)

    def coloured(self, value: Tensor, saturation: Tensor, turn: Tensor) -> Tensor:
        """HSV saturation multiplied, hue turned by a share of the circle; bands that are no colours stay."""
        if self.rgb is None:
            return value
        hue, vivid, bright = torch.split(_to_hsv(value[:, self.rgb]), 1, dim=1)
        result = value.clone()
        result[:, self.rgb] = _from_hsv(torch.cat([hue + turn, (vivid * saturation).clamp(0, 1), bright], dim=1))
        return result


def _to_hsv(rgb: Tensor) -> Tensor:
    high, low = rgb.amax(dim=1, keepdim=True), rgb.amin(dim=1, keepdim=True)
    span = (high - low).clamp(min=1e-8)
    red, green, blue = torch.split(rgb, 1, dim=1)
    colder = torch.where(green == high, 2 + (blue - red) / span, 4 + (red - green) / span)
    hue = torch.where(red == high, (green - blue) / span, colder)
    return torch.cat([hue / 6 % 1, (high - low) / high.clamp(min=1e-8), high], dim=1)


def _from_hsv(hsv: Tensor) -> Tensor:
    hue, saturation, value = torch.split(hsv, 1, dim=1)
    # The three colours are one curve of the hue at three places (Wikipedia, HSL and HSV, alternative conversion).
    place = (torch.tensor([5.0, 3.0, 1.0], device=hsv.device).view(1, 3, 1, 1) + 6 * (hue % 1)) % 6
    colours: Tensor = value - value * saturation * torch.minimum(place, 4 - place).clamp(0, 1)
    return colours


def _blurred(value: Tensor, blur: Mapping[str, Any], rng: np.random.Generator, batch: int, samples: slice) -> Tensor:
    chosen, sigma = (
        _chosen(rng, blur["chance"], batch, samples),
        _column(rng.uniform(blur["sigma"][0], blur["sigma"][1], batch), samples),
    )
    if not chosen.any():
        return value
    radius, smooth = box_radius(sigma), value
    reach = ceil(box_radius(torch.tensor(blur["sigma"][1])).item())
    for axis in (-1, -2):
        for _ in range(PASSES):
            smooth = running_mean(smooth, radius, reach, axis)
    return torch.where(chosen, smooth, value)


def box_radius(sigma: Tensor) -> Tensor:
    """The radius of running means that together have a Gaussian's variance (Gwosdek et al. 2011, equations 7, 11 and 14)."""
    variance = sigma**2 / PASSES
    whole = ((torch.sqrt(12 * variance + 1) - 1) / 2).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    return whole + part


def running_mean(value: Tensor, radius: Tensor, reach: int, axis: int) -> Tensor:
    """The mean over `radius` pixels to either side, the outermost counted in part; borders are repeated. `radius` is one a
    sample and at most `reach`.
    """
    across = value.movedim(axis, -1)
    distance = torch.arange(-reach, reach + 1, dtype=value.dtype).abs()
    kernel = (radius.view(-1, 1, 1) + 1 - distance).clamp(0, 1) / (2 * radius.view(-1, 1, 1) + 1)
    rows = F.pad(across.flatten(1, -2).transpose(0, 1), (reach, reach), mode="replicate")
    mean = F.conv1d(rows, kernel, groups=len(kernel)).transpose(0, 1)
    return mean.reshape(across.shape).movedim(-1, axis)


def _chosen(rng: np.random.Generator, chance: float, batch: int, samples: slice) -> Tensor:
    return torch.from_numpy((rng.random(batch) < chance)[samples]).view(-1, 1, 1, 1)


def _column(numbers: np.ndarray, samples: slice) -> Tensor:
    return torch.from_numpy(numbers[samples].astype(np.float32)).view(-1, 1, 1, 1)
