"""Windows and scales against mmsegmentation's test, written out straight in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from test_predict import maps, prepared
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.evaluate.predict import predict_run
from georelay.evaluate.scales import mean_over_scales
from georelay.evaluate.stitch import Corner, blend

CLASSES = 5
PUBLISHED = [0.75, 1.0, 1.25, 1.5]


def network() -> nn.Module:
    """Something whose answer depends on where a window ends and on how large it is."""
    torch.manual_seed(3)
    layers = (nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.AvgPool2d(4, ceil_mode=True), nn.Conv2d(8, CLASSES, 3, padding=1))
    return nn.Sequential(*layers).double().requires_grad_(False)


def answered(net: nn.Module, image: Tensor) -> Tensor:
    return 4 * F.interpolate(net(image), image.shape[-2:], mode="bilinear", align_corners=False)


def slide(net: nn.Module, image: Tensor, crop: int, stride: int) -> Tensor:
    """mmsegmentation's slide inference: logits of windows that are moved back into the image, divided by their count."""
    height, width = image.shape[-2:]
    total, count = torch.zeros(1, CLASSES, height, width).double(), torch.zeros(1, 1, height, width).double()
    rows, cols = (max(side - crop + stride - 1, 0) // stride + 1 for side in (height, width))
    for row in range(rows):
        for col in range(cols):
            bottom, right = min(row * stride + crop, height), min(col * stride + crop, width)
            top, left = max(bottom - crop, 0), max(right - crop, 0)
            total[..., top:bottom, left:right] += answered(net, image[..., top:bottom, left:right])
            count[..., top:bottom, left:right] += 1
    return total / count


@pytest.mark.parametrize(
    ("height", "width", "crop", "stride"),
    [(80, 96, 48, 32), (81, 97, 48, 32), (49, 131, 48, 31), (64, 48, 48, 48), (48, 48, 48, 16), (67, 113, 24, 7)],
)
def test_windows_are_mmsegmentation_s(height: int, width: int, crop: int, stride: int) -> None:
    """The first sizes are those of its recorded run."""
    net, image = network(), torch.rand(1, 3, height, width).double()

    def answer(corners: Sequence[Corner]) -> np.ndarray:
        windows = torch.cat([image[..., row : row + crop, col : col + crop] for row, col in corners])
        return np.asarray(answered(net, windows).numpy())

    bands = blend(height, width, crop, crop - stride, 3, CLASSES, answer, uniform=True)
    found = np.concatenate([band for _, band in bands], axis=1)
    np.testing.assert_allclose(found, slide(net, image, crop, stride)[0].numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scales", [PUBLISHED, [1.0], [0.5, 2.0]])
@pytest.mark.parametrize(
    ("height", "width", "crop", "stride"), [(80, 96, 48, 32), (61, 83, 48, 37), (33, 90, 48, 32), (31, 29, 64, 48)]
)
def test_scales_are_mmsegmentation_s(scales: list[float], height: int, width: int, crop: int, stride: int) -> None:
    """Resized image, windows (none larger than it), logits resized back, softmax, mean over scales."""
    net, image = network(), torch.rand(1, 3, height, width).double()
    straight = torch.zeros(1, CLASSES, height, width).double()
    for scale in scales:
        size = (int(height * scale + 0.5), int(width * scale + 0.5))
        logits = slide(net, F.interpolate(image, size, mode="bilinear", align_corners=False), crop, stride)
        straight += F.interpolate(logits, (height, width), mode="bilinear", align_corners=False).softmax(dim=1) / len(scales)
    settings = {"scales": scales, "window": crop, "overlap": crop - stride, "batch": 3, "blend": "uniform"}
    found = mean_over_scales(image, settings, CLASSES, lambda windows: answered(net, windows))
    np.testing.assert_allclose(found.numpy(), straight.numpy(), atol=1e-5, rtol=0)


def test_one_window_at_its_own_scale_is_the_plain_map(tmp_path: Path) -> None:
    images = []
    for name, scales in (("a", [1.0]), ("b", [1.0, 1.0])):
        change = {"window": 32, "overlap": 0, "blend": "uniform", "scales": scales}
        predict_run(prepared(tmp_path / name, predict=change), 0, tmp_path / name, maps(tmp_path / name))
        with rasterio.open(maps(tmp_path / name) / "test-000.tif") as raster:
            images.append(raster.read(1))
    seen = images[0][:32, :21]  # what one window alone says, since the others are moved back over their neighbours
    assert (images[1][:32, :21] == seen).mean() > 0.998
    assert ((images[0] == 255) == (images[1] == 255)).all() and (images[0] == 255).any()


def test_scales_reach_the_maps(tmp_path: Path) -> None:
    images = []
    for name, scales in (("a", [1.0]), ("b", PUBLISHED)):
        predict_run(prepared(tmp_path / name, predict={"scales": scales}), 0, tmp_path / name, maps(tmp_path / name))
        with rasterio.open(maps(tmp_path / name) / "test-000.tif") as raster:
            images.append(raster.read(1))
    assert images[0].shape == images[1].shape and 0 < (images[0] != images[1]).mean() < 0.5
    assert ((images[0] == 255) == (images[1] == 255)).all()
