"""Multiply-accumulates counted by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.macs import count_macs
from georelay.models.student import build_student
from invented import make_plan


def test_a_small_convolutional_network_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),  # 8 x 8 pixels, 8 channels of 3 x 9 products each
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),  # 4 x 4 pixels, 8 channels of 9 products each
        nn.Conv2d(8, 5, 1),  # 4 x 4 pixels, 5 channels of 8 products each
        nn.Upsample(scale_factor=2),
    ).eval()
    assert count_macs(network, torch.zeros(1, 3, 8, 8)) == 64 * 8 * 27 + 16 * 8 * 9 + 16 * 5 * 8


class Attention(nn.Module):
    """One head over the tokens of an image, with a projection behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 2)

    def forward(self, image: Tensor) -> Tensor:
        tokens = image.flatten(2).transpose(1, 2)
        answer: Tensor = self.last(F.scaled_dot_product_attention(tokens, tokens, tokens))
        return answer


def test_attention_is_two_products() -> None:
    tokens, width = 20, 6
    assert count_macs(Attention().eval(), torch.zeros(1, width, 4, 5)) == 2 * tokens**2 * width + tokens * width * 2


def test_a_student_costs_in_proportion_to_its_pixels_and_stays_as_it_is() -> None:
    student = build_student(make_plan()["settings"]["model"], 4, 3).eval()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    small, large = (count_macs(student, torch.zeros(1, 4, side, side)) for side in (32, 64))
    assert large == 4 * small > 0
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
