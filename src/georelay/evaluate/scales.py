"""A scene seen at several sizes, as mmsegmentation tests: windows of the resized scene, the mean of what each size says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.evaluate.stitch import Corner, blend
from georelay.models.decoders.blocks import resized

Logits = Callable[[Tensor], Tensor]  # windows (B, bands, h, w) -> logits of every pixel


def mean_over_scales(image: Tensor, settings: Mapping[str, Any], classes: int, logits: Logits) -> Tensor:
    """Class probabilities (1, classes, H, W) of a normalised scene (1, bands, H, W), the mean over `settings.scales`.

    At each scale the logits of windows are blended, and brought to the scene's own size before the softmax.
    """
    own = (image.shape[-2], image.shape[-1])
    scales = settings["scales"]
    answers = (resized(_at(image, scale, settings, classes, logits), own).softmax(dim=1) for scale in scales)
    return reduce(torch.add, answers) / len(scales)


def _at(image: Tensor, scale: float, settings: Mapping[str, Any], classes: int, logits: Logits) -> Tensor:
    """Logits of the scene at a scale, (1, classes, about scale * H, about scale * W)."""
    height, width = (int(side * scale + 0.5) for side in image.shape[-2:])
    scene, window = resized(image, (height, width)), settings["window"]

    def answer(corners: Sequence[Corner]) -> np.ndarray:
        windows = torch.cat([scene[..., row : row + window, col : col + window] for row, col in corners])
        found = logits(windows)  # smaller than a window where the scene is; `blend` drops what lies outside
        return np.asarray(F.pad(found, (0, window - found.shape[-1], 0, window - found.shape[-2])).cpu().numpy())

    facts = (height, width, window, settings["overlap"], settings["batch"], classes, answer)
    bands = [band for _, band in blend(*facts, uniform=settings["blend"] == "uniform")]
    return torch.from_numpy(np.concatenate(bands, axis=1))[None]
