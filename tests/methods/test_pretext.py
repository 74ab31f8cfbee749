"""The pretext of embedded teachers: its error by hand, and what of an image is hidden."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from georelay.batches.geometry import identity
from georelay.batches.streams import Batch
from georelay.errors import UserError
from georelay.methods.pretext import PretextMethod
from invented import MODEL as INVENTED

LAYERS = {"bands": ["light", "green", "wet"], "unit": "layer", "scale": 1.0, "nodata": None, "mean": [0] * 3, "std": [1] * 3}
OPTICAL = {"bands": ["red", "nir"], "unit": "reflectance", "scale": 1e-4, "nodata": 0, "mean": [0] * 2, "std": [1] * 2}
OPTIONS = {"targets": ["wet", "light"], "edges": [], "masked": 0.0, "block": 4, "band_dropout": 0.0}
MODEL = INVENTED | {"stages": [1]}
IMAGES = 4000  # so many that shares are known to a few per cent


class Fixed(nn.Module):
    """A student that answers the same whatever it sees, and keeps what it saw."""

    def __init__(self, answer: Tensor, stride: int) -> None:
        super().__init__()
        self.answer, self.stride = nn.Parameter(answer), stride

    def forward(self, image: Tensor) -> Tensor:
        self.seen = image
        return self.answer


def plan(**options: Any) -> dict[str, Any]:
    return {
        "experiment": "lesson",
        "task": "lessons",
        "inputs": ["optical"],
        "pair": ["layers"],
        "train_domain": None,
        "modalities": {"optical": OPTICAL, "layers": LAYERS},
        "settings": {"method": OPTIONS | options, "model": MODEL},
    }


def method(answer: Tensor, stride: int, **options: Any) -> PretextMethod:
    return PretextMethod(plan(**options), Fixed(answer, stride))


def batch_of(image: Tensor, pair: Tensor, valid: Tensor | None = None) -> Batch:
    count, _, height, width = image.shape
    seen = torch.ones(count, height, width, dtype=torch.bool) if valid is None else valid
    return Batch(image, torch.zeros(count, height, width).long(), seen, torch.arange(count), identity(count, height), pair)


def loss(learner: PretextMethod, batch: Batch) -> float:
    losses = learner.loss({"unlabelled": batch}, 0)
    assert losses.parts == {"error": losses.total}
    return losses.total.item()


def hidden(image: Tensor, **options: Any) -> Tensor:
    torch.manual_seed(0)
    return method(torch.zeros(1), 1, **options)._hidden(image)


def test_the_error_is_that_of_the_named_bands_over_cells() -> None:
    """Two cells of 2 x 2, two targets. Means of wet: 2, 4; of light: 1, -1. Answers: wet 3, 4; light 0, 1."""
    wet = torch.tensor([[1.0, 3.0, 4.0, 4.0], [1.0, 3.0, 4.0, 4.0]])
    light = torch.tensor([[1.0, 1.0, -2.0, 0.0], [1.0, 1.0, 0.0, -2.0]])
    pair = torch.stack([light, torch.full((2, 4), 99.0), wet])[None]
    answer = torch.tensor([[[[3.0, 4.0]], [[0.0, 1.0]]]])
    assert loss(method(answer, 2), batch_of(torch.zeros(1, 2, 2, 4), pair)) == pytest.approx((1 + 0 + 1 + 4) / 4)


def test_gaps_count_less_the_larger_they_are() -> None:
    """A cell's truth is the mean over what is there; its error counts by that share: 1, 1/2, 0."""
    valid = torch.tensor([[[True, True, True, False, False, False]] * 2])
    wet = torch.tensor([[5.0, 5.0, 2.0, 999.0, 999.0, 999.0]] * 2)
    pair = torch.stack([wet, wet, wet])[None]
    answer = torch.tensor([4.0, 4.0, 4.0]).expand(1, 2, 1, 3).clone()
    found = loss(method(answer, 2), batch_of(torch.zeros(1, 2, 2, 6), pair, valid))
    assert found == pytest.approx((1 * 1 + 0.5 * 4) / (1 + 0.5))


