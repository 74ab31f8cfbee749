"""The SegFormer head against arrays from the public implementation (mmsegmentation 1.2.2), forward and backward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from georelay.models.decoders.segformer import SegformerDecoder

DATA = Path(__file__).parent / "data" / "segformer_case1.npz"
# Their module names to ours.
NAMES = {"convs.": "levels.", "fusion_conv.": "fusion.", "conv_seg.": "classify.", ".bn.": ".norm."}


def renamed(name: str) -> str:
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def loaded(arrays: dict[str, np.ndarray]) -> SegformerDecoder:
    channels = [arrays[f"in_{level}"].shape[1] for level in range(4)]
    width, classes = arrays["param.convs.0.conv.weight"].shape[0], int(arrays["num_classes"])
    decoder = SegformerDecoder(channels, [4, 8, 16, 32], width, classes, dropout=0.1).double().eval()
    state = {
        renamed(name.split(".", 1)[1]): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(("param.", "buffer."))
    }
    left = decoder.load_state_dict(state, strict=True)
    assert not left.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in left.missing_keys)
    return decoder


def test_outputs_and_gradients_match() -> None:
    arrays = dict(np.load(DATA))
    maps = [torch.from_numpy(arrays[f"in_{level}"]).requires_grad_() for level in range(4)]
    logits = loaded(arrays)(maps)
    loss = (logits * torch.from_numpy(arrays["upstream_0"])).sum()
    loss.backward()
    np.testing.assert_allclose(logits.detach().numpy(), arrays["out_0"], atol=1e-9, rtol=0)
    np.testing.assert_allclose(loss.item(), arrays["scalar_loss"], atol=1e-9, rtol=0)
    for level, map_ in enumerate(maps):
        assert map_.grad is not None
        np.testing.assert_allclose(map_.grad.numpy(), arrays[f"grad_in_{level}"], atol=1e-9, rtol=0)
