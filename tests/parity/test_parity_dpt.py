"""The DPT head against arrays from the public code of RS-MTDF, forward and backward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from recorded import dpt_state
from torch import Tensor

from georelay.models.decoders.dpt import DptDecoder

DATA = Path(__file__).parent / "data" / "mtdf_dpt_head.npz"


def test_logits_and_gradients_match() -> None:
    arrays = dict(np.load(DATA))
    decoder = DptDecoder([12] * 4, [14] * 4, 8, 5, 0.0, levels=[4, 6, 8, 10]).eval()
    decoder.load_state_dict(dpt_state(arrays, "w."))
    rows, columns = arrays["patch_hw"]
    tokens = [torch.from_numpy(arrays[f"feat{level}"]).requires_grad_() for level in range(4)]
    maps = [some.transpose(1, 2).reshape(2, 12, rows, columns) for some in tokens]
    logits: Tensor = torch.nn.Conv2d.forward(decoder.classify, decoder.embed(maps))  # before the last enlargement
    np.testing.assert_allclose(logits.detach().numpy(), arrays["out"], atol=1e-5, rtol=0)
    logits.square().sum().backward()
    for level, some in enumerate(tokens):
        assert some.grad is not None
        np.testing.assert_allclose(some.grad.numpy(), arrays[f"grad_feat{level}"], atol=1e-5, rtol=0)
    assert decoder(maps).shape == (2, 5, 14 * rows, 14 * columns)