def test_levels_are_told_by_cross_entropy() -> None:
    """Edges -1 and 1: of one cell wet is high (level 2), light low (level 0); both get even odds but for one logit of log 2."""
    pair = torch.stack([torch.full((2, 2), -3.0), torch.zeros(2, 2), torch.full((2, 2), 3.0)])[None]
    answer = torch.zeros(1, 6, 1, 1)
    answer[0, 2] = math.log(2)  # wet: odds 1:1:2; light: 1:1:1
    found = loss(method(answer, 2, edges=[-1.0, 1.0]), batch_of(torch.zeros(1, 2, 2, 2), pair))
    assert found == pytest.approx((math.log(2) + math.log(3)) / 2)


def test_without_any_data_the_error_is_zero() -> None:
    nothing = torch.zeros(1, 4, 4, dtype=torch.bool)
    batch = batch_of(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4), nothing)
    assert loss(method(torch.ones(1, 2, 2, 2), 2), batch) == 0


def test_cells_beyond_the_image_are_cut_and_those_on_its_border_hold_what_is_there() -> None:
    """Five columns at stride 2: the last cell has one column, and a fourth that the network adds is none of ours."""
    wet = torch.tensor([[0.0, 0.0, 0.0, 0.0, 6.0]] * 2)
    answer = torch.zeros(1, 2, 1, 4)
    answer[..., 3] = 50.0
    found = loss(method(answer, 2), batch_of(torch.zeros(1, 2, 2, 5), torch.stack([wet, wet, wet])[None]))
    assert found == pytest.approx(36 / 3)


def test_hidden_pixels_are_to_be_told_as_well() -> None:
    """Everything is hidden but for chance; the error is as without."""
    pair, image = torch.randn(2, 3, 8, 8), torch.ones(2, 2, 8, 8)
    learners = [method(torch.zeros(2, 2, 4, 4), 2, masked=share) for share in (0.0, 0.999)]
    torch.manual_seed(0)
    assert loss(learners[0], batch_of(image, pair)) == loss(learners[1], batch_of(image, pair))
    assert (learners[0].student.seen == 1).all() and (learners[1].student.seen == 0).all()


def test_blocks_are_hidden_whole_in_all_bands_alike() -> None:
    image = torch.rand(IMAGES // 100, 2, 64, 64) + 0.5
    shown = hidden(image, masked=0.3, block=8)
    blocks = (shown != 0).view(-1, 2, 8, 8, 8, 8).transpose(3, 4).flatten(4)
    assert (blocks.all(-1) | ~blocks.any(-1)).all(), "a block is there or not"
    kept = blocks.all(-1)
    assert torch.equal(kept[:, 0], kept[:, 1])
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=0.03)
    assert torch.equal(shown[shown != 0], image[shown != 0])
    assert len({tuple(one.flatten().tolist()) for one in kept[:, 0]}) == len(image), "each image its own"


def test_blocks_that_overhang_the_image_are_cut() -> None:
    shown = hidden(torch.ones(64, 2, 10, 7), masked=0.5, block=4)
    assert shown.shape == (64, 2, 10, 7)
    corners = shown[:, 0, 8:, 4:]
    assert set(corners.flatten(1).float().mean(1).tolist()) == {0.0, 1.0}


def test_bands_are_hidden_in_half_of_the_images_only() -> None:
    """With a chance of 0.9 a band, of the other half one image in a hundred has both bands, and 0.81 have none."""
    shown = hidden(torch.ones(IMAGES, 2, 4, 4), band_dropout=0.9)
    there = shown.flatten(2)
    assert ((there == 0).all(-1) | (there == 1).all(-1)).all(), "a band is there or not"
    count = there[..., 0].sum(1)
    shares = [float((count == bands).float().mean()) for bands in (0, 1, 2)]
    assert shares == pytest.approx([0.5 * 0.81, 0.5 * 0.18, 0.5 + 0.5 * 0.01], abs=0.03)


def test_nothing_is_hidden_unless_asked_for() -> None:
    image = torch.randn(4, 2, 8, 8)
    assert hidden(image) is image


def test_the_student_answers_the_targets_and_not_the_classes() -> None:
    student = PretextMethod.build_student(plan())
    assert student.decoder.classify.out_channels == 2
    assert student(torch.zeros(1, 2, 16, 16)).shape[1] == 2


def test_targets_are_found_by_name_and_unknown_ones_are_refused() -> None:
    assert method(torch.zeros(1), 1).places == [2, 0]
    with pytest.raises(UserError, match=r'(?s)lesson: targets: no band "wett" in the pair of task lessons.*"wet"'):
        method(torch.zeros(1), 1, targets=["wett"])
