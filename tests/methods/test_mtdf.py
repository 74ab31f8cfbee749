"""RS-MTDF: which map is translated, what it is compared with, how words come back, and what stays at test time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.batches.streams import open_stream
from georelay.methods.base import Batches
from georelay.methods.mtdf import MtdfMethod
from georelay.models.fusion import Attended, TeacherFusion, affinity_error, discrepancy, translation_error
from georelay.train.run import build_method
from invented import CARD, InventedFeatures, InventedStore, make_plan, write_teacher

torch.set_num_threads(1)
TWO = {"seer": CARD, "other": CARD | {"taps": [{"tap": 2, "channels": 48, "stride": 8}]}}


def build(root: Path | None = None, **changes: Any) -> MtdfMethod:
    if root:
        changes |= {"teacher_view": "online", "teachers": {"seer": write_teacher(root, "seer")}, "features": {}}
    method = build_method(make_plan("mtdf", **changes), 0, root or Path())
    assert isinstance(method, MtdfMethod)
    return method.train()


def batches(method: MtdfMethod, step: int = 0) -> Batches:
    store, plan = InventedStore(), method.plan
    features = {name: InventedFeatures(store, plan["teachers"][name]) for name in plan["features"]}
    streams = {name: (store, plan, name, 0, features, method.views.get(name, 0)) for name in method.streams}
    return {name: open_stream(*facts).batch(step, 0, 1) for name, facts in streams.items()}


def two_teachers(**options: Any) -> MtdfMethod:
    return build(teachers=TWO, features={name: {"path": "x", "sha256": "0" * 64} for name in TWO}, options=options)


@pytest.mark.parametrize(("place", "channels", "cells"), [("encoder", 48, 4), ("decoder", 8, 8)])
def test_the_deepest_map_or_what_the_classifier_reads_is_translated(place: str, channels: int, cells: int) -> None:
    method = two_teachers(place=place)
    _, sources, words = method.student.told(torch.randn(2, 4, 32, 32))
    assert {tuple(map_.shape[1:]) for map_ in sources.values()} == {(channels, cells, cells)}
    assert {name: map_.shape[1] for name, map_ in words.items()} == {"seer": 48, "other": 48}


def test_stored_maps_are_mixed_as_the_views_are() -> None:
    method = two_teachers()
    given = batches(method)
    unlabelled, mix = given["unlabelled"], given["unlabelled"].mixes[0]
    taught = method._taught(given["labelled"], unlabelled, method.mixed_views(unlabelled))
    maps = unlabelled.features["seer"][-1].float()
    expected = maps.clone()
    for place, box in enumerate(mix.boxes.tolist()):
        assert all(border % 8 == 0 for border in box), "boxes keep to the cells of the coarsest map"
        top, bottom, left, right = (border // 8 for border in box)
        expected[place, :, top:bottom, left:right] = maps[len(maps) - 1 - place, :, top:bottom, left:right]
    torch.testing.assert_close(taught["seer"][8:], expected)
    torch.testing.assert_close(taught["seer"][:8], given["labelled"].features["seer"][-1].float())


def test_in_each_step_the_teachers_see_the_mixed_strong_view(tmp_path: Path) -> None:
    method = build(tmp_path)
    given = batches(method)
    unlabelled, mix = given["unlabelled"], given["unlabelled"].mixes[0]
    gaps = unlabelled.valid.clone()
    gaps[::2] = False
    unlabelled = replace(unlabelled, valid=gaps)
    view = method.mixed_views(unlabelled)
    clean, unmixed, mixed = (
        method.teacher_view.maps(replace(unlabelled, image=image, valid=valid))["seer"][-1]
        for image, valid in ((unlabelled.image, gaps), (view[0], gaps), (view[0], mix.apply(gaps, nearest=True)))
    )
    taught = method._taught(given["labelled"], unlabelled, view)["seer"][8:]
    assert torch.equal(taught, mixed)
    assert not torch.equal(mixed, clean) and not torch.equal(mixed, unmixed)


def test_the_parts_add_up_with_their_weights() -> None:
    method = two_teachers(supervised_weight=0.2, consistency_weight=0.3, distill_weight=0.4, threshold=0.0)
    losses = method.loss(batches(method), 0)
    parts = losses.parts
    torch.testing.assert_close(losses.total, 0.2 * parts["cross_entropy"] + 0.3 * parts["consistency"] + parts["distillation"])
    assert parts["distillation"] > 0


def test_without_distillation_and_fusion_it_is_fixmatch() -> None:
    ours, plain = two_teachers(distill_weight=0.0, fusion="none"), build_method(make_plan("fixmatch"), 0, Path()).train()
    state = {key: value for key, value in ours.state_dict().items() if ".fusion." not in key}
    plain.load_state_dict(state)
    given = batches(ours)
    assert torch.equal(ours.loss(given, 0).total, plain.loss(given, 0).total)


@pytest.mark.parametrize("fusion", ["sum", "attention", "none"])
@pytest.mark.parametrize("error", ["mse", "affinity", "mmd"])
def test_every_variant_gives_gradients_where_it_should(fusion: str, error: str) -> None:
    method = two_teachers(fusion=fusion, error=error)
    method.loss(batches(method), 0).total.backward()
    touched = {name for name, parameter in method.student.named_parameters() if parameter.grad is not None}
    assert any(name.startswith("backbone") for name in touched)
    assert any(name.startswith("fusion.back") for name in touched) == (fusion != "none")
    assert any(name.startswith("fusion.translators") for name in touched) == (fusion != "none" or error != "affinity")


def test_a_teacher_of_another_size_gets_a_pass_of_its_own() -> None:
    sized = {"seer": CARD | {"settings": CARD["settings"] | {"size": 16}}}
    image = torch.randn(2, 4, 32, 32)
    shared, resized = (build(teachers=sized, options={"student_view": view}).eval() for view in ("shared", "resized"))
    resized.load_state_dict(shared.state_dict())
    plain, small = (method.student.told(image)[1]["seer"] for method in (shared, resized))
    assert plain.shape[-1] == 4 and small.shape[-1] == 2
    expected = resized.student.backbone(F.interpolate(image, size=[16, 16], mode="bilinear", align_corners=True))[-1]
    torch.testing.assert_close(small, expected)


@pytest.mark.parametrize(
    ("fusion", "attended"), [("sum", set()), ("attention", {"seer", "other"}), ("attention-to-resized", {"other"})]
)
def test_which_words_are_attended_to(fusion: str, attended: set[str]) -> None:
    sized = {"seer": CARD, "other": CARD | {"settings": CARD["settings"] | {"size": 16}}}
    back = build(teachers=sized, options={"fusion": fusion}).student.fusion.back
    assert {name for name, way in back.items() if isinstance(way, Attended)} == attended


def test_the_head_learns_faster_than_the_backbone() -> None:
    method = two_teachers(head_rate=40.0)
    slow, fast = method.parameter_groups()["main"]
    assert (slow.lr_scale, fast.lr_scale) == (1.0, 40.0)
    assert {id(p) for p in slow.parameters} == {id(p) for p in method.student.backbone.parameters()}
    assert any(p is next(method.student.fusion.parameters()) for p in fast.parameters)


def test_words_are_compared_on_the_teacher_s_grid() -> None:
    words = {"a": torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)}
    ramp = torch.linspace(0, 3, 7).view(1, 1, 1, 7).expand(1, 1, 7, 7)
    assert translation_error(words, {"a": ramp}) == pytest.approx(0, abs=1e-10)
    assert translation_error(words, {"a": ramp + 2}) == pytest.approx(4, rel=1e-6)


def test_affinities_are_cosines_of_cells() -> None:
    torch.manual_seed(0)
    own, other = torch.randn(2, 5, 3, 3), torch.randn(2, 7, 3, 3)

    def cosines(map_: Tensor) -> np.ndarray:
        cells = map_.flatten(2).transpose(1, 2).double().numpy()
        cells = cells / np.linalg.norm(cells, axis=2, keepdims=True)
        return np.stack([one @ one.T for one in cells])

    logit, target = cosines(own), cosines(other)
    expected = np.mean(np.log1p(np.exp(logit)) - target * logit)
    assert affinity_error({"a": own}, {"a": other}).item() == pytest.approx(expected, rel=1e-5)


def test_the_discrepancy_of_equal_maps_is_zero_and_of_distant_ones_known() -> None:
    torch.manual_seed(0)
    maps = 0.1 * torch.randn(4, 2, 2, 2)
    assert discrepancy({"a": maps}, {"a": maps}).item() == pytest.approx(0, abs=1e-6)
    far = {"a": maps + 100}
    kernel = np.exp(-0.5 * np.square(maps.flatten(1)[:, None] - maps.flatten(1)[None]).sum(2).numpy()).mean()
    assert discrepancy({"a": maps}, far).item() == pytest.approx(2 * kernel, rel=1e-5)


def test_shares_are_settings() -> None:
    fusion = TeacherFusion(4, {"a": 3}, 5, own=0.5, share=2.0)
    way: Any = fusion.back["a"]
    nn.init.zeros_(way.weight)
    nn.init.ones_(way.bias)
    own = torch.randn(1, 4, 2, 2)
    torch.testing.assert_close(fusion(own, {"a": torch.randn(1, 3, 2, 2)}), 0.5 * own + 2.0)
