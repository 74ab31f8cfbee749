"""Maps from inside networks: which, how wide, at which stride, normed or not, and whose table of positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from georelay.errors import UserError
from georelay.models.backbones import adapt_stem, band_count, create_network, hub_repository, timm
from georelay.models.positions import Positions, resampled
from georelay.models.taps import TapNetwork

TINY_SAM = {"img_size": 64, "embed_dim": 16, "depth": 3, "num_heads": 2, "global_attn_indexes": (2,), "window_size": 2}
TINY_REGISTERS = {"img_size": 70, "embed_dim": 16, "depth": 3, "num_heads": 2}


def maps_of(network: TapNetwork, side: int) -> list[Tensor]:
    with torch.no_grad():
        maps: list[Tensor] = network.eval()(torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)))
    return maps


@pytest.mark.parametrize(
    ("name", "taps", "side"),
    [
        ("test_resnet", [1, 4], 64),
        ("test_convnext", [0, 3], 64),
        ("test_efficientnet", [2, 4], 64),
        ("test_vit", [5, 1], 48),
        ("test_vit", [3, 3], 32),
    ],
)
def test_channels_and_strides_are_those_of_the_maps(name: str, taps: list[int], side: int) -> None:
    network = TapNetwork(name, taps, [])
    maps = maps_of(network, side)
    assert [map_.shape[1] for map_ in maps] == network.channels
    assert [side // map_.shape[-1] for map_ in maps] == network.strides
    assert network.multiple == max(network.strides)


def test_maps_come_in_the_order_of_the_taps() -> None:
    network = TapNetwork("test_vit", [5, 1], [])
    last, early = maps_of(network, 32)
    network.taps = [1, 5]
    assert [torch.equal(*pair) for pair in zip(maps_of(network, 32), (early, last), strict=True)] == [True, True]
    assert not torch.equal(early, last)


def test_only_the_normed_taps_are_normed() -> None:
    network = TapNetwork("test_vit", [1, 5], [5])
    plain, normed = maps_of(network, 32)
    network.normed = frozenset()
    raw = maps_of(network, 32)
    assert torch.equal(plain, raw[0])
    torch.testing.assert_close(normed, network.net.norm(raw[1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def test_sam_s_norm_is_its_neck() -> None:
    network = TapNetwork("samvit_base_patch16", [0, 2], [2], arguments=TINY_SAM)
    maps = maps_of(network, 48)  # another size than the 64 it was made for
    assert network.channels == [16, 256]
    assert [tuple(map_.shape[1:]) for map_ in maps] == [(16, 3, 3), (256, 3, 3)]


def test_the_final_norm_may_stand_in_the_head() -> None:
    network = TapNetwork("test_convnext", [3], [3])
    (map_,) = maps_of(network, 64)
    torch.testing.assert_close(map_.mean(1), torch.zeros(2, 2, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "taps", "normed", "options", "message"),
    [
        ("test_vit", [2, 6], [], {}, r"test_vit has taps 0 to 5, not \[6\]"),
        ("test_resnet", [-1], [], {}, "test_resnet has taps 0 to 4"),
        ("test_resnet", [4], [4], {}, "test_resnet has no final norm"),
        ("test_convnext", [0, 3], [0, 3], {}, r"for 64 channels, those of taps \[0\] differ"),
        ("test_vit", [2], [5], {}, "normed but not tapped"),
        ("test_vitt", [2], [], {}, 'unknown network "test_vitt"'),
        ("test_vit.r160_in2k", [2], [], {}, 'no weights "r160_in2k" of test_vit\n  did you mean "r160_in1k"'),
        ("test_vit", [2], [], {"arguments": {"dephts": 3}}, "test_vit refuses its arguments .*dephts"),
        ("test_resnet", [2], [], {"positions": "exact"}, "no table of positions"),
        ("test_vit", [2], [], {"positions": "exact", "arguments": {"pos_embed": "none"}}, "no table of positions"),
        ("vit_small_patch16_dinov3", [0], [], {"position_grid": 4, "arguments": {"depth": 1}}, "no table of positions"),
    ],
)
def test_what_a_network_does_not_have_is_refused(
    name: str, taps: list[int], normed: list[int], options: dict[str, Any], message: str
) -> None:
    with torch.device("meta"), pytest.raises(UserError) as caught:
        TapNetwork(name, taps, normed, **options)
    assert caught.match(message)


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("size", [(4, 4), (7, 9), (12, 3)])
def test_the_rule_of_timm_is_timm_s(prefix: int, size: tuple[int, int]) -> None:
    table = torch.randn(1, prefix + 36, 8, generator=torch.Generator().manual_seed(1))
    theirs = timm.layers.resample_abs_pos_embed(table, list(size), [6, 6], num_prefix_tokens=prefix)
    torch.testing.assert_close(resampled(table, prefix, size, "timm"), theirs)


def test_rules_differ_and_keep_prefix_and_native_grid() -> None:
    table = torch.randn(1, 1 + 36, 8, generator=torch.Generator().manual_seed(1))
    results = {rule: resampled(table, 1, (4, 4), rule) for rule in ("timm", "exact", "dinov2")}
    for rule, result in results.items():
        assert result.shape == (1, 17, 8) and torch.equal(result[:, :1], table[:, :1])
        assert resampled(table, 1, (6, 6), rule) is table
    assert min((results[a] - results[b]).abs().max() for a, b in (("timm", "exact"), ("exact", "dinov2"))) > 1e-2


def test_a_constant_table_stays_constant_by_any_rule() -> None:
    for rule in ("timm", "exact", "dinov2"):
        torch.testing.assert_close(resampled(torch.full((1, 9, 2), 3.0), 0, (5, 7), rule), torch.full((1, 35, 2), 3.0))


@pytest.mark.parametrize(
    ("name", "cells", "arguments"),
    [("test_vit", 10, {}), ("samvit_base_patch16", 4, TINY_SAM), ("vit_small_patch14_reg4_dinov2", 5, TINY_REGISTERS)],
)
def test_a_table_put_in_for_the_time_of_a_call_works_as_timm_s_own(name: str, cells: int, arguments: dict[str, Any]) -> None:
    """By timm's rule over the native grid, which changes nothing, the maps must be those that timm gives by itself."""
    network = TapNetwork(name, [2], [], "timm", cells, arguments)
    network.net.pos_embed.data.normal_(generator=torch.Generator().manual_seed(2))
    before, shape = network.net.pos_embed, tuple(network.net.pos_embed.shape)
    for side in (2 * network.multiple, 3 * cells * network.multiple):
        torch.testing.assert_close(maps_of(network, side)[0], _by_timm(network, side))
    assert network.net.pos_embed is before and tuple(before.shape) == shape
    assert network.net.patch_embed.grid_size == (cells, cells)


