"""Maps from inside a network that was made by others: which blocks, with or without the final norm, at which stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from georelay.errors import UserError
from georelay.models.backbones import create_network
from georelay.models.positions import OWN_RULE, Positions

# Where timm keeps what stands between the last block and the classifier; SAM's is a neck of convolutions.
FINAL_NORMS = ("neck", "norm", "fc_norm", "head.norm")


class TapNetwork(nn.Module):
    """A timm network that answers an image of its own kind with the maps of chosen blocks.

    A tap is a block of a transformer or a feature stage of a convolutional network, counted from 0. The sides of an
    image must be multiples of `multiple`. `net` is timm's own network, under whose names weights are kept.
    """

    def __init__(
        self,
        name: str,
        taps: Sequence[int],
        normed: Sequence[int],
        positions: str = OWN_RULE,
        position_grid: int | None = None,
        arguments: Mapping[str, Any] = {},
    ) -> None:
        super().__init__()
        self.net = create_network(name, arguments)
        self.taps, self.normed = list(taps), frozenset(normed)
        facts = _facts(self.net, name, self.taps)
        if stray := sorted(self.normed.difference(self.taps)):
            raise UserError(f"{stray} are normed but not tapped", "teacher.normed", f"choose among {self.taps}")
        widths = {tap: int(fact["num_chs"]) for tap, fact in zip(self.taps, facts, strict=True)}
        self.norm = _final_norm(self.net, name, {tap: widths[tap] for tap in normed}) if normed else ""
        self.channels = [_width_after(self._norm) if tap in self.normed else widths[tap] for tap in self.taps]
        self.strides = [int(fact["reduction"]) for fact in facts]
        self.multiple = max(self.strides)
        self.positions = Positions(self.net, name, positions, position_grid)

    @property
    def _norm(self) -> nn.Module:
        module: nn.Module = self.net.get_submodule(self.norm)
        return module

    def forward(self, image: Tensor) -> list[Tensor]:
        """One map (B, C, h, w) per tap, in the order of the taps."""
        cells = (image.shape[-2] // self.multiple, image.shape[-1] // self.multiple)
        wanted = sorted(set(self.taps))
        with self.positions.on(self.net, cells):
            maps = self.net.forward_intermediates(image, indices=wanted, stop_early=True, intermediates_only=True)
        found = dict(zip(wanted, maps, strict=True))
        return [_normalised(self._norm, found[tap]) if tap in self.normed else found[tap] for tap in self.taps]


class TapBackbone(nn.Module):
    """Maps of chosen blocks in a student's place: of images of any size and band count, for a decoder to read.

    An image that is no multiple of the patch is padded on the right and at the bottom, and its maps overhang it there.
    """

    def __init__(
        self, name: str, taps: Sequence[int], normed: Sequence[int], positions: str, bands: int, arguments: Mapping[str, Any]
    ) -> None:
        super().__init__()
        whole = {"in_chans": bands, "num_classes": 0, **arguments}
        self.inside = TapNetwork(name, taps, normed, positions, None, whole)
        # Blocks behind the last tap would be trained on nothing.
        self.net.prune_intermediate_layers(sorted(taps), prune_norm=not normed, prune_head=True)
        self.channels, self.strides = self.inside.channels, self.inside.strides

    @property
    def net(self) -> Any:
        """timm's own network."""
        return self.inside.net

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps of a normalised image (B, bands, H, W)."""
        over_y, over_x = (-side % self.inside.multiple for side in image.shape[-2:])
        maps: list[Tensor] = self.inside(F.pad(image, (0, over_x, 0, over_y)) if over_y or over_x else image)
        return maps


def _facts(net: Any, name: str, taps: Sequence[int]) -> list[dict[str, Any]]:
    if not hasattr(net, "forward_intermediates"):
        raise UserError(f"{name} cannot give maps from inside", "teacher.network", "choose another timm network")
    if wrong := [tap for tap in taps if not 0 <= tap < len(net.feature_info)]:
        raise UserError(f"{name} has taps 0 to {len(net.feature_info) - 1}, not {wrong}", "teacher.taps")
    return [net.feature_info[tap] for tap in taps]


def _final_norm(net: Any, name: str, widths: Mapping[int, int]) -> str:
    """Path of the norm that fits taps of these widths."""
    modules = dict(net.named_modules())
    path = next((path for path in FINAL_NORMS if path in modules and list(modules[path].parameters())), None)
    if path is None:
        raise UserError(f"{name} has no final norm", "teacher.normed", "use `normed: []`")
    first = next(modules[path].parameters())
    own = first.shape[1] if first.dim() > 1 else first.shape[0]
    if wrong := [tap for tap, width in widths.items() if width != own]:
        raise UserError(f"the final norm of {name} is for {own} channels, those of taps {wrong} differ", "teacher.normed")
    return path


def _width_after(norm: nn.Module) -> int:
    return int(list(norm.parameters())[-1].shape[0])


def _normalised(norm: nn.Module, map_: Tensor) -> Tensor:
    # timm's norms of maps end in 2d; SAM's neck is a sequence of them and of convolutions.
    if isinstance(norm, nn.Sequential) or type(norm).__name__.endswith("2d"):
        result: Tensor = norm(map_)
        return result
    cells: Tensor = norm(map_.permute(0, 2, 3, 1))
    return cells.permute(0, 3, 1, 2).contiguous()
