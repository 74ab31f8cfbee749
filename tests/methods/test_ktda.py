"""KTDA: who learns from what, on which grid, and what each setting does to the loss and to the optimiser."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from georelay.batches.streams import open_stream
from georelay.errors import UserError
from georelay.methods.base import Batches
from georelay.methods.ktda import KtdaMethod
from georelay.models.backbones import create_network
from georelay.models.distillation import distillation_loss
from georelay.models.losses import cross_entropy, focal_loss
from georelay.models.student import full_size
from georelay.models.weights import load_weights, save_weights
from georelay.train.run import build_method
from invented import CARD, OPTIONS, InventedFeatures, InventedStore, make_plan, write_teacher

torch.set_num_threads(1)  # on networks this small a second thread costs more than it brings
TAPS = [{"tap": 1, "channels": 8, "stride": 4}, {"tap": 2, "channels": 8, "stride": 4}]  # alike, so that they can be summed
ALIKE: dict[str, Any] = {"channels": 8, "stride": 4}


def build(root: Path | None = None, /, **changes: Any) -> KtdaMethod:
    """As a run would; `taps=` changes those of the teacher, whose maps are stored unless there is a `root` to put it in."""
    changes["options"] = {
        key: OPTIONS["ktda"][key] | value if isinstance(value, dict) else value
        for key, value in changes.get("options", {}).items()
    }
    if root:
        changes |= {"teacher_view": "online", "teachers": {"seer": write_teacher(root, "seer")}, "features": {}}
    if taps := changes.pop("taps", None):
        changes["teachers"] = {"seer": CARD | {"taps": taps}}
    if "teachers" in changes and not changes["teachers"]:
        changes["features"] = {}
    method = build_method(make_plan("ktda", **changes), 0, root or Path())
    assert isinstance(method, KtdaMethod)
    return method.train()


def batches(method: KtdaMethod, step: int = 0) -> Batches:
    plan, store = method.plan, InventedStore()
    features = {name: InventedFeatures(store, plan["teachers"][name]) for name in plan["features"]}
    return {name: open_stream(store, plan, name, 0, features).batch(step, 0, 1) for name in method.streams}


def gradients(method: KtdaMethod, loss: Tensor) -> dict[str, Tensor | None]:
    method.zero_grad()
    loss.backward()
    return {name: parameter.grad for name, parameter in method.named_parameters()}


def parts_with(found: dict[str, Tensor | None]) -> set[str]:
    """Parts of the method in which some gradient is not 0."""
    names = [name.removeprefix("student.") for name, gradient in found.items() if gradient is not None and gradient.any()]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("view", ["cached", "online"])
def test_what_learns_from_the_teacher_and_what_from_labels(view: str, tmp_path: Path) -> None:
    method = build(tmp_path if view == "online" else None, model={"neck": [2, 1]})
    losses = method.loss(batches(method), 0)
    everything = {"backbone", "norms", "fam", "neck", "fmm", "decoder", "heads"}
    taught = gradients(method, losses.parts["distillation"])
    assert parts_with(taught) == {"backbone", "norms", "fam"}
    assert parts_with(gradients(method, method.loss(batches(method), 0).parts["cross_entropy"])) == everything - {"heads"}
    assert parts_with(gradients(method, method.loss(batches(method), 0).parts["auxiliary"])) == everything - {"decoder"}
    assert all(parameter.grad is None for teacher in method.teachers() for parameter in teacher.parameters())


def test_nothing_of_the_teacher_is_saved(tmp_path: Path) -> None:
    taught, alone = build(tmp_path), build(teachers={})
    assert taught.teachers() and not alone.teachers()
    for one, other in ((taught, alone), (taught.student, alone.student)):
        assert {key: tensor.shape for key, tensor in one.state_dict().items()} == {
            key: tensor.shape for key, tensor in other.state_dict().items()
        }


def test_features_equal_to_the_teacher_s_cost_nothing() -> None:
    method = build().eval()
    given = batches(method)
    maps = method.student.align(given["labelled"].image)
    copied = {"labelled": replace(given["labelled"], features={"seer": tuple(map_.detach() for map_ in maps)})}
    assert method.loss(copied, 0).parts["distillation"] == 0
    assert method.loss(given, 0).parts["distillation"] > 0


@pytest.mark.parametrize("stride", [3, 5, 14, [4, 8], [8, 14]])
@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
def test_grids_are_rounded_up(stride: Any, size: tuple[int, int]) -> None:
    method = build(teachers={}, options={"stride": stride})
    expected = [tuple(ceil(side / own) for side in size) for own in method.student.strides]
    assert [tuple(map_.shape[-2:]) for map_ in method.student.align(torch.rand(1, 4, *size))] == expected


def test_a_tile_that_the_backbone_does_not_divide_is_padded_and_cut() -> None:
    """The same pixels as those of the tile with zeros on the right and at the bottom."""
    method = build(teachers={}).eval()
    image = torch.rand(1, 4, 27, 21)
    whole = method.predict(F.pad(image, (0, 3, 0, 5)))
    assert torch.equal(method.predict(image), whole[..., :27, :21])


def test_a_stride_that_does_not_divide_the_tile() -> None:
    taps = [{"tap": 1, "channels": 8, "stride": 5}, {"tap": 2, "channels": 48, "stride": 7}]
    method = build(taps=taps, options={"stride": [5, 7]})
    given = batches(method)
    assert [map_.shape[-1] for map_ in method.student.align(given["labelled"].image)] == [7, 5]
    losses = method.loss(given, 0)  # the stored maps have 6 and 4 cells, as a network that rounds down would give
    assert losses.total.isfinite() and losses.parts["distillation"] > 0
    assert method.predict(given["labelled"].image).shape[-2:] == (32, 32)


@pytest.mark.parametrize("view", ["cached", "online"])
def test_without_weight_it_is_the_row_without_a_teacher(view: str, tmp_path: Path) -> None:
    """Bit for bit, though unlabelled tiles are asked for."""
    root = tmp_path if view == "online" else None
    some = {"unlabelled": True, "second_forward": "official"}
    ignored, without = build(root, options=some | {"distill_weight": 0.0}), build(teachers={}, options=some)
    assert ignored.streams == without.streams == ("labelled",)
    losses = [method.loss(batches(method), 0) for method in (ignored, without)]
    assert losses[0].parts.keys() == losses[1].parts.keys() == {"cross_entropy", "auxiliary"}
    assert torch.equal(losses[0].total, losses[1].total)
    found = [gradients(method, loss.total) for method, loss in zip((ignored, without), losses, strict=True)]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0] | found[1])


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    options = {"distill_weight": 0.25, "supervised_weight": 3.0, "focal": {"weight": 0.5, "gamma": 1.5, "alpha": 0.3}}
    method = build(options=options | {"auxiliary": {"levels": [0, 1], "weight": 0.6}})
    method.eval()  # no statistics that change from pass to pass
    given = batches(method)
    losses, labelled = method.loss(given, 0), given["labelled"]
    parts = losses.parts
    torch.testing.assert_close(
        losses.total, 3 * (parts["cross_entropy"] + parts["auxiliary"] + parts["focal"]) + 0.25 * parts["distillation"]
    )
    maps = method.student.refine(method.student.align(labelled.image))
    logits = method.student.decoder(maps)
    plain = {"stride": None, "ignore": 255}
    each = [
        cross_entropy(head(map_), labelled.label, at="output", **plain) for head, map_ in zip(method.heads, maps, strict=True)
    ]
    torch.testing.assert_close(parts["cross_entropy"], cross_entropy(logits, labelled.label, at="output", **plain))
    torch.testing.assert_close(parts["auxiliary"], 0.6 * (each[0] + each[1]) / 2)
    torch.testing.assert_close(parts["focal"], 0.5 * focal_loss(logits, labelled.label, gamma=1.5, alpha=0.3, **plain))


@pytest.mark.parametrize("mode", ["channel", "spatial", "official"])
def test_the_distance_is_that_of_its_settings(mode: str) -> None:
    method = build(options={"kd_mode": mode, "kd": {"alpha": 0.3, "temperature": 2.0}}).eval()
    given = batches(method)
    maps, targets = method.student.align(given["labelled"].image), [map_.float() for map_ in given["labelled"].features["seer"]]
    expected = distillation_loss(maps, targets, mode=mode, alpha=0.3, temperature=2.0)
    torch.testing.assert_close(method.loss(given, 0).parts["distillation"], expected)


def test_a_coarser_grid_than_the_teacher_s_is_met_by_means_of_its_cells() -> None:
    """Two cells a side: what bilinear interpolation gives there."""
    method = build(options={"stride": [8, 8]}).eval()
    given = batches(method)
    fine, coarse = (map_.float() for map_ in given["labelled"].features["seer"])
    expected = distillation_loss(method.student.align(given["labelled"].image), [F.avg_pool2d(fine, 2), coarse])
    torch.testing.assert_close(method.loss(given, 0).parts["distillation"], expected)


def test_no_heads_without_weight() -> None:
    method = build(options={"auxiliary": {"weight": 0.0, "levels": [7]}})
    assert not method.heads
    assert method.loss(batches(method), 0).parts.keys() == {"cross_entropy", "distillation"}


def test_cross_entropy_may_be_divided_by_all_pixels() -> None:
    losses = []
    for divisor in ("counted", "all"):
        method = build(options={"divide_by": divisor}).eval()
        given = batches(method)
        given["labelled"].label[:, :16] = 255
        losses.append(method.loss(given, 0).parts["cross_entropy"])
    torch.testing.assert_close(losses[1], losses[0] / 2)


@pytest.mark.parametrize(("position", "tokens"), [("after_neck", [16 * 16, 4 * 4]), ("before_neck", [8 * 8, 4 * 4])])
def test_modulation_stands_behind_or_before_the_neck(position: str, tokens: list[int]) -> None:
    method = build(model={"neck": [2, 1]}, options={"modulation": {"position": position}})
    student, seen = method.student, []
    for blocks in student.fmm.adapters:
        blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    parts = (student.neck, student.fmm) if position == "after_neck" else (student.fmm, student.neck)
    aligned = student.align(batches(method)["labelled"].image)
    refined = student.refine(aligned)
    assert seen == tokens
    assert [map_.shape[-1] for map_ in refined] == [16, 4]
    assert all(torch.equal(*pair) for pair in zip(refined, parts[1](parts[0](aligned)), strict=True))


def test_without_neck_and_modulation_the_decoder_reads_what_is_aligned() -> None:
    student = build(options={"modulation": {"kind": "none"}}).student
    aligned = student.align(torch.rand(2, 4, 32, 32))
    assert all(one is other for one, other in zip(aligned, student.refine(aligned), strict=True))


def test_rows_that_differ_in_modulation_start_alike() -> None:
    states = [build(options={"modulation": {"kind": kind}}).student.state_dict() for kind in ("none", "mlp", "vit")]
    assert len({len(state) for state in states}) == 3
    for state in states[1:]:
        assert all(torch.equal(state[key], tensor) for key, tensor in states[0].items())


def test_fused_levels_are_one_map() -> None:
    options = ALIKE | {"fuse": True, "auxiliary": {"levels": [0]}}
    method = build(taps=TAPS, options=options).eval()
    given = batches(method)
    aligned = method.student.align(given["labelled"].image)
    (refined,) = method.student.refine(aligned)
    assert torch.equal(refined, method.student.fmm([aligned[0] + aligned[1]])[0])
    first, second = (map_.float() for map_ in given["labelled"].features["seer"])
    expected = distillation_loss([aligned[0] + aligned[1]], [first + second])
    torch.testing.assert_close(method.loss(given, 0).parts["distillation"], expected)


@pytest.mark.parametrize("fuse", [False, True])
def test_one_tap_is_the_target_of_every_level(fuse: bool) -> None:
    """Or of their sum: it is not summed with itself."""
    method = build(taps=TAPS[:1], options=ALIKE | {"fuse": fuse, "auxiliary": {"levels": [0]}}).eval()
    given = batches(method)
    aligned, target = method.student.align(given["labelled"].image), given["labelled"].features["seer"][0].float()
    own = [aligned[0] + aligned[1]] if fuse else aligned
    expected = distillation_loss(own, [target] * len(own))
    torch.testing.assert_close(method.loss(given, 0).parts["distillation"], expected)


def test_a_frozen_backbone_stays_as_it_is() -> None:
    method = build(options={"freeze_backbone": True})
    backbone = method.student.backbone
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    assert method.student.training and method.student.decoder.training
    assert not any(module.training for module in backbone.modules())
    found = gradients(method, method.loss(batches(method), 0).total)
    assert parts_with(found) == {"norms", "fam", "fmm", "decoder", "heads"}
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())
    updated = {parameter for group in method.parameter_groups()["main"] for parameter in group.parameters}
    assert not updated & set(backbone.parameters())
    assert updated == set(method.parameters()) - set(backbone.parameters())


CONVNEXT: dict[str, Any] = {"backbone": "test_convnext", "stages": [0, 1]}
SPARED = {
    *(f"backbone.net.stages_{stage}.blocks.{block}.norm" for stage, block in ((0, 0), (1, 0), (1, 1))),
    *(f"norms.norms.{level}" for level in (0, 1)),
    *(f"fmm.adapters.{level}.0.norm{place}" for level in (0, 1) for place in (1, 2)),
}


def test_layer_norms_that_are_called_so_do_not_decay() -> None:
    """Those of the stem and of down-sampling do, and all BatchNorms, whatever they are called."""
    method = build(model=CONVNEXT)
    decayed, spared = method.parameter_groups()["main"]
    assert (decayed.weight_decay, spared.weight_decay) == (None, 0.0)
    names = {parameter: name.removeprefix("student.") for name, parameter in method.named_parameters()}
    found = {names[parameter] for parameter in spared.parameters}
    assert found == {f"{layer}.{kind}" for layer in SPARED for kind in ("weight", "bias")}
    others = {names[parameter] for parameter in decayed.parameters}
    assert {"backbone.net.stem_1.weight", "backbone.net.stages_1.downsample.0.weight"} < others
    assert {"decoder.smooth.norm.weight", "heads.0.convs.norm.bias", "backbone.net.stages_0.blocks.0.gamma"} < others
    assert not found & others and len(found | others) == len(names)


def test_all_norms_may_decay() -> None:
    method = build(model=CONVNEXT, options={"decay_norms": True})
    (group,) = method.parameter_groups()["main"]
    assert group.weight_decay is None
    assert set(group.parameters) == set(method.parameters())


@pytest.mark.parametrize(("mode", "same"), [("eval", True), ("train", False)])
def test_a_second_pass_has_other_draws_of_stochastic_depth(mode: str, same: bool) -> None:
    """Without them, and without a BatchNorm before the aligned maps, it is a repetition."""
    parts = []
    for way in ("none", "official"):
        method = build(model=CONVNEXT | {"arguments": {"drop_path_rate": 0.7}}, options={"second_forward": way})
        layers = [layer for layer in method.student.backbone.modules() if hasattr(layer, "gamma")]
        for layer in layers:
            nn.init.ones_(layer.gamma)  # timm's 1e-6 would hide the block that is dropped
        method.train(mode == "train")
        torch.manual_seed(1)
        parts.append(method.loss(batches(method), 0).parts)
    assert torch.equal(parts[0]["cross_entropy"], parts[1]["cross_entropy"])
    assert torch.equal(parts[0]["distillation"], parts[1]["distillation"]) == same


def test_unlabelled_tiles_teach_where_they_are_asked_for() -> None:
    on, off = (build(options={"unlabelled": wanted}).eval() for wanted in (True, False))
    assert (on.streams, off.streams) == (("labelled", "unlabelled"), ("labelled",))
    given, decoded = batches(on), []
    on.student.fmm.register_forward_pre_hook(lambda _, maps: decoded.extend(len(map_) for map_ in maps[0]))
    both, alone = on.loss(given, 0).parts, off.loss({"labelled": given["labelled"]}, 0).parts
    other = on.loss({"labelled": given["unlabelled"], "unlabelled": given["unlabelled"]}, 0).parts["distillation"]
    for name in ("cross_entropy", "auxiliary"):
        torch.testing.assert_close(both[name], alone[name])
    torch.testing.assert_close(both["distillation"], (alone["distillation"] + other) / 2)
    assert not torch.allclose(both["distillation"], alone["distillation"])
    assert set(decoded) == {len(given["labelled"].image)}  # nothing behind the alignment sees the others


def test_labels_of_unlabelled_tiles_do_not_count() -> None:
    method = build(options={"unlabelled": True}).eval()
    given = batches(method)
    blank = replace(given["unlabelled"], label=torch.full_like(given["unlabelled"].label, 255))
    assert torch.equal(method.loss(given, 0).total, method.loss({**given, "unlabelled": blank}, 0).total)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": [8, 24]}, r"invented\.channels: level 1 has channels 24, tap 2 of teacher seer has 48\n.*\[8, 48\]"),
        ({"channels": 8}, r"invented\.channels: level 1 has channels 8, tap 2 of teacher seer has 48"),
        ({"stride": [6, 8]}, r"invented\.stride: level 0 has stride 6, tap decoder of teacher seer has 4\n.*\[4, 8\]"),
        ({"stride": [4, 8, 16]}, r"invented\.stride: 3 numbers for 2 levels"),
        ({"channels": [8]}, r"invented\.channels: 1 numbers for 2 levels"),
        ({"fuse": True}, r"invented\.fuse: maps of \[8, 48\] channels at strides \[4, 8\] cannot be summed"),
        ({"auxiliary": {"levels": [0, 2]}}, r"invented\.auxiliary\.levels: no level 2: the decoder reads 2"),
        ({"auxiliary": {"levels": [-1]}}, r"invented\.auxiliary\.levels: no level -1"),
        ({"modulation": {"heads": 5}}, r"modulation\.heads: 5 heads do not divide 8 channels"),
        ({"modulation": {"kind": "mlp", "rank_dim": 9}}, r"modulation\.rank_dim: 8 channels"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(options=options)


def test_a_fused_row_has_one_map_for_auxiliary_heads() -> None:
    with pytest.raises(UserError, match=r"(?s)no level 1: the decoder reads 1.*`fuse` leaves level 0 alone"):
        build(taps=TAPS, options=ALIKE | {"fuse": True})


def test_as_many_taps_as_levels_or_one() -> None:
    three = [*CARD["taps"], CARD["taps"][1]]
    with pytest.raises(UserError, match=r"invented\.model\.stages: 3 taps of teacher seer for 2 levels"):
        build(taps=three)


@pytest.mark.parametrize("fuse", [False, True])
def test_saved_weights_predict_the_same_bits(fuse: bool, tmp_path: Path) -> None:
    options = ALIKE | {"fuse": fuse, "auxiliary": {"levels": [0]}}
    method = build(taps=TAPS, options=options, model={"neck": [2] if fuse else [2, 1]})
    given = batches(method)
    method.loss(given, 0)  # statistics of norms are no longer those of the start
    method.eval()
    save_weights(tmp_path / "weights.safetensors", method.student, {})
    torch.manual_seed(99)
    student = KtdaMethod.build_student(method.plan)
    load_weights(tmp_path / "weights.safetensors", student)
    other = KtdaMethod(method.plan, student).eval()
    image = given["labelled"].image
    assert torch.equal(other.predict(image), method.predict(image))
    assert torch.equal(full_size(student(image), student.stride, (32, 32)), method.predict(image))


def test_the_last_output_norm_is_the_classifier_s(tmp_path: Path) -> None:
    """A ConvNeXt classifier norms what its head reads: the same maps, the same norm. The other stages have none."""
    source = create_network("test_convnext", {"in_chans": 4})
    nn.init.normal_(source.head.norm.weight)
    save_file(source.state_dict(), tmp_path / "timm.safetensors")
    changes = {"backbone": "test_convnext", "stages": [0, 1, 2, 3], "weights": str(tmp_path / "timm.safetensors")}
    student = build(model=changes, options=ALIKE, taps=TAPS[:1]).student
    assert torch.equal(student.norms.norms[-1].weight, source.head.norm.weight)
    assert all((norm.weight == 1).all() for norm in student.norms.norms[:-1])
    assert torch.equal(student.backbone.net.stages_0.blocks[0].norm.weight, source.stages[0].blocks[0].norm.weight)
