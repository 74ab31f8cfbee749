"""The neck of two styles: its ablations, its symmetry, its precision; the arrays are in tests/parity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from georelay.models.disentangle import DisentanglingNeck, StageGate, UniversalPart

CHANNELS = [8, 72, 24]


def pair(scale: float = 1.0) -> tuple[list[Tensor], list[Tensor]]:
    torch.manual_seed(0)
    sizes = [(8, 6), (4, 3), (2, 2)]
    own, other = ([scale * torch.randn(2, count, *size) for count, size in zip(CHANNELS, sizes, strict=True)] for _ in "st")
    return own, other


def neck(**options: bool) -> DisentanglingNeck:
    torch.manual_seed(1)
    return DisentanglingNeck(CHANNELS, **options)


def test_narrow_layers_have_an_eighth_of_the_channels_but_not_too_few() -> None:
    assert [gate.squeeze.out_features for gate in neck().gates] == [8, 9, 8]
    assert DisentanglingNeck(CHANNELS, 4).gates[0].squeeze.out_features == 4
    assert DisentanglingNeck(CHANNELS, 4).channels == [8, 72, 28]


def test_the_published_sizes() -> None:
    """3.10 and 49.29 million weights under the two published backbones."""
    for channels, millions in (([64, 128, 320, 512], 3.10), ([256, 512, 1024, 2048], 49.29)):
        with torch.device("meta"):
            made = DisentanglingNeck(channels)
        assert sum(parameter.numel() for parameter in made.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)
        assert made.channels == [*channels[:3], channels[3] * 9 // 8]


@pytest.mark.parametrize(("gate", "universal"), [(True, True), (True, False), (False, True), (False, False)])
def test_each_part_may_be_left_out(gate: bool, universal: bool) -> None:
    own, other = pair()
    made, whole = neck(gate=gate, universal=universal), neck()
    whole.load_state_dict(made.state_dict(), strict=False)
    assert made.channels == [8, 72, 32 if universal else 24]
    for found, full, given in zip(made(own, other), whole(own, other), (own, other), strict=True):
        assert [map_.shape[1] for map_ in found] == made.channels
        for map_, wanted in zip(found, full if gate else given, strict=True):
            assert torch.equal(map_[:, : wanted.shape[1]][:, :24], wanted[:, :24])
        if universal:
            assert torch.equal(found[-1][:, 24:], full[-1][:, 24:])


def test_what_is_left_out_has_no_weights() -> None:
    assert not list(neck(gate=False, universal=False).parameters())
    assert not any(name.startswith("gates") for name in neck(gate=False).state_dict())
    assert not any(name.startswith("universal") for name in neck(universal=False).state_dict())


def test_both_styles_share_out_every_channel() -> None:
    """Shares of a channel add up to 1, are the same in every cell, and depend on the mean of both maps alone."""
    own, other = pair()
    gate = StageGate(8, 8)
    mine, theirs = (map_ / given for map_, given in zip(gate(own[0], other[0]), (own[0], other[0]), strict=True))
    torch.testing.assert_close(mine + theirs, torch.ones_like(mine), atol=1e-5, rtol=0)
    torch.testing.assert_close(mine, mine[:, :, :1, :1].expand_as(mine), atol=1e-5, rtol=0)
    shifted = gate(own[0].roll(1, 2) + 1, other[0] - 1)[1] / (other[0] - 1)
    torch.testing.assert_close(shifted, theirs, atol=1e-5, rtol=0)


def published_attention(part: UniversalPart, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """One sample and one row at a time, in the paper's code's words: each row's largest energy minus its energies."""
    fused = part.fuse((own + other) / 2).relu().flatten(2)
    answers = []
    for given in (own, other):
        mixed = torch.zeros_like(given).flatten(2)
        for sample in range(len(own)):
            for row in range(own.shape[1]):
                total = 0.0
                for queries in (own, other):
                    energies = fused[sample] @ queries[sample, row].flatten()
                    total = total + (energies.max() - energies).softmax(0) / 2
                mixed[sample, row] = total @ given[sample].flatten(1)
        answers.append(mixed.view_as(given))
    return part.narrow_own(answers[0]).relu(), part.narrow_other(answers[1]).relu()


def test_the_universal_part_row_by_row() -> None:
    own, other = (maps[-1].double() for maps in pair())
    part = neck().double().universal
    for found, expected in zip(part(own, other), published_attention(part, own, other), strict=True):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


def test_attention_is_single_precision_under_autocast() -> None:
    """Energies of hundreds, which bf16 would tell apart to the next whole number at best."""
    torch.manual_seed(0)
    part, seen = UniversalPart(16, 8), []
    part.narrow_own.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    own, other = (10 * torch.rand(1, 16, 8, 8) for _ in "st")
    # The fusing convolution is not what is looked at: it gives the same in either precision.
    part.fuse = torch.nn.Identity()
    part(own.bfloat16().float(), other.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        part(own.bfloat16().float(), other.bfloat16().float())
    assert [map_.dtype for map_ in seen] == [torch.float32, torch.float32]
    assert torch.equal(*seen)


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_a_training_pass_in_bf16_is_finite(scale: float) -> None:
    made = neck()
    own, other = pair(scale)
    maps = [map_.requires_grad_() for map_ in (*own, *other)]
    with torch.autocast("cpu", torch.bfloat16):
        found = made([map_.bfloat16() for map_ in own], [map_.bfloat16() for map_ in other])
    torch.stack([map_.float().square().mean() for maps in found for map_ in maps]).sum().backward()
    assert all(map_.grad is not None and map_.grad.isfinite().all() and map_.grad.any() for map_ in maps)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in made.parameters())
