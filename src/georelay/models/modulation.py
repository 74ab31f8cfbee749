"""KTDA's feature modulation (FMM): every level's cells as tokens, through blocks of their own, back to a map."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from georelay.errors import UserError
from georelay.models.alignment import draw_normal
from georelay.models.backbones import transformer_block

KINDS = {"mlp": "mlp", "vit": "vit", "vitBlock": "vit"}  # the last is the paper's own word


class FeatureModulation(nn.Module):
    """FMM: maps (B, C_i, h, w) to maps of the same shapes. There is no position embedding and no outer residual.

    kind "mlp": Linear(C, C // rank_dim), GELU, Linear back, which replaces the features unless `residual`. kind "vit":
    pre-norm transformer blocks with attention over all cells. `depth` blocks a level. `layer_scale` 0 is off.
    Parameters are `adapters.<level>.<block>.` and `fc1`, `fc2`, or timm's names of a block (`norm1`, `attn.qkv`, ...).
    """

    def __init__(
        self,
        channels: Sequence[int],
        kind: str,
        depth: int = 1,
        *,
        rank_dim: int = 4,
        residual: bool = False,
        heads: int = 8,
        mlp_ratio: float = 4.0,
        eps: float = 1e-5,
        layer_scale: float = 0.0,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"no kind {kind}; known: {', '.join(KINDS)}")
        if KINDS[kind] == "vit" and (wrong := [count for count in channels if count % heads]):
            raise UserError(f"{heads} heads do not divide {wrong[0]} channels", "modulation.heads")
        if KINDS[kind] == "mlp" and (narrow := [count for count in channels if count < rank_dim]):
            raise UserError(f"{narrow[0]} channels // {rank_dim} leaves none in the middle", "modulation.rank_dim")

        def block(width: int) -> nn.Module:
            if KINDS[kind] == "mlp":
                return MlpBlock(width, width // rank_dim, residual)
            return transformer_block(width, heads, mlp_ratio, eps, layer_scale)

        self.adapters = nn.ModuleList(nn.Sequential(*(block(count) for _ in range(depth))) for count in channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                draw_normal(module)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """One map a level."""
        return [_mapped(blocks, map_) for blocks, map_ in zip(self.adapters, maps, strict=True)]


class MlpBlock(nn.Module):
    """Two linear layers over channels with a narrow middle."""

    def __init__(self, width: int, middle: int, residual: bool) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, middle), nn.GELU(), nn.Linear(middle, width)
        self.residual = residual

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, width)."""
        changed: Tensor = self.fc2(self.act(self.fc1(tokens)))
        return tokens + changed if self.residual else changed


def _mapped(blocks: nn.Module, map_: Tensor) -> Tensor:
    tokens: Tensor = blocks(map_.flatten(2).transpose(1, 2))
    return tokens.transpose(1, 2).reshape(map_.shape)
