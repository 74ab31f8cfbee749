"""DeepLabV3+'s decoder at small sizes, and what a batch of one sample does to pooled branches; the arrays: tests/parity."""

from __future__ import annotations

import pytest
import torch

from georelay.errors import UserError
from georelay.models.decoders.blocks import ConvUnit, Decoder
from georelay.models.decoders.deeplab import DeeplabDecoder
from georelay.models.decoders.uper import UperDecoder


def maps(samples: int, side: int = 2) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(samples, count, side * scale, side * scale) for count, scale in ((6, 8), (8, 2), (10, 1))]


def build(kind: type[Decoder]) -> Decoder:
    torch.manual_seed(1)
    return kind([6, 8, 10], [4, 16, 32], 8, 3, 0.0)


def test_small_maps_and_every_weight_but_what_falls_outside() -> None:
    """2 x 2 cells, as a tile of 64 pixels has them: of a dilated kernel the middle alone meets a cell."""
    decoder = build(DeeplabDecoder)
    assert decoder.stride == 4
    logits = decoder(maps(2))
    assert logits.shape == (2, 3, 16, 16)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())
    near, *dilated = (branch[0].conv.weight.grad for branch in [decoder.refine[0], *decoder.branches[1:]])
    assert near[:, :, 0, 0].any()
    for gradient in dilated:
        assert gradient[:, :, 1, 1].any()
        gradient[:, :, 1, 1] = 0
        assert not gradient.any()


def test_dilations_and_the_mean() -> None:
    decoder = build(DeeplabDecoder)
    assert [branch[0].conv.dilation for branch in decoder.branches[1:]] == [(12, 12), (24, 24), (36, 36)]
    assert decoder.fine.conv.out_channels == 48
    seen: list[torch.Tensor] = []
    decoder.pooled.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    given = maps(2)
    decoder(given)
    torch.testing.assert_close(seen[0], given[-1].mean(dim=(2, 3), keepdim=True))


def test_the_published_size() -> None:
    """18.36 million weights on a ResNet-50 and its neck, six classes."""
    with torch.device("meta"):
        decoder = DeeplabDecoder([256, 512, 1024, 2304], [4, 8, 8, 8], 512, 6, 0.1)
    assert sum(parameter.numel() for parameter in decoder.parameters()) / 1e6 == pytest.approx(18.36, abs=0.005)


def test_depthwise_units_mix_no_channels() -> None:
    unit = ConvUnit(3, 3, 3, dilation=2, groups=3).eval()
    map_ = torch.zeros(1, 3, 7, 7)
    map_[0, 1, 3, 3] = 1.0
    changed = unit.conv(map_)[0].detach().numpy() != 0
    assert changed.sum(axis=(1, 2)).tolist() == [0, 9, 0]
    assert changed[1, 1::2, 1::2].sum() == 9


@pytest.mark.parametrize("kind", [DeeplabDecoder, UperDecoder])
def test_one_sample_is_refused_in_training_only(kind: type[Decoder]) -> None:
    decoder = build(kind)
    with pytest.raises(UserError, match=r"train\.batch: .*one sample .*\n  give every device two samples"):
        decoder(maps(1))
    assert decoder.eval()(maps(1)).shape == (1, 3, 16, 16)
    assert decoder.train()(maps(2)).shape == (2, 3, 16, 16)
