"""The auxiliary head of KTDA and others: one 3x3 unit on one map, then a classifier; used in training only."""

from __future__ import annotations

from torch import Tensor, nn

from georelay.models.decoders.blocks import ConvUnit, classifier


class FcnHead(nn.Module):
    """One feature map to class logits of its size."""

    def __init__(self, channels: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.convs = ConvUnit(channels, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = classifier(width, classes)

    def forward(self, map_: Tensor) -> Tensor:
        """Class logits (B, classes, h, w)."""
        logits: Tensor = self.classify(self.dropout(self.convs(map_)))
        return logits
