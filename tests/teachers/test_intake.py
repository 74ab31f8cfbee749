"""What a teacher is shown: bands by name, numbers by its own statistics or the student's, a grid that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from georelay.batches.modality import Modality
from georelay.errors import UserError
from georelay.teachers.intake import fitted, make_intake

Settings = Callable[..., dict[str, Any]]
Facts = dict[str, dict[str, Any]]


def pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


SEEN = torch.ones(1, 1, 1, 1, dtype=torch.bool)


def test_bands_are_picked_by_name_and_scaled_to_white(teacher_settings: Settings, modalities: Facts) -> None:
    """By hand: red 0.2 of 0.4 is 0.5, green 0.1 is 0.25, blue 0.6 is clipped to 1."""
    intake = make_intake(teacher_settings(), "t", modalities["optical"])
    shown = intake(pixel(6000, 1000, 2000, 9000), SEEN)
    torch.testing.assert_close(shown, pixel((0.5 - 0.5) / 0.2, (0.25 - 0.4) / 0.25, (1 - 0.3) / 0.5))
    assert intake.note == "bands red, green, blue of 4"


def test_without_a_white_physical_values_are_not_clipped(teacher_settings: Settings, modalities: Facts) -> None:
    statistics = {"mean": [-10.0], "std": [5.0], "white": None}
    intake = make_intake(teacher_settings(unit="dB", bands=["vh"], statistics=statistics), "t", modalities["sar"])
    torch.testing.assert_close(intake(pixel(-12, -30), SEEN), pixel(-4.0))


def test_the_task_s_statistics_show_what_the_student_sees(teacher_settings: Settings, modalities: Facts) -> None:
    facts = modalities["optical"]
    raw, valid = torch.randint(0, 10000, (2, 4, 8, 8)).float(), torch.rand(2, 1, 8, 8) > 0.3
    student = Modality("optical", tuple(facts["bands"]), "reflectance", 1e-4, 0, tuple(facts["mean"]), tuple(facts["std"]))
    intake = make_intake(teacher_settings(bands="all", statistics="task"), "t", facts)
    assert torch.equal(intake(raw, valid), student.normalised(raw, valid))


@pytest.mark.parametrize("statistics", ["task", {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "white": None}])
def test_a_missing_band_shows_its_mean(teacher_settings: Settings, modalities: Facts, statistics: Any) -> None:
    settings = teacher_settings(bands=["red", "swir", "blue"], missing="mean", statistics=statistics)
    intake = make_intake(settings, "t", modalities["optical"])
    shown = intake(pixel(2000, 1, 5000, 1), SEEN)
    expected = (2.0, 0.0, 2.0) if statistics == "task" else (0.4, 0.0, -0.1)
    torch.testing.assert_close(shown, pixel(*expected))
    assert intake.note == "bands red, blue of 4; swir is missing: its mean is shown"


def test_invalid_pixels_are_zero_whatever_stands_there(teacher_settings: Settings, modalities: Facts) -> None:
    raw = torch.full((1, 4, 1, 2), 2000.0)
    raw[..., 0] = torch.nan
    shown = make_intake(teacher_settings(), "t", modalities["optical"])(raw, torch.tensor([[[[False, True]]]]))
    assert (shown[..., 0] == 0).all() and shown.isfinite().all() and (shown[..., 1] != 0).any()


@pytest.mark.parametrize(
    ("changes", "name", "message"),
    [
        ({}, "sar", "teachers.t.unit: reads reflectance and is offered dB only"),
        ({"bands": ["red", "swir"]}, "optical", "teachers.t.bands: reads swir; the modality has blue, green, red, nir"),
        ({"bands": ["swir"], "missing": "mean"}, "optical", "it would see nothing"),
        ({"bands": ["red", "nir"]}, "optical", r"teachers.t.statistics.mean: 3 numbers for 2 bands"),
        ({"bands": "all"}, "optical", r"3 numbers for 4 bands"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    teacher_settings: Settings, modalities: Facts, changes: dict[str, Any], name: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        make_intake(teacher_settings(**changes), "t", modalities[name])
    assert caught.match(message)


@pytest.mark.parametrize(
    ("side", "size", "fit", "multiple", "image", "tile"),
    [
        (256, None, "pad", 14, 266, 256),
        (512, None, "pad", 14, 518, 512),
        (64, 100, "pad", 16, 112, 64),
        (64, None, "pad", 16, 64, 64),
        (256, None, "resize", 14, 266, 266),
        (64, 224, "resize", 14, 224, 224),
        (64, None, "resize", 32, 64, 64),
    ],
)
def test_images_are_made_to_fit(side: int, size: int | None, fit: str, multiple: int, image: int, tile: int) -> None:
    source = torch.ones(1, 2, side, side)
    result, place = fitted(source, size, fit, False, multiple)
    assert result.shape == (1, 2, image, image) and place == (tile, tile)
    assert (result[..., :tile, :tile] == 1).all() and result.sum() == 2 * tile**2, "the rest is zero"


def test_corners_are_aligned_where_the_settings_say_so() -> None:
    ramp = torch.tensor([[[[0.0, 3.0]] * 2]])
    assert fitted(ramp, 4, "resize", True, 2)[0][0, 0, 0].tolist() == [0, 1, 2, 3]
    assert fitted(ramp, 4, "resize", False, 2)[0][0, 0, 0].tolist() == [0, 0.75, 2.25, 3]


@pytest.mark.parametrize(
    ("size", "fit", "message"),
    [(100, "resize", "100 pixels is no multiple of 14\n.*use 112"), (28, "pad", "cannot be padded to 28")],
)
def test_sizes_that_do_not_fit_are_refused(size: int, fit: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        fitted(torch.ones(1, 1, 64, 64), size, fit, False, 14)
    assert caught.match(f"(?s).*{message}")
