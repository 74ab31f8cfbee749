"""KTDA's own modules against arrays from its public code: alignment, modulation, distillation, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from recorded import Recording, assert_gradients, assert_loss, assert_recorded, assert_same

from georelay.models.alignment import FeatureAlignment, fused
from georelay.models.distillation import distillation_loss, divergence, squared_error
from georelay.models.modulation import FeatureModulation

LOSSES = ["1_a05_T1", "3_a1_T1", "4_a05_T4", "5_a05_T1_fuse", "7_a1_T4_single", "8_a0_T4_fuse"]
OPTIONS = ("alpha", "temperature", "fuse")


def alignment(recording: Recording) -> FeatureAlignment:
    facts = (recording.plain(key) for key in ("in_channels", "out_channels", "output_size"))
    return recording.load(FeatureAlignment(*facts))


def modulation(recording: Recording, **changes: Any) -> FeatureModulation:
    settings = {
        "kind": recording.plain("model_type"),
        "depth": recording.plain("mlp_nums"),
        "rank_dim": recording.plain("rank_dim"),
        "heads": recording.plain("num_heads"),
        "mlp_ratio": recording.plain("mlp_ratio"),
        "eps": recording.plain("ln_eps"),
        "layer_scale": recording.plain("init_values"),
    }
    return recording.load(FeatureModulation(recording.plain("in_channels"), **(settings | changes)))


@pytest.mark.parametrize("case", ["fam_case1", "fam_case3"])
def test_alignment(case: str) -> None:
    """The second is the geometry of a 256 pixel image: sides 64 to 8, all to 19."""
    recording = Recording(case)
    assert_recorded(recording, alignment(recording))


@pytest.mark.parametrize("case", ["mlp_case1", "mlp_case3", "vit_case4", "vit_case5_eps1e-5", "vit_case7_layerscale"])
def test_modulation(case: str) -> None:
    """One level or two, one block or two; hidden widths that the reduction does not divide; both eps; layer scale."""
    recording = Recording(f"fmm_{case}")
    assert_recorded(recording, modulation(recording))


@pytest.mark.parametrize(
    ("case", "wrong"), [("mlp_case1", {"residual": True}), ("vit_case5_eps1e-5", {"eps": 1e-6})], ids=["residual", "eps"]
)
def test_recorded_modulation_tells_settings_apart(case: str, wrong: dict[str, Any]) -> None:
    recording = Recording(f"fmm_{case}")
    (other, *_) = modulation(recording, **wrong)(recording.levels("in"))
    assert (other - recording["out_0"]).abs().max() > 1e-5


@pytest.mark.parametrize("case", LOSSES)
def test_loss_and_gradients(case: str) -> None:
    recording = Recording(f"loss_case{case}")
    student = [map_.requires_grad_() for map_ in recording.levels("student")]
    options = {key: recording.plain(key) for key in OPTIONS}
    loss = distillation_loss(student, recording.levels("teacher"), mode="official", **options)
    assert_loss(loss, recording["scalar_loss"])
    loss.backward()
    assert_gradients(recording, student, "grad_student")


@pytest.mark.parametrize("case", LOSSES)
def test_both_terms_of_each_level(case: str) -> None:
    """The divergence with its squared temperature, the error without the halving of alpha 0."""
    recording = Recording(f"loss_case{case}")
    sides = [recording.levels(side) for side in ("student", "teacher")]
    pairs = list(zip(*((fused(maps) if recording.plain("fuse") else maps) for maps in sides), strict=True))
    temperature = recording.plain("temperature")
    assert_same(
        torch.stack([divergence(*pair, temperature, "width", "batch") for pair in pairs]), recording["kl_per_level_incl_T2"]
    )
    assert_same(torch.stack([squared_error(*pair) for pair in pairs]), recording["mse_per_level"])


def test_loss_reaches_the_backbone_through_the_alignment() -> None:
    recording = Recording("chain_fam_loss_case1")
    maps, targets = [map_.requires_grad_() for map_ in recording.levels("backbone")], recording.levels("teacher")
    network = FeatureAlignment(recording.widths("backbone"), targets[0].shape[1], recording.plain("output_size"))
    options = {key: recording.plain(key) for key in OPTIONS}
    loss = distillation_loss(recording.load(network)(maps), targets, mode="official", **options)
    assert_loss(loss, recording["scalar_loss"])
    loss.backward()
    assert_gradients(recording, maps, "grad_backbone", network)


def test_alignment_comes_before_modulation() -> None:
    recording = Recording("extract_case1")
    assert not recording.plain("fuse")
    widths = recording.widths("backbone")
    width = recording["out_0"].shape[1]
    fam = recording.load(FeatureAlignment(widths, width, recording.plain("output_size")), prefix="param.fam.")
    fmm = FeatureModulation([width] * len(widths), "mlp", rank_dim=recording.plain("rank_dim"))
    outputs = recording.load(fmm, prefix="param.fmm.")(fam(recording.levels("backbone")))
    for output, recorded in zip(outputs, recording.levels("out"), strict=True):
        assert_same(output, recorded)
