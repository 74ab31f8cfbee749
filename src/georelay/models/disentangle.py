"""ST-DASegNet's neck (DDM): of one image's maps in two styles, what is each style's own and what both share.

Two backbones see the same image; `own` and `other` stand for the source-style and the target-style maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

REDUCTION = 8  # of a stage's channels in the narrow layers
Pair = tuple[Tensor, Tensor]


class DisentanglingNeck(nn.Module):
    """Pairs of maps, finest first, to pairs of maps: each stage gated, the last one with its universal part behind.

    Narrow layers have C // 8 channels, but no fewer than `least`. Without `gate` maps pass unchanged, without `universal`
    nothing is appended. `channels` are the widths of what comes out. Parameters are `gates.<stage>.*` and `universal.*`.
    """

    def __init__(self, channels: Sequence[int], least: int = 8, *, gate: bool = True, universal: bool = True) -> None:
        super().__init__()
        narrow = [max(count // REDUCTION, least) for count in channels]
        self.gates = nn.ModuleList(StageGate(*widths) for widths in zip(channels, narrow, strict=True)) if gate else None
        self.universal = UniversalPart(channels[-1], narrow[-1]) if universal else None
        self.channels = [*channels[:-1], channels[-1] + (narrow[-1] if universal else 0)]

    def forward(self, own: Sequence[Tensor], other: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The maps for the decoder of each style."""
        pairs: list[Pair] = list(zip(own, other, strict=True))
        if self.gates is not None:
            pairs = [gate(*pair) for gate, pair in zip(self.gates, pairs, strict=True)]
        if self.universal is not None:
            shared = self.universal(own[-1], other[-1])  # of the maps as they came, not of the gated ones
            first, second = (torch.cat(parts, dim=1) for parts in zip(pairs[-1], shared, strict=True))
            pairs[-1] = (first, second)
        return [first for first, _ in pairs], [second for _, second in pairs]


class StageGate(nn.Module):
    """Two styles share out every channel of a sample between them, by the means of both maps."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, narrow)
        self.expand_own, self.expand_other = nn.Linear(narrow, channels), nn.Linear(narrow, channels)

    def forward(self, own: Tensor, other: Tensor) -> Pair:
        """Both maps, each times its shares."""
        means = self.squeeze((own + other).mean(dim=(2, 3)))
        shares = torch.stack([self.expand_own(means), self.expand_other(means)]).softmax(dim=0)
        mine, theirs = shares.to(own.dtype)[..., None, None]
        return own * mine, other * theirs


class UniversalPart(nn.Module):
    """What both styles have in common: channels of each, mixed by how they go with channels of the two maps fused."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.fuse = _conv(channels, channels)
        self.narrow_own, self.narrow_other = _conv(channels, narrow), _conv(channels, narrow)

    def forward(self, own: Tensor, other: Tensor) -> Pair:
        """A narrow map of each style."""
        mixed = _mixed(own, other, self.fuse((own + other) / 2).relu())
        return self.narrow_own(mixed[0]).relu(), self.narrow_other(mixed[1]).relu()


def _mixed(own: Tensor, other: Tensor, fused: Tensor) -> Pair:
    """Channel attention, one matrix for both styles; energies are sums over cells, too large for half precision."""
    with torch.autocast(own.device.type, enabled=False):
        cells, cells_other, keys = (_wide(map_).flatten(2) for map_ in (own, other, fused))
        weights = (_opposed(cells, keys) + _opposed(cells_other, keys)) / 2
        return (weights @ cells).view_as(own), (weights @ cells_other).view_as(other)


def _opposed(cells: Tensor, keys: Tensor) -> Tensor:
    # The published softmax is of the row's largest energy minus each; a softmax does not notice what a row has in common.
    return (-(cells @ keys.transpose(1, 2))).softmax(dim=-1)


def _wide(map_: Tensor) -> Tensor:
    return map_.to(torch.promote_types(map_.dtype, torch.float32))


def _conv(channels: int, narrow: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, narrow, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
