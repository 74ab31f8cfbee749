"""RS-MTDF's translators: a student's deepest map told in each teacher's words, and those words given back to the decoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TeacherFusion(nn.Module):
    """One translator and one way back a teacher; f* = own * f + sum of share * back(translated)."""

    def __init__(self, channels: int, teachers: Mapping[str, int], hidden: int, own: float, share: float) -> None:
        super().__init__()
        self.own, self.share = own, share
        self.translators = nn.ModuleDict({name: _translator(channels, hidden, width) for name, width in teachers.items()})
        self.back = nn.ModuleDict({name: nn.Conv2d(width, channels, 1) for name, width in teachers.items()})

    def translated(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each teacher would say (B, its width, h, w), from the student's map on that teacher's grid."""
        return {name: self.translators[name](map_) for name, map_ in features.items()}

    def forward(self, deepest: Tensor, translated: Mapping[str, Tensor]) -> Tensor:
        """The student's deepest map with all teachers' words in it."""
        size = list(deepest.shape[-2:])
        fused = self.own * deepest
        for name, words in translated.items():
            if list(words.shape[-2:]) != size:
                words = F.interpolate(words, size=size, mode="bilinear", align_corners=True)
            fused = fused + self.share * self.back[name](words)
        return fused


def _translator(channels: int, hidden: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, width, 1))


def translation_error(translated: Mapping[str, Tensor], taught: Mapping[str, Tensor]) -> Tensor:
    """Mean over teachers of the mean squared error of what was translated to what they say."""
    return torch.stack([F.mse_loss(words.float(), taught[name].float()) for name, words in translated.items()]).mean()
