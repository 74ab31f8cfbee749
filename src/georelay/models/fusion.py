"""RS-MTDF's translators: a student's map told in each teacher's words, and those words given back to the student.

Beside them the errors to what the teachers say: squared error of the words, affinities of cells, and MMD.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 8  # of the attention that one published variant has instead of a sum


class TeacherFusion(nn.Module):
    """One translator and one way back a teacher; f* = own * f + sum of share * back(words).

    Words of the `attended` teachers are attended to, on whatever grid they are, instead of resized. Not `fused`: f* = f.
    """

    def __init__(
        self,
        channels: int,
        teachers: Mapping[str, int],
        hidden: int,
        *,
        own: float,
        share: float,
        fused: bool = True,
        attended: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.own, self.share, self.fused = own, share, fused
        self.translators = nn.ModuleDict({name: _translator(channels, hidden, width) for name, width in teachers.items()})
        ways = teachers if fused else {}
        self.back = nn.ModuleDict({name: _way_back(channels, width, name in attended) for name, width in ways.items()})

    def translated(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each teacher would say (B, its width, h, w), from the student's map for that teacher."""
        return {name: self.translators[name](map_) for name, map_ in features.items()}

    def forward(self, own: Tensor, translated: Mapping[str, Tensor]) -> Tensor:
        """The student's map with all teachers' words in it."""
        if not self.fused:
            return own
        fused = self.own * own
        for name, words in translated.items():
            fused = fused + self.share * self.back[name](own, words)
        return fused


class Summed(nn.Conv2d):
    """Words on the student's grid, then a 1x1 convolution to its width."""

    def forward(self, own: Tensor, words: Tensor) -> Tensor:  # type: ignore[override]
        """A map like `own`."""
        size = list(own.shape[-2:])
        if list(words.shape[-2:]) != size:
            words = F.interpolate(words, size=size, mode="bilinear", align_corners=True)
        return super().forward(words)


class Attended(nn.Module):
    """The student's cells attend to a teacher's words, wherever those lie."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, HEADS, kdim=width, vdim=width, batch_first=True)

    def forward(self, own: Tensor, words: Tensor) -> Tensor:
        """A map like `own`."""
        asked, said = (map_.flatten(2).transpose(1, 2) for map_ in (own, words))
        answer: Tensor = self.attention(asked, said, said, need_weights=False)[0]
        return answer.transpose(1, 2).reshape(own.shape)


def _translator(channels: int, hidden: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, width, 1))


def _way_back(channels: int, width: int, attended: bool) -> nn.Module:
    return Attended(channels, width) if attended else Summed(width, channels, 1)


def translation_error(translated: Mapping[str, Tensor], taught: Mapping[str, Tensor]) -> Tensor:
    """Mean over teachers of the mean squared error of the words, on each teacher's grid."""
    return torch.stack([F.mse_loss(_on(words, taught[name]), taught[name].float()) for name, words in translated.items()]).mean()


def discrepancy(translated: Mapping[str, Tensor], taught: Mapping[str, Tensor]) -> Tensor:
    """Sum over teachers of the squared maximum mean discrepancy between whole maps, Gaussian kernel exp(-d² / 2), biased."""
    terms = []
    for name, words in translated.items():
        own, other = (map_.float().flatten(1) for map_ in (_on(words, taught[name]), taught[name]))
        terms.append(_kernel(own, own).mean() + _kernel(other, other).mean() - 2 * _kernel(own, other).mean())
    return torch.stack(terms).sum()


def affinity_error(features: Mapping[str, Tensor], taught: Mapping[str, Tensor]) -> Tensor:
    """Mean over teachers of the cross-entropy between cosines of a student's cells, as logits, and of the teacher's."""
    terms = []
    for name, map_ in features.items():
        own, other = (_cosines(some) for some in (_on(map_, taught[name]), taught[name].float()))
        terms.append(F.binary_cross_entropy_with_logits(own, other))
    return torch.stack(terms).mean()


def _on(map_: Tensor, target: Tensor) -> Tensor:
    size = list(target.shape[-2:])
    same = list(map_.shape[-2:]) == size
    return (map_ if same else F.interpolate(map_, size=size, mode="bilinear", align_corners=True)).float()


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return torch.exp(-0.5 * (first[:, None] - second[None]).square().sum(dim=2))


def _cosines(map_: Tensor) -> Tensor:
    cells = F.normalize(map_.flatten(2), dim=1)
    return cells.transpose(1, 2) @ cells
