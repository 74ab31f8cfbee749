"""HFD-Net's decoder (HFAM): a pyramid in which the coarser level is aligned to the finer one before both are added.

A reconstruction. The paper (Gao & Dong, arXiv 2210.08988) says that features of several scales are aligned and then
fused; its equations are not public. The form is that of its nearest published relatives: a flow in cells from both
levels (SFNet, Li et al., ECCV 2020), zero at the start (AlignSeg, Huang et al., TPAMI 2021), the levels joined at the
finest grid. With P_l = unit1x1(C_l), U = F_(l+1) enlarged to level l and F_L = P_L:

    F_l = P_l + W(U, D_l),  D_l = conv3x3([R1 P_l; R2 U]);  A_l = unit3x3(F_l), A_L = F_L;  G = unit3x3([A_l enlarged])

Every kind of alignment starts as the plain sum F_l = P_l + U, and parameters that only one kind has take no numbers
from the generator that others would have got: ablations start from the same function, but for a warp's rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from georelay.errors import UserError
from georelay.models.decoders.blocks import ConvUnit, PyramidDecoder, classifier, resize
from georelay.models.eager import define_missing_operators, without_compiler
from georelay.models.warp import warp

KERNEL = 3  # side of the deformable kernel


class HfamDecoder(PyramidDecoder):
    """Feature maps, finest first, to class logits at the finest stride; `alignment` is a word of ALIGNMENTS."""

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[float],
        width: int,
        classes: int,
        dropout: float,
        alignment: str = "flow",
    ) -> None:
        super().__init__()
        self.stride, self.width, self.strides = strides[0], width, list(strides)
        self.laterals = nn.ModuleList(ConvUnit(count, width, 1) for count in channels)
        self.smooths = nn.ModuleList(ConvUnit(width, width, 3) for _ in channels[:-1])
        self.fusion = ConvUnit(len(channels) * width, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = classifier(width, classes)
        with torch.random.fork_rng(devices=[]):
            self.alignments = nn.ModuleList(ALIGNMENTS[alignment](width) for _ in channels[:-1])

    def levels(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """A_l: aligned maps of one width, finest first, each on the grid of its level."""
        *fine, top = [unit(map_) for unit, map_ in zip(self.laterals, maps, strict=True)]
        aligned: list[Tensor] = [top]
        for level, align, smooth in reversed(list(zip(fine, self.alignments, self.smooths, strict=True))):
            top = align(level, resize(top, level))
            aligned.append(smooth(top))
        return aligned[::-1]

    def gather(self, levels: Sequence[Tensor]) -> Tensor:
        """G: all levels joined on the finest grid."""
        features: Tensor = self.fusion(torch.cat([resize(level, levels[0]) for level in levels], dim=1))
        return features


class PlainSum(nn.Module):
    """P + U: no alignment."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The fused level."""
        return fine + coarse


class MixedSum(nn.Module):
    """P + U + conv1x1([P; U]): learned fusion that moves nothing, of about the size of a flow."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = _zero(nn.Conv2d(2 * width, width, 1, bias=False))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The fused level."""
        mixed: Tensor = self.mix(torch.cat([fine, coarse], dim=1))
        return fine + coarse + mixed


class WarpedSum(nn.Module):
    """P + W(U, D), or W(P, D') + W(U, D): the coarse level moved, or both.

    Both are moved as AlignSeg does it, each by a flow of its own. SFNet's second form also weighs the two by a gate in
    (0, 1), which halves them at the start: it cannot begin as the plain sum, and would mix two questions in one row.
    """

    def __init__(self, width: int, both: bool) -> None:
        super().__init__()
        self.flow = Displacement(width, 4 if both else 2)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The fused level."""
        first, *second = self.flow(fine, coarse).split(2, dim=1)
        moved = warp(fine, second[0]) if second else fine
        return moved + warp(coarse, first)


class DeformableSum(nn.Module):
    """P + deformable(U), modulated, as FaPN aligns (Huang et al., ICCV 2021); the kernel starts as the identity.

    On CUDA the operator's backward sums in any order, of which torch warns: two runs may differ in their last bits.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.operator = deformable_operator()
        self.offset = Displacement(width, 3 * KERNEL * KERNEL)
        self.weight = nn.Parameter(nn.init.dirac_(torch.empty(width, width, KERNEL, KERNEL)))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The fused level."""
        wide = torch.promote_types(coarse.dtype, torch.float32)  # as in `warp`
        offset, mask = self.offset(fine, coarse).to(wide).split([2 * KERNEL * KERNEL, KERNEL * KERNEL], dim=1)
        moved = self.operator(coarse.to(wide), offset, self.weight, padding=KERNEL // 2, mask=2 * mask.sigmoid())
        return fine + moved.to(coarse.dtype)


class Displacement(nn.Module):
    """What two levels of one grid say of how far they are apart: so many channels, all zero at the start."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        narrow = max(1, width // 2)
        self.fine, self.coarse = (nn.Conv2d(width, narrow, 1, bias=False) for _ in range(2))
        self.out = _zero(nn.Conv2d(2 * narrow, channels, 3, padding=1))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """A map (B, channels, h, w)."""
        found: Tensor = self.out(torch.cat([self.fine(fine), self.coarse(coarse)], dim=1))
        return found


def deformable_operator() -> Callable[..., Tensor]:
    """torchvision's deformable convolution; refused where its compiled half does not load."""
    with without_compiler():
        define_missing_operators()
        from torchvision.ops import deform_conv2d
    if not hasattr(torch.ops.torchvision, "deform_conv2d"):
        what = "torchvision has no deformable convolution here: its compiled half does not fit this build of torch"
        raise UserError(what, "model.decoder", "install the torchvision of torch's own build, or choose hfam-flow")
    operator: Callable[..., Tensor] = deform_conv2d
    return operator


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


ALIGNMENTS: dict[str, Callable[[int], Any]] = {
    "none": PlainSum,
    "concat": MixedSum,
    "flow": partial(WarpedSum, both=False),
    "biflow": partial(WarpedSum, both=True),
    "deformable": DeformableSum,
}
