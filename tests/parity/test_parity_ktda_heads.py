"""The neck, the heads and the cross-entropy that KTDA takes from mmsegmentation 1.2.2, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest
from recorded import Recording, assert_recorded

from georelay.models.alignment import MultiLevelNeck
from georelay.models.decoders.fcn import FcnHead
from georelay.models.decoders.uper import POOLS, UperDecoder
from georelay.models.losses import cross_entropy

# Their module names to ours.
UNIT = {".bn.": ".norm.", "conv_seg.": "classify."}
UPER = UNIT | {f"psp_modules.{place}.1.": f"psp_modules.{place}." for place in range(len(POOLS))}
FCN = UNIT | {"convs.0.": "convs."}


@pytest.mark.parametrize("case", ["neck_case1", "neck_case3_single"])
def test_neck(case: str) -> None:
    recording = Recording(case)
    assert_recorded(recording, recording.load(MultiLevelNeck(recording.widths(), recording.plain("scales"))))


def test_uper() -> None:
    recording = Recording("uper_case1")
    assert tuple(recording.plain("pool_scales")) == POOLS
    width, classes = recording.plain("channels"), recording.plain("num_classes")
    assert_recorded(recording, recording.load(UperDecoder(recording.widths(), [4, 8, 16, 32], width, classes, dropout=0.1), UPER))


def test_auxiliary_head_reads_one_level() -> None:
    recording = Recording("fcn_aux_case1")
    level, width, classes = (recording.plain(key) for key in ("in_index", "channels", "num_classes"))
    head = recording.load(FcnHead(recording.widths()[level], width, classes, dropout=0.1), FCN)
    assert_recorded(recording, head, lambda maps: head(maps[level]))


def test_cross_entropy_divided_by_all_pixels() -> None:
    """To 1e-9: their divisor has a single-precision epsilon in it."""
    recording = Recording("ce_case1")
    logits, ignore = recording["logits"].requires_grad_(), recording.plain("ignore_index")
    options = {"stride": None, "ignore": ignore, "at": "label"}
    loss = cross_entropy(logits, recording["label"], over_all=True, **options)
    np.testing.assert_allclose(loss.item(), recording.plain("scalar_loss"), atol=1e-9, rtol=0)
    loss.backward()
    np.testing.assert_allclose(logits.grad.numpy(), recording.arrays["grad_logits"], atol=1e-9, rtol=0)
    assert cross_entropy(logits, recording["label"], **options) > loss * 1.01
