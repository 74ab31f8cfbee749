"""ST-DASegNet's adversaries: they tell from a backbone's last map which domain an image is of, and the loss of that."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.decoders.blocks import resized

SLOPE = 0.2  # of the leaky rectifiers
SMALLEST = 3  # cells a side that the two last convolutions need to leave one


def spatial_softmax(map_: Tensor) -> Tensor:
    """Every channel of every sample as a distribution over its cells, in float32 at least."""
    wide = map_.to(torch.promote_types(map_.dtype, torch.float32))
    return wide.flatten(2).softmax(dim=-1).view_as(map_)


class Discriminator(nn.Module):
    """Maps (B, C, h, w), as `spatial_softmax` gives them, to logits (B, 1, about h / 2^halvings - 2, ...).

    4x4 convolutions: `halvings` of stride 2, `base` channels at first and twice as many each time, then two of stride 1.
    They need 3 * 2^halvings cells a side. A smaller map gets empty cells around it: its channels stay distributions.
    """

    def __init__(self, channels: int, halvings: int, base: int = 64) -> None:
        super().__init__()
        self.least = SMALLEST * 2**halvings
        widths = [channels, *(base * 2**place for place in range(halvings + 1)), 1]
        strides = [2] * halvings + [1, 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(count, width, 4, stride, padding=1)
            for count, width, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        for conv in list(self.convs)[:-1]:  # the last one starts as PyTorch has it, as in the public code
            nn.init.kaiming_normal_(conv.weight, a=SLOPE, mode="fan_out", nonlinearity="leaky_relu")  # type: ignore[arg-type]
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, shares: Tensor) -> Tensor:
        """Logits; positive: the domain that is called real."""
        first, *middle, last = self.convs
        map_ = F.leaky_relu(first(_padded(shares, self.least)), SLOPE)
        for conv in middle:
            map_ = F.leaky_relu(F.instance_norm(conv(map_)), SLOPE)
        logits: Tensor = last(map_)
        return logits


def adversarial_loss(logits: Tensor, real: bool, size_yx: tuple[int, int], weight: float) -> Tensor:
    """Mean binary cross-entropy of logits, enlarged to `size_yx`, against all real or all not, times `weight`."""
    fine = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if fine.shape[-2:] != (1, 1):  # one cell enlarged has the mean that it had; 3 % of a step with 64-pixel tiles
        fine = resized(fine, size_yx)
    return weight * F.binary_cross_entropy_with_logits(fine, torch.full_like(fine, float(real)))


def _padded(map_: Tensor, least: int) -> Tensor:
    rows, cols = (max(0, least - side) for side in map_.shape[-2:])
    if not rows and not cols:
        return map_
    return F.pad(map_, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))
