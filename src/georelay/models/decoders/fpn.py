"""The light default decoder: a feature pyramid summed from coarse to fine, one 3x3 unit, one classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from georelay.models.decoders.blocks import ConvUnit, Decoder, classifier, resize, whole

# A transformer's maps share one coarse stride; its sum is brought to this one before the 3x3 unit.
FINE_STRIDE = 4


class FpnDecoder(Decoder):
    """Feature maps, finest first, to class logits at `stride`."""

    def __init__(self, channels: Sequence[int], strides: Sequence[float], width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.enlarge = max(1, int(strides[0] // FINE_STRIDE)) if strides[0] == strides[-1] else 1
        self.stride = whole(strides[0] / self.enlarge)
        self.laterals = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.smooth = ConvUnit(width, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = classifier(width, classes)

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """What the classifier reads (B, width, H / stride, W / stride)."""
        features: Tensor = self.smooth(self.fuse(maps))
        return features

    def fuse(self, maps: Sequence[Tensor]) -> Tensor:
        """The pyramid's finest map."""
        levels = [lateral(map_) for lateral, map_ in zip(self.laterals, maps, strict=True)]
        top: Tensor = levels[-1]
        for level in reversed(levels[:-1]):
            top = level + resize(top, level)
        if self.enlarge == 1:
            return top
        fine: Tensor = F.interpolate(top, scale_factor=self.enlarge, mode="bilinear", align_corners=False)
        return fine
