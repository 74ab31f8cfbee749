"""The running average of a network's weights (Polyak averaging), kept beside it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """A copy of a network that follows it: average <- r * average + (1 - r) * network, buffers alike.

    r = min(1 - 1 / (step + 1), decay): step 0 copies, the first steps are a plain mean, then the decay holds.
    buffers=False: only parameters follow. Such a copy has statistics of its own, and is in training mode when asked to.
    """

    def __init__(self, network: nn.Module, decay: float, *, buffers: bool = True) -> None:
        super().__init__()
        self.network = deepcopy(network).requires_grad_(False).eval()
        self.decay, self.buffered = decay, buffers

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follow the network after optimiser step `step`, counted from 0."""
        keep = min(1 - 1 / (step + 1), self.decay)
        pairs = list(zip(self._followed(self.network), self._followed(network), strict=True))
        real = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in real], [theirs for _, theirs in real], 1 - keep)
        for mine, theirs in pairs:
            if not mine.is_floating_point():
                mine.copy_(theirs)  # counters, such as BatchNorm's number of batches

    def train(self, mode: bool = True) -> Average:
        """An average is never in training mode, unless its buffers are its own."""
        return super().train(mode and not self.buffered)

    def _followed(self, network: nn.Module) -> list[Tensor]:
        parameters = [parameter.data for parameter in network.parameters()]
        return [*parameters, *network.buffers()] if self.buffered else parameters


class Adapted(Average):
    """A copy with the network's very weights, whose BatchNorm statistics know nothing but what it is shown (AdaBN)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, 0.0, buffers=False)

    @torch.no_grad()
    def meet(self, network: nn.Module, step: int, images: Iterable[Tensor]) -> None:
        """Take the network's weights after optimiser step `step`, and look at images."""
        self.update(network, step)
        for image in images:
            self.network(image)
