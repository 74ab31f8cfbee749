"""ResNets with a deep stem: weights under the names of open-mmlab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from georelay.errors import UserError
from georelay.models.backbones import create_network
from georelay.models.resnet_names import converted
from georelay.models.student import Student, build_student
from georelay.models.weights import load_start
from invented import MODEL

NARROW: dict[str, Any] = {"arguments": {"channels": [8, 8, 8, 8], "layers": [1, 1, 1, 1]}}
NETWORK = MODEL | {"backbone": "resnet50c", "stages": [1, 2, 3, 4]} | NARROW
# The stem by hand: where each layer of the other's one sequence stands in timm.
STEM = {
    "stem.0.": "conv1.0.",
    "stem.1.": "conv1.1.",
    "stem.3.": "conv1.3.",
    "stem.4.": "conv1.4.",
    "stem.6.": "conv1.6.",
    "stem.7.": "bn1.",
}


def state() -> dict[str, Tensor]:
    """All weights of a small random network with its classifier; norms are random, too."""
    values = create_network("resnet50c", NETWORK["arguments"]).state_dict()
    return {name: torch.rand_like(tensor.float()).to(tensor.dtype) for name, tensor in values.items()}


def open_mmlab(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    back = {ours_: theirs for theirs, ours_ in STEM.items()}
    return {next((theirs + n.removeprefix(o) for o, theirs in back.items() if n.startswith(o)), n): t for n, t in ours.items()}


def student() -> Student:
    return build_student(NETWORK, 3, 2)


def started(tmp_path: Path, theirs: dict[str, Tensor]) -> Student:
    result = student()
    torch.save({"meta": {}, "state_dict": theirs}, tmp_path / "w.pth")
    load_start(tmp_path / "w.pth", result)
    return result


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_student_starts_from_open_mmlab_s_names(prefix: str, tmp_path: Path) -> None:
    ours = state()
    theirs = {prefix + name: tensor for name, tensor in open_mmlab(ours).items()}
    assert f"{prefix}stem.7.running_var" in theirs and f"{prefix}stem.6.weight" in theirs and f"{prefix}fc.weight" in theirs
    found = started(tmp_path, theirs | {"decode_head.conv_seg.weight": torch.zeros(1)}).backbone.net.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in found.items())


def test_files_from_before_batches_were_counted_will_do(tmp_path: Path) -> None:
    ours = state()
    theirs = {name: tensor for name, tensor in open_mmlab(ours).items() if not name.endswith("num_batches_tracked")}
    found = started(tmp_path, theirs).backbone.net.state_dict()
    counters = [tensor for name, tensor in found.items() if name.endswith("num_batches_tracked")]
    assert counters and not torch.stack(counters).any() and torch.equal(found["bn1.running_var"], ours["bn1.running_var"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem.9.weight": torch.zeros(1)}, r"stem\.9\.weight \(1 in all\) are no names of a ResNet"),
        ({"norm9.weight": torch.zeros(1)}, r"norm9\.weight \(1 in all\) are no names of a ResNet"),
        ({"stem.7.bias": None}, r"missing bn1\.bias$"),
        ({"layer3.0.conv2.weight": None}, r"missing layer3\.0\.conv2\.weight$"),
        ({"stem.3.weight": torch.zeros(3)}, r"of another shape conv1\.3\.weight$"),
    ],
)
def test_names_and_shapes_are_all_accounted_for(tmp_path: Path, change: dict[str, Tensor | None], message: str) -> None:
    theirs = {name: tensor for name, tensor in (open_mmlab(state()) | change).items() if tensor is not None}
    with pytest.raises(UserError, match=message):
        started(tmp_path, theirs)


def test_timm_s_own_names_are_left_as_they_are(tmp_path: Path) -> None:
    ours = state()
    assert converted(tmp_path, ours) is None
    save_file(ours, tmp_path / "w.safetensors")
    load_start(tmp_path / "w.safetensors", found := student())
    assert torch.equal(found.backbone.net.conv1[3].weight, ours["conv1.3.weight"])
