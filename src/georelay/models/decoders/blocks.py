"""What decoders share: the unit of convolution, normalisation and activation, and resizing one map onto another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from georelay.errors import UserError


class Decoder(nn.Module, ABC):
    """Feature maps, finest first, to class logits at `stride`; a subclass gives `embed`, `dropout` and `classify`."""

    stride: float
    dropout: nn.Module
    classify: nn.Conv2d

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Class logits (B, classes, about H / stride, about W / stride)."""
        return self.read(self.embed(maps))

    @abstractmethod
    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """What the classifier reads."""

    def read(self, features: Tensor) -> Tensor:
        """Logits of what `embed` gave."""
        logits: Tensor = self.classify(self.dropout(features))
        return logits


class PyramidDecoder(Decoder):
    """A decoder in two steps: maps of one width, one a level, which others may look at; then what joins them."""

    width: int
    strides: list[float]

    @abstractmethod
    def levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of `width` channels at `strides`, finest first."""

    @abstractmethod
    def gather(self, levels: Sequence[Tensor]) -> Tensor:
        """What the classifier reads, from what `levels` gave."""

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """What the classifier reads."""
        return self.gather(self.levels(maps))


class ConvUnit(nn.Sequential):
    """Convolution without bias, BatchNorm, ReLU; the size of the map is kept."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, dilation: int = 1, groups: int = 1) -> None:
        padding = dilation * (kernel // 2)
        conv = nn.Conv2d(in_channels, out_channels, kernel, 1, padding, dilation, groups, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        super().__init__()
        self.add_module("conv", conv)
        self.add_module("norm", nn.BatchNorm2d(out_channels))
        self.add_module("act", nn.ReLU(inplace=True))

    def forward(self, map_: Tensor) -> Tensor:
        """A map of the same size."""
        if self.training and map_.numel() == map_.shape[1]:
            what = "BatchNorm has nothing to average: one sample on a device, and a map of one cell"
            raise UserError(what, "train.batch", "give every device two samples or more, or take larger tiles")
        result: Tensor = super().forward(map_)  # type: ignore[no-untyped-call]
        return result


def classifier(in_channels: int, classes: int) -> nn.Conv2d:
    """The last 1x1 convolution; it starts near zero, so that training starts from even odds."""
    conv = nn.Conv2d(in_channels, classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def resize(source: Tensor, target: Tensor) -> Tensor:
    """`source` on the grid of `target`, bilinear, pixels as areas."""
    return resized(source, (target.shape[-2], target.shape[-1]))


def resized(source: Tensor, size_yx: tuple[int, int]) -> Tensor:
    """`source` on a grid of that size, bilinear, pixels as areas."""
    if source.shape[-2:] == size_yx:
        return source
    return F.interpolate(source, size=size_yx, mode="bilinear", align_corners=False)


def whole(stride: float) -> float:
    """A stride as an integer where it is one."""
    return int(stride) if stride == int(stride) else stride
