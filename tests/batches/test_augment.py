"""Colour changes: each does to raster values what it says, judged by moments computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from georelay.batches.augment import recolour
from georelay.batches.modality import Modality, modality_of
from georelay.errors import UserError
from invented import AUGMENT, make_plan

BATCH, SIDE = 64, 32


def changed(name: str, image: Tensor, samples: slice = slice(None), **settings: Any) -> Tensor:
    return recolour(image, modality_of(make_plan(), name), AUGMENT | settings, np.random.default_rng(0), BATCH, samples)


def raster(name: str, image: Tensor) -> Tensor:
    """Normalised values back to raster units."""
    modality = modality_of(make_plan(), name)
    return image * modality.spread + modality.centre


def zeros(bands: int) -> Tensor:
    return torch.zeros(BATCH, bands, SIDE, SIDE)


def test_nothing_set_changes_nothing() -> None:
    image = torch.rand(BATCH, 4, SIDE, SIDE)
    assert torch.equal(changed("optical", image), image)
    assert torch.equal(changed("sar", image[:, :2]), image[:, :2])


def test_gain_multiplies_raster_values() -> None:
    image = torch.rand(BATCH, 4, SIDE, SIDE)
    ratio = raster("optical", changed("optical", image, gain=0.1)) / raster("optical", image)
    assert ratio.std(dim=(2, 3)).max() < 1e-4  # one factor a sample and band
    assert abs(ratio.mean() - 1) < 0.02
    assert ratio[:, :, 0, 0].std() == pytest.approx(0.1, rel=0.2)


def test_offset_is_one_number_a_sample_and_band_in_standard_deviations() -> None:
    shift = changed("optical", zeros(4), offset=0.5)
    assert shift.std(dim=(2, 3)).max() == 0
    assert shift[:, :, 0, 0].std() == pytest.approx(0.5, rel=0.2)


def test_noise_is_drawn_for_each_pixel() -> None:
    noise = changed("optical", zeros(4), noise=0.2)
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    assert abs(noise.mean()) < 0.005


def test_sar_offset_is_in_decibels_and_common_to_the_bands() -> None:
    shift = raster("sar", changed("sar", zeros(2), sar_offset=1.5)) - raster("sar", zeros(2))
    torch.testing.assert_close(shift[:, 0], shift[:, 1])
    assert shift[:, 0, 0, 0].std() == pytest.approx(1.5, rel=0.25)


@pytest.mark.parametrize("looks", [1, 4])
def test_speckle_is_gamma_noise_of_mean_one_in_power(looks: int) -> None:
    decibels = raster("sar", changed("sar", zeros(2), speckle_looks=float(looks))) - raster("sar", zeros(2))
    power = 10 ** (decibels.double() / 10)
    assert power.mean() == pytest.approx(1, rel=0.02)
    assert power.var() == pytest.approx(1 / looks, rel=0.05)  # a gamma variable of shape L and mean 1


def test_looks_must_be_whole() -> None:
    with pytest.raises(UserError, match=r"2\.5 is not a whole number"):
        changed("sar", zeros(2), speckle_looks=2.5)


def test_settings_of_one_sensor_leave_the_other_alone() -> None:
    assert torch.equal(changed("sar", zeros(2), gain=0.5, offset=0.5, noise=0.5), zeros(2))
    assert torch.equal(changed("optical", zeros(4), sar_offset=2.0, speckle_looks=1.0), zeros(4))


@pytest.mark.parametrize(("name", "bands"), [("optical", 4), ("sar", 2)])
def test_a_rank_draws_what_the_whole_batch_draws(name: str, bands: int) -> None:
    settings = {"gain": 0.1, "offset": 0.1, "noise": 0.1, "sar_offset": 1.0, "speckle_looks": 2.0}
    image, half = torch.rand(BATCH, bands, SIDE, SIDE), slice(BATCH // 2, BATCH)
    assert torch.equal(changed(name, image[half], half, **settings), changed(name, image, **settings)[half])


def test_an_unknown_unit_is_refused() -> None:
    height = Modality("height", ("z",), "m", 1.0, None, (0.0,), (1.0,))
    with pytest.raises(UserError, match='unit "m"'):
        recolour(zeros(1), height, AUGMENT, np.random.default_rng(0), BATCH, slice(None))
