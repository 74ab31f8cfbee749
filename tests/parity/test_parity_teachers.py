"""Frozen networks against maps from the public implementations of two papers (mmpretrain, DINOv2, CLIP), tiny weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from georelay.models.positions import resampled
from georelay.models.taps import TapNetwork
from georelay.teachers.intake import fitted

DATA = Path(__file__).parent / "data"
ATOL = 1e-5  # float32

# Names in mmpretrain's and OpenAI's files, in the order in which they are replaced, to timm's.
MMPRETRAIN = {
    "layers.0.0.": "fc1.",
    "ffn.layers.1.": "mlp.fc2.",
    "ffn.fc1.": "mlp.fc1.",
    "layers.": "blocks.",
    ".attn.gamma1.weight": ".ls1.gamma",
    ".ffn.gamma2.weight": ".ls2.gamma",
    ".ln1.": ".norm1.",
    ".ln2.": ".norm2.",
    "ln1.": "norm.",
    "projection": "proj",
}
OPENAI = {
    "class_embedding": "cls_token",
    "positional_embedding": "pos_embed",
    "transformer.resblocks": "blocks",
    "attn.in_proj_": "attn.qkv.",
    "attn.out_proj": "attn.proj",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "c_fc": "fc1",
    "c_proj": "fc2",
    "ln_pre": "norm_pre",
    "ln_post": "norm",
    "conv1": "patch_embed.proj",
}
CONVNEXT = {
    "downsample_layers.0.": "stem.",
    "depthwise_conv": "conv_dw",
    "pointwise_conv": "mlp.fc",
    "norm3": "head.norm",
}


def arrays(name: str, prefix: str, names: dict[str, str]) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """All arrays of a file, and those of weights under timm's names."""
    found = dict(np.load(DATA / f"{name}.npz"))
    weights = {key.removeprefix(prefix): torch.from_numpy(array) for key, array in found.items() if key.startswith(prefix)}
    return found, {renamed(key, names): tensor for key, tensor in weights.items()}


def renamed(key: str, names: dict[str, str]) -> str:
    for theirs, ours in names.items():
        key = key.replace(theirs, ours)
    return key


def loaded(network: TapNetwork, weights: dict[str, Tensor]) -> TapNetwork:
    network.net.load_state_dict(weights, strict=True)
    return network.eval()


def dinov2(cells: int, width: int, mlp_ratio: float, **options: Any) -> TapNetwork:
    arguments = {"img_size": 14 * cells, "embed_dim": width, "depth": 4, "num_heads": 2, "mlp_ratio": mlp_ratio}
    return TapNetwork("vit_small_patch14_dinov2", [0, 1, 2, 3], arguments=arguments, **options)


@torch.no_grad()
@pytest.mark.parametrize("case", ["a_64", "b_120"])
def test_the_teacher_of_ktda(case: str) -> None:
    """Padded input, the norm on the last tap only, a 7x7 table brought to 5x5 and from there to the input's grid."""
    found, weights = arrays("teacher_vit_case1", "ckpt.", MMPRETRAIN)
    network = loaded(dinov2(7, 12, 2.0, normed=[3], positions="exact", position_grid=5), weights)
    image, tile = fitted(torch.from_numpy(found[f"img_{case}"]), None, "pad", False, network.multiple)
    assert tile == found[f"img_{case}"].shape[-2:]
    for tap, map_ in enumerate(network(image)):
        np.testing.assert_allclose(map_.numpy(), found[f"out_{case}_{tap}"], atol=ATOL, rtol=0)


def test_ktda_s_table_after_its_first_resampling() -> None:
    found, weights = arrays("teacher_vit_case1", "ckpt.", MMPRETRAIN)
    table = resampled(weights["pos_embed"], 1, (5, 5), "exact")
    np.testing.assert_allclose(table.numpy(), found["pos_embed_after_load_5x5"], atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("case", "cells"), [("native", (5, 5)), ("other", (3, 4))])
def test_dinov2_by_its_own_rule(case: str, cells: tuple[int, int]) -> None:
    """The norm on every tap; the table by scale factors with DINOv2's offset where the grid is not the native one."""
    found, weights = arrays("dinov2_tiny", "w.", {})
    del weights["mask_token"]
    network = loaded(dinov2(5, 16, 4.0, normed=[0, 1, 2, 3], positions="dinov2"), weights)
    for tap, map_ in enumerate(network(torch.from_numpy(found[f"x_{case}"]))):
        assert map_.shape[-2:] == cells
        np.testing.assert_allclose(map_.flatten(2).mT.numpy(), found[f"{case}{tap}"], atol=ATOL, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("name", "same"), [("quickgelu_", True), ("", False)])
def test_clip_needs_its_quick_activation(name: str, same: bool) -> None:
    """The last block before the final norm; under the name with the exact GELU the very same weights answer otherwise."""
    found, weights = arrays("clip_vit_tiny", "w.", OPENAI)
    weights["head.weight"] = weights.pop("proj").T
    weights["pos_embed"], weights["cls_token"] = weights["pos_embed"][None], weights["cls_token"][None, None]
    arguments = {"img_size": 56, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 8}
    network = TapNetwork(f"vit_large_patch14_clip_{name}224", [2], [], arguments=arguments)
    weights["head.bias"] = torch.zeros(8)  # timm's has one
    (map_,) = loaded(network, weights)(torch.from_numpy(found["x"]))
    error = float(np.abs(map_.flatten(2).mT.numpy() - found["patch_tokens"]).max())
    assert error < ATOL if same else error > 1e-2


@torch.no_grad()
def test_the_convnext_of_ktda() -> None:
    """Raw stages are what the paper's output norms act on; the last of them is timm's final norm."""
    found, weights = arrays("student_convnext_case1", "param.", {})
    state = {convnext(key): tensor for key, tensor in weights.items() if not key.startswith(("norm0", "norm1", "norm2"))}
    arguments = {"depths": (1, 1, 2, 1), "dims": (4, 8, 12, 16), "num_classes": 0}
    network = loaded(TapNetwork("convnext_base", [0, 1, 2, 3], [3], arguments=arguments).double(), state)
    maps = network(torch.from_numpy(found["img"]))
    assert network.strides == [4, 8, 16, 32]
    for stage in (0, 1, 2):
        norm = nn.LayerNorm(maps[stage].shape[1], eps=1e-6).double()
        norm.load_state_dict({key: weights[f"norm{stage}.{key}"] for key in ("weight", "bias")})
        maps[stage] = norm(maps[stage].movedim(1, -1)).movedim(-1, 1)
    for stage, map_ in enumerate(maps):
        np.testing.assert_allclose(map_.numpy(), found[f"out_{stage}"], atol=1e-9, rtol=0)


def convnext(key: str) -> str:
    """timm's name: the stem apart, the other downsamplers in their stages, the blocks one level deeper."""
    key = renamed(key, CONVNEXT)
    parts = key.split(".")
    if parts[0] == "downsample_layers":
        return ".".join(["stages", parts[1], "downsample", *parts[2:]])
    return ".".join([*parts[:2], "blocks", *parts[2:]]) if parts[0] == "stages" else key
