"""Weights of ResNets with a stem of three convolutions (v1c) under the names of open-mmlab, brought to timm's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from georelay.errors import UserError

WRAPPER = "backbone."  # how files of whole segmenters name the backbone
BEHIND = r"^(backbone\.)?(fc|head|classifier|decode_head|auxiliary_head)\."
KNOWN = r"(stem\.[013467]|layer[1-4]\.\d+\.(conv[123]|bn[123]|downsample\.[01]))\.\w+"
MEAN, COUNTER = "running_mean", "num_batches_tracked"


def converted(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """All weights of a ResNet under timm's names; None where the file does not have open-mmlab's.

    Classifiers and decode heads are left; any other name that is not understood is refused. Files from before BatchNorm
    counted its batches get counters that have counted none.
    """
    theirs = {name.removeprefix(WRAPPER): tensor for name, tensor in tensors.items() if not re.match(BEHIND, name)}
    if "stem.0.weight" not in theirs:
        return None
    if strange := [name for name in theirs if not re.fullmatch(KNOWN, name)]:
        what = f"{', '.join(strange[:4])} ({len(strange)} in all) are no names of a ResNet"
        raise UserError(what, path, "leave them out of the file, if the network needs none of them")
    ours = {_ours(name): tensor for name, tensor in theirs.items()}
    counters = {name.replace(MEAN, COUNTER): torch.tensor(0) for name in ours if name.endswith(MEAN)}
    return counters | ours


def _ours(name: str) -> str:
    """The stem's last norm stands alone in timm; `stem` becomes `conv1` but for it."""
    return re.sub(r"^stem\.", "conv1.", re.sub(r"^stem\.7\.", "bn1.", name))
