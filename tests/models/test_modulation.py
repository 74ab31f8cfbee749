"""Modulation against blocks written out by hand, and what it does not do: no positions, no hidden residual."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from georelay.errors import UserError
from georelay.models.modulation import FeatureModulation

VIT: dict[str, Any] = {"kind": "vit", "heads": 2, "mlp_ratio": 2.0}


def network(channels: list[int], **settings: Any) -> FeatureModulation:
    torch.manual_seed(0)
    made = FeatureModulation(channels, **settings).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def maps(channels: list[int], *sizes: tuple[int, int], scale: float = 1.0) -> list[Tensor]:
    torch.manual_seed(1)
    return [scale * torch.randn(2, width, *size, dtype=torch.float64) for width, size in zip(channels, sizes, strict=True)]


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.einsum("oc,bnc->bno", layer.weight, x) + layer.bias


def norm(layer: nn.Module, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * layer.weight + layer.bias


def attention(layer: nn.Module, x: Tensor, heads: int) -> Tensor:
    batch, count, width = x.shape
    query, key, value = linear(layer.qkv, x).view(batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    chance = (query @ key.mT / math.sqrt(width // heads)).exp()
    mixed = (chance / chance.sum(-1, keepdim=True)) @ value
    return linear(layer.proj, mixed.transpose(1, 2).reshape(batch, count, width))


def test_mlp_blocks_by_hand() -> None:
    """A reduction by 2, three blocks, nothing added and nothing normalised."""
    given = maps([6, 5], (3, 4), (2, 2))
    made = network([6, 5], kind="mlp", depth=3, rank_dim=2)
    for blocks, map_, found in zip(made.adapters, given, made(given), strict=True):
        tokens = map_.flatten(2).mT
        for block in blocks:
            assert block.fc1.out_features == map_.shape[1] // 2
            tokens = linear(block.fc2, gelu(linear(block.fc1, tokens)))
        torch.testing.assert_close(found, tokens.mT.reshape(map_.shape), atol=1e-12, rtol=0)


def test_a_residual_adds_the_input_of_each_block() -> None:
    given = maps([6], (3, 4))
    made, plain = (network([6], kind="mlp", rank_dim=3, residual=wanted) for wanted in (True, False))
    torch.testing.assert_close(made(given)[0], given[0] + plain(given)[0])


@pytest.mark.parametrize("eps", [1e-6, 1e-5])
@pytest.mark.parametrize("scale", [0.0, 0.1])
def test_transformer_blocks_by_hand(eps: float, scale: float) -> None:
    """Inputs so small that the norm's eps is seen."""
    given = maps([8], (3, 2), scale=0.003)
    made = network([8], depth=2, eps=eps, layer_scale=scale, **VIT)
    tokens = given[0].flatten(2).mT
    for block in made.adapters[0]:
        gammas = (block.ls1.gamma, block.ls2.gamma) if scale else (1.0, 1.0)
        tokens = tokens + gammas[0] * attention(block.attn, norm(block.norm1, tokens, eps), 2)
        inner = gelu(linear(block.mlp.fc1, norm(block.norm2, tokens, eps)))
        tokens = tokens + gammas[1] * linear(block.mlp.fc2, inner)
    torch.testing.assert_close(made(given)[0], tokens.mT.reshape(given[0].shape), atol=1e-10, rtol=0)


@pytest.mark.parametrize("settings", [VIT, {"kind": "mlp", "rank_dim": 2}], ids=["vit", "mlp"])
def test_cells_have_no_place(settings: dict[str, Any]) -> None:
    """Without position embedding, modulation commutes with any permutation of cells."""
    made, (map_,) = network([8], depth=2, **settings), maps([8], (3, 5))
    order = torch.randperm(15)

    def shuffled(some: Tensor) -> Tensor:
        return some.flatten(2)[..., order].view(some.shape)

    assert not torch.allclose(shuffled(map_), map_)
    torch.testing.assert_close(made([shuffled(map_)])[0], shuffled(made([map_])[0]), atol=1e-10, rtol=0)


def test_attention_sees_all_cells_of_its_own_tile_and_level() -> None:
    made, given = network([8, 8], **VIT), [map_.requires_grad_() for map_ in maps([8, 8], (3, 5), (2, 2))]
    made(given)[0][0, :, 0, 0].pow(2).sum().backward()
    reach = given[0].grad.abs().sum(1)
    assert (reach[0] > 0).all()
    assert not reach[1].any()
    assert given[1].grad is None or not given[1].grad.any()


def test_every_level_has_blocks_of_its_own() -> None:
    made = FeatureModulation([8, 16, 8], depth=3, **VIT)
    assert [len(blocks) for blocks in made.adapters] == [3, 3, 3]
    assert len({id(parameter) for parameter in made.parameters()}) == 9 * len(list(made.adapters[0][0].parameters()))


def test_linear_layers_start_small_and_norms_as_identity() -> None:
    torch.manual_seed(0)
    (block,) = FeatureModulation([128], **VIT).adapters[0]
    for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert not layer.bias.any()
    assert (block.norm1.weight == 1).all()
    assert not block.norm1.bias.any()


def test_an_mlp_shrinks_what_passes_it() -> None:
    """At the paper's width the first block leaves a standard deviation of 0.09, the second one of 0.007."""
    torch.manual_seed(0)
    made = FeatureModulation([768], "mlp", depth=2)
    tokens = torch.randn(1, 64, 768)
    stds = [(tokens := block(tokens)).std().item() for block in made.adapters[0]]
    assert stds == pytest.approx([0.090, 0.0070], rel=0.03)


def test_the_paper_s_word_is_known_and_others_are_not() -> None:
    assert isinstance(FeatureModulation([8], "vitBlock").adapters[0], nn.Sequential)
    with pytest.raises(ValueError, match="no kind lstm"):
        FeatureModulation([8], "lstm")


def test_widths_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match=r"modulation\.heads: 3 heads do not divide 8 channels"):
        FeatureModulation([6, 8], "vit", heads=3)
    with pytest.raises(UserError, match=r"modulation\.rank_dim: 8 channels // 9"):
        FeatureModulation([18, 8], "mlp", rank_dim=9)