def _by_timm(network: TapNetwork, side: int) -> Tensor:
    positions, network.positions = network.positions, Positions(network.net, "", "timm", None)
    (map_,) = maps_of(network, side)
    network.positions = positions
    return map_


def test_a_grid_on_the_way_loses_detail_even_where_none_is_needed() -> None:
    """160 pixels are the table's own 10x10 cells: over 10 nothing changes, over 4 the table is blurred."""
    direct = TapNetwork("test_vit", [3], [], "exact", 10)
    double = TapNetwork("test_vit", [3], [], "exact", 4)
    direct.net.pos_embed.data.normal_(generator=torch.Generator().manual_seed(2))
    double.net.load_state_dict(direct.net.state_dict())
    assert torch.equal(maps_of(direct, 160)[0], _by_timm(direct, 160))
    assert (maps_of(double, 160)[0] - maps_of(direct, 160)[0]).abs().max() > 1e-2


def test_a_stem_is_repeated_and_scaled_or_summed() -> None:
    net = create_network("test_resnet", {}).eval()
    weight = net.conv1[0].weight.detach().clone()
    assert adapt_stem(net, 3) == "" and band_count(net) == 3
    assert adapt_stem(net, 4) == "the stem's 3 bands are repeated to 4, times 3/4"
    torch.testing.assert_close(net.conv1[0].weight, weight[:, [0, 1, 2, 0]] * 0.75)
    assert net(torch.rand(1, 4, 32, 32)).shape == (1, 1000) and band_count(net) == 4
    with pytest.raises(UserError, match="a stem of 4 bands cannot be adapted"):
        adapt_stem(net, 2)
    net = create_network("test_vit", {})
    weight = net.patch_embed.proj.weight.detach().clone()
    assert adapt_stem(net, 1) == "the stem's 3 bands are summed into one"
    torch.testing.assert_close(net.patch_embed.proj.weight, weight.sum(1, keepdim=True))


def test_hub_names_are_timm_s() -> None:
    assert hub_repository("test_resnet") == "timm/test_resnet.r160_in1k"
    assert hub_repository("vit_large_patch14_clip_quickgelu_224.openai") == "timm/vit_large_patch14_clip_224.openai"
    with pytest.raises(UserError, match="timm names no weights for test_mambaout"):
        hub_repository("test_mambaout")
