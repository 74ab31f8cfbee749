"""A small Mix Transformer with weights recorded from mmsegmentation's, and the sizes of the networks ST-DASegNet takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recorded import Recording

from georelay.models.backbones import Backbone
from georelay.models.mit import MixTransformer
from georelay.models.mit_names import converted

STAGES = 4


def recorded_network(recording: Recording) -> MixTransformer:
    widths = [recording[f"y{place + 1}"].shape[1] for place in range(STAGES)]
    network = MixTransformer(widths, recording.plain("depths"), drop_path_rate=0.1)
    state = converted(Path("recorded"), recording.named("w."))
    assert state is not None
    network.load_state_dict(state)
    return network.eval()


def test_all_four_maps_match() -> None:
    recording = Recording("stda_12_mit_tiny")
    network, map_ = recorded_network(recording), recording["image"]
    for place, stage in enumerate(network.stages):
        map_, expected = stage(map_), recording[f"y{place + 1}"]
        torch.testing.assert_close(map_, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "stages", "arguments", "parameters", "channels", "strides"),
    [
        ("mit_b5", [0, 1, 2, 3], {"drop_path_rate": 0.1}, 81_443_008, [64, 128, 320, 512], [4, 8, 16, 32]),
        ("resnet50c", [1, 2, 3, 4], {"output_stride": 8}, 23_527_264, [256, 512, 1024, 2048], [4, 8, 8, 8]),
    ],
)
def test_networks_are_those_of_the_paper(
    name: str, stages: list[int], arguments: dict[str, float], parameters: int, channels: list[int], strides: list[int]
) -> None:
    with torch.device("meta"):
        backbone = Backbone(name, stages, 3, arguments)
        maps = backbone(torch.empty(1, 3, 384, 384))
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters
    assert (backbone.channels, backbone.strides) == (channels, strides)
    assert [tuple(map_.shape[1:]) for map_ in maps] == [(c, 384 // s, 384 // s) for c, s in zip(channels, strides, strict=True)]


def test_the_dilated_resnet_is_mmsegmentation_s() -> None:
    """Strides in the 3 x 3 convolutions, the first block of a dilated stage at half its dilation, a deep stem."""
    with torch.device("meta"):
        network = Backbone("resnet50c", [1, 2, 3, 4], 3, {"output_stride": 8}).net
    stem = [layer for layer in network.conv1 if isinstance(layer, torch.nn.Conv2d)]
    assert [(layer.out_channels, layer.stride[0]) for layer in stem] == [(32, 2), (32, 1), (64, 1)]
    for stage, dilations in (("layer1", (1, 1)), ("layer2", (1, 1)), ("layer3", (1, 2)), ("layer4", (2, 4))):
        blocks = list(getattr(network, stage))
        assert tuple(block.conv2.dilation[0] for block in blocks[:2]) == dilations
        assert blocks[0].conv2.stride[0] == (2 if stage == "layer2" else 1) and blocks[0].conv1.stride == (1, 1)
        assert [type(layer).__name__ for layer in blocks[0].downsample] == ["Conv2d", "BatchNorm2d"], "no average pooling"
