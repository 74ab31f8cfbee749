"""Colour changes of a batch: sensor gain, offset and noise for reflectance, calibration offset and speckle for radar.

They act on normalised values, as changes of the raster values would show there, and on the image alone. Numbers are
drawn for the whole batch and then cut to the samples at hand, and pixel noise has a seed per sample: every rank of a
distributed run draws the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from georelay.batches.jitter import distorted, jittered
from georelay.batches.modality import Modality
from georelay.errors import UserError

NEPER = 10 / np.log(10)  # dB of a factor e in power
DARKEST = 1e-6  # of the mean power: a uniform draw of exactly 0 must not become minus infinity dB


def recolour(
    image: Tensor, modality: Modality, augment: Mapping[str, Any], rng: np.random.Generator, batch: int, samples: slice
) -> Tensor:
    """The tiles as another acquisition might have them; `image` holds the `samples` of a batch of `batch`."""
    if modality.unit == "layer":  # the truth behind an image stays true whatever its colours become
        return image
    if modality.unit == "dB":
        return _radar(image, modality, augment, rng, batch, samples)
    if modality.unit == "reflectance":
        return _optical(image, modality, augment, rng, batch, samples)
    raise UserError(f'no augmentation is known for unit "{modality.unit}"', f"modality {modality.name}", "use dB or reflectance")


def strengthen(
    image: Tensor, modality: Modality, strong: Mapping[str, Any], rng: np.random.Generator, batch: int, samples: slice
) -> Tensor:
    """A strong view of tiles; gaps, which hold 0, are changed with the rest."""
    image = recolour(image, modality, strong, rng, batch, samples)
    return jittered(image, modality, strong, rng, batch, samples) if modality.unit == "reflectance" else image


def _optical(
    image: Tensor, modality: Modality, augment: Mapping[str, Any], rng: np.random.Generator, batch: int, samples: slice
) -> Tensor:
    shape = (batch, image.shape[1], 1, 1)
    if augment["gain"]:
        gain = _normal(rng, shape, samples).mul_(augment["gain"])  # of raster values: g * (mean + std * x)
        image = image + gain * (image + modality.centre / modality.spread)
    if augment["offset"]:
        image = image + _normal(rng, shape, samples).mul_(augment["offset"])
    if augment["noise"]:
        noise = _per_sample(image, _seeds(rng, batch, samples), _normal_noise)
        image = torch.add(image, noise, alpha=augment["noise"])
    return distorted(image, modality, augment["photometric"], rng, batch, samples) if "photometric" in augment else image


def _radar(
    image: Tensor, modality: Modality, augment: Mapping[str, Any], rng: np.random.Generator, batch: int, samples: slice
) -> Tensor:
    decibel = 1 / (modality.scale * modality.spread)  # one dB in normalised values
    if augment["sar_offset"]:
        image = image + _normal(rng, (batch, 1, 1, 1), samples).mul_(augment["sar_offset"]) * decibel
    if looks := augment["speckle_looks"]:
        if looks != int(looks):
            raise UserError(f"{looks} is not a whole number of looks", "augment.speckle_looks")
        speckle = _per_sample(image, _seeds(rng, batch, samples), lambda generator, out: _speckle(generator, out, int(looks)))
        image = torch.addcmul(image, speckle, decibel, value=NEPER)
    return image


def _normal(rng: np.random.Generator, shape: tuple[int, ...], samples: slice) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)[samples])


def _seeds(rng: np.random.Generator, batch: int, samples: slice) -> list[int]:
    seeds: list[int] = rng.integers(0, 2**62, batch)[samples].tolist()
    return seeds


def _per_sample(like: Tensor, seeds: list[int], fill: Any) -> Tensor:
    result = torch.empty_like(like)
    for seed, out in zip(seeds, result, strict=True):
        fill(torch.Generator().manual_seed(seed), out)
    return result


def _normal_noise(generator: torch.Generator, out: Tensor) -> None:
    out.normal_(generator=generator)


def _speckle(generator: torch.Generator, out: Tensor, looks: int) -> None:
    """Logarithm of gamma noise of mean one: the mean of `looks` exponentials, as in a multilooked intensity."""
    draws = torch.rand((looks, *out.shape), generator=generator)
    power = draws.neg_().log1p_().sum(dim=0).div_(-looks)
    torch.log(power.clamp_(min=DARKEST), out=out)
