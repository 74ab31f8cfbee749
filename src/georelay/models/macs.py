"""What a network costs whatever it runs on: the multiply-accumulates of one answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from georelay.models.eager import without_compiler


@torch.no_grad()
def count_macs(network: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of matrix products, convolutions and attention; sums, norms and resizing are not counted."""
    # Attention in one kernel is not counted on every processor; as two matrix products it is.
    with without_compiler(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(image)
    return int(counter.get_total_flops()) // 2
