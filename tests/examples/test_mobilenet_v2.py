"""The converted MobileNetV2 answers as the layers of its file say, and starts a student."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from georelay.models.backbones import create_network
from georelay.models.student import build_student
from georelay.models.weights import load_start

CONVERT = runpy.run_path(str(Path(__file__).parents[2] / "examples/mobilenet_v2/convert.py"))
STRIDES = [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1]  # of blocks 1 to 17
WIDTHS = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]
Layers = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def layers() -> Layers:
    """Random ones under the names of the file, scaled so that answers stay in the range of ReLU6."""
    rng, found = np.random.default_rng(0), Layers()

    def add(name: str, out: int, inner: int, side: int = 1) -> None:
        found[f"{name}.weight"] = rng.normal(0, (inner * side * side) ** -0.5, (out, inner, side, side)).astype(np.float32)
        found[f"{name}.bias"] = rng.normal(0.5, 0.5, out).astype(np.float32)

    add("features.0", 32, 3, 3)
    before = 32
    for block, width in enumerate(WIDTHS, 1):
        inner = before if block == 1 else 6 * before
        if block > 1:
            add(f"features.{block}.expand", inner, before)
        add(f"features.{block}.dw", inner, 1, 3)
        add(f"features.{block}.project", width, inner)
        before = width
    add("features.18", 1280, 320)
    add("classifier", 1001, 1280)
    return found


def plain(layers: Layers, image: Tensor) -> Tensor:
    """The network straight from its description, without the background's logit."""

    def passed(map_: Tensor, name: str, stride: int = 1, groups: int = 1, act: bool = True) -> Tensor:
        weight, bias = (torch.from_numpy(layers[f"{name}.{part}"]) for part in ("weight", "bias"))
        if weight.shape[-1] == 3:
            map_ = F.pad(map_, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        map_ = F.conv2d(map_, weight, bias, stride, groups=groups)
        return F.relu6(map_) if act else map_

    found = passed(image, "features.0", 2)
    for block, stride in enumerate(STRIDES, 1):
        inner = passed(found, f"features.{block}.expand") if block > 1 else found
        inner = passed(inner, f"features.{block}.dw", stride, inner.shape[1])
        inner = passed(inner, f"features.{block}.project", act=False)
        found = found + inner if stride == 1 and found.shape == inner.shape else inner
    pooled = passed(found, "features.18").mean((2, 3), keepdim=True)
    return passed(pooled, "classifier", act=False).flatten(1)[:, 1:]


def test_it_answers_as_its_file_says(layers: Layers) -> None:
    network = create_network("mobilenetv2_100", {"pad_type": "same"})
    network.load_state_dict(CONVERT["converted"](layers))
    image = torch.rand(2, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(image), plain(layers, image), atol=1e-4, rtol=1e-4)


def test_a_student_starts_from_it(layers: Layers, tmp_path: Path) -> None:
    save_file(CONVERT["converted"](layers), tmp_path / "weights.safetensors")
    model = {"backbone": "mobilenetv2_100", "arguments": {"pad_type": "same"}, "stages": [1, 2, 3, 4], "neck": []}
    model |= {"decoder": "fpn", "width": 8, "dropout": 0.0, "normed": [], "positions": "timm"}
    student = build_student(model, 3, 2)
    load_start(tmp_path / "weights.safetensors", student)
    assert np.array_equal(student.backbone.net.conv_stem.weight.detach(), layers["features.0.weight"])
    assert np.array_equal(student.backbone.net.bn1.bias.detach(), layers["features.0.bias"])


def test_measured_norms_answer_the_same_and_know_what_they_meet(layers: Layers) -> None:
    """A student normalises by its batches: on the measured picture itself training mode must change nothing."""
    image = torch.rand(4, 3, 64, 96) * 2 - 1
    network = create_network("mobilenetv2_100", {"pad_type": "same"})
    network.load_state_dict(CONVERT["converted"](layers, [image[:2], image[2:]]))
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(image), plain(layers, image), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(network.train()(image), plain(layers, image), atol=1e-2, rtol=1e-2)
        network.load_state_dict(CONVERT["converted"](layers))
        assert (network.train()(image) - plain(layers, image)).abs().max() > 0.1


def test_a_file_of_another_network_is_refused(layers: Layers) -> None:
    with pytest.raises(SystemExit, match=r"convolution of \(16, 3, 3, 3\) where mobilenetv2_100 has one of \(32, 3, 3, 3\)"):
        CONVERT["converted"]({**layers, "features.0.weight": layers["features.0.weight"][:16]})
