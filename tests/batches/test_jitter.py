"""Strong colour changes: each against torchvision's, blur against SciPy's, and what must stay as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from georelay.batches.jitter import Shade, distorted, jittered
from georelay.batches.modality import Modality
from georelay.models.eager import define_missing_operators

define_missing_operators()
from torchvision.transforms import functional as theirs  # noqa: E402 - needs the operators

RGB = Modality("optical", ("red", "green", "blue"), "reflectance", 1 / 255, None, (0.0,) * 3, (255.0,) * 3)
WIDE = Modality("optical", ("blue", "green", "red", "nir"), "reflectance", 1e-4, None, (1000.0,) * 4, (500.0,) * 4)
OFF: dict[str, Any] = {
    "white": 1.0,
    "jitter": {"chance": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "grey": 0.0,
    "blur": {"chance": 0.0, "sigma": [1.0, 1.0]},
}
BATCH, SIDE = 8, 24


def picture(bands: int = 3) -> Tensor:
    torch.manual_seed(0)
    return torch.rand(BATCH, bands, SIDE, SIDE)


def changed(image: Tensor, modality: Modality = RGB, samples: slice = slice(None), seed: int = 0, **settings: Any) -> Tensor:
    strong = {key: OFF[key] | settings.get(key, {}) if isinstance(OFF[key], dict) else settings.get(key, OFF[key]) for key in OFF}
    return jittered(image, modality, strong, np.random.default_rng(seed), BATCH, samples)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_each_change_is_torchvision_s(name: str) -> None:
    """Every sample has a factor of its own; theirs is asked for the one that explains ours."""
    image = picture()
    found = changed(image, jitter={"chance": 1.0, name: 0.4})
    adjust = getattr(theirs, f"adjust_{name}")
    low, high = (-0.4, 0.4) if name == "hue" else (0.6, 1.4)
    for before, after in zip(image, found, strict=True):
        misses = [(adjust(before, float(factor)) - after).abs().max() for factor in np.linspace(low, high, 801)]
        assert min(misses) < 6e-3, "no factor in between gives this picture"
    assert len({round(float((after - before).abs().mean()), 6) for before, after in zip(image, found, strict=True)}) == BATCH


def test_grey_is_luma_in_every_band() -> None:
    image = picture()
    torch.testing.assert_close(changed(image, grey=1.0), theirs.rgb_to_grayscale(image, 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.5, 2.0])
def test_blur_spreads_a_point_as_far_as_a_gaussian(sigma: float) -> None:
    point = torch.zeros(BATCH, 3, SIDE, SIDE)
    point[..., 12, 9] = 1
    spread = changed(point, blur={"chance": 1.0, "sigma": [sigma, sigma]}).double()
    for axis, centre in ((-1, 12), (-2, 9)):
        share = spread.sum(axis)
        distance = torch.arange(SIDE) - centre
        torch.testing.assert_close(share.sum(-1), torch.ones(BATCH, 3).double(), atol=1e-5, rtol=0)
        torch.testing.assert_close((share * distance**2).sum(-1), torch.full((BATCH, 3), sigma**2).double(), atol=1e-4, rtol=0)


def test_blur_is_nearly_gaussian_away_from_borders() -> None:
    image = picture()
    found = changed(image, blur={"chance": 1.0, "sigma": [1.5, 1.5]})
    expected = gaussian_filter(image.numpy(), sigma=(0, 0, 1.5, 1.5))
    assert np.abs(found.numpy() - expected)[..., 5:-5, 5:-5].max() < 0.02


def test_the_chance_is_that_of_a_sample_and_the_others_keep_their_bits() -> None:
    image = picture() * 3 - 1  # beyond black and white too
    for settings in ({"jitter": {"chance": 0.5, "brightness": 0.5}}, {"grey": 0.5}, {"blur": {"chance": 0.5}}):
        found = changed(image, **settings)
        kept = [torch.equal(before, after) for before, after in zip(image, found, strict=True)]
        assert 0 < sum(kept) < BATCH
    assert torch.equal(changed(image), image)


def test_a_share_of_the_batch_is_changed_as_in_the_whole() -> None:
    image = picture()
    settings: dict[str, Any] = {"jitter": {"chance": 0.8, "brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.25}}
    settings |= {"grey": 0.2, "blur": {"chance": 0.5, "sigma": [0.1, 2.0]}}
    whole = changed(image, **settings)
    parts = [changed(image[share], samples=share, **settings) for share in (slice(0, 3), slice(3, 8))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(changed(image, seed=1, **settings), whole)


def test_bands_are_found_by_name_and_infrared_has_no_hue() -> None:
    image = torch.randn(BATCH, 4, SIDE, SIDE)
    found = changed(image, WIDE, white=0.4, jitter={"chance": 1.0, "hue": 0.3})
    shown = (image * 500 + 1000).mul(1e-4 / 0.4).clamp(0, 1)
    after = (found * 500 + 1000).mul(1e-4 / 0.4)
    torch.testing.assert_close(after[:, 3], shown[:, 3], atol=1e-5, rtol=0)
    torch.testing.assert_close(after[:, :3].amax(1), shown[:, :3].amax(1), atol=1e-5, rtol=0)  # value stays, colours turn
    assert (after[:, :3] - shown[:, :3]).abs().max() > 0.1
    assert Shade(WIDE).rgb == [2, 1, 0]


def test_without_colours_grey_is_the_mean_of_the_bands() -> None:
    bands = Modality("optical", ("nir", "swir"), "reflectance", 1.0, None, (0.0,) * 2, (1.0,) * 2)
    image = picture(2)
    torch.testing.assert_close(changed(image, bands, grey=1.0), image.mean(1, keepdim=True).expand_as(image))
    assert torch.equal(changed(image, bands, jitter={"chance": 1.0, "hue": 0.5}), image)


PHOTOMETRIC = {"chance": 1.0, "white": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def distort(image: Tensor, seed: int = 0, samples: slice = slice(None), **settings: float) -> Tensor:
    return distorted(image, RGB, PHOTOMETRIC | settings, np.random.default_rng(seed), BATCH, samples)


def test_distortion_adds_brightness_and_multiplies_contrast() -> None:
    image = picture() * 0.4 + 0.3
    added = distort(image, brightness=0.1) - image
    assert (added.flatten(1).std(1) < 1e-6).all() and added.abs().max() <= 0.1 and len(added.mean((1, 2, 3)).unique()) == BATCH
    factor = distort(image, contrast=0.4) / image
    assert (factor.flatten(1).std(1) < 1e-5).all() and factor.min() >= 0.6 and factor.max() <= 1.4


def test_distortion_turns_hue_and_saturation_and_keeps_the_brightest_band() -> None:
    image = picture()
    torch.testing.assert_close(distort(image, saturation=0.5, hue=0.1).amax(1), image.amax(1), atol=1e-5, rtol=0)
    assert (distort(image, hue=0.1) - image).abs().max() > 0.05
    grey = image[:, :1].expand_as(image)
    torch.testing.assert_close(distort(grey, saturation=0.5, hue=0.1), grey, atol=1e-5, rtol=0)


def test_distortion_has_a_chance_and_is_shared_out_over_ranks() -> None:
    image = picture()
    settings = {"brightness": 0.125, "contrast": 0.5, "saturation": 0.5, "hue": 0.1}
    assert torch.equal(distort(image, chance=0.0, **settings), image)
    whole = distort(image, chance=0.5, **settings)
    shares = [distort(image[part], samples=part, chance=0.5, **settings) for part in (slice(0, 3), slice(3, 8))]
    assert torch.equal(torch.cat(shares), whole)
