"""ST-DASegNet beside its recorded steps: what its switches leave out, who answers, and what is refused."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from georelay.batches.streams import open_stream
from georelay.errors import UserError
from georelay.methods.base import Batches
from georelay.methods.stdasegnet import StDaSegNetMethod
from georelay.models.student import build_backbone
from georelay.models.weights import save_weights
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers
from georelay.train.run import build_method
from invented import MODEL, InventedStore, make_plan


def build(**options: Any) -> StDaSegNetMethod:
    method = build_method(make_plan("stdasegnet", options=options), 0, Path())
    assert isinstance(method, StDaSegNetMethod)
    return method.train()


def batches(method: StDaSegNetMethod) -> Batches:
    return {name: open_stream(InventedStore(), method.plan, name, 0).batch(0, 0, 1) for name in method.streams}


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"pseudo_weight": 0.0}, {"cross_entropy", "adversarial"}),
        ({"adversarial_weight": 0.0}, {"cross_entropy", "pseudo", "sure", "right", "confidence"}),
        ({"pseudo_weight": 0.0, "adversarial_weight": 0.0}, {"cross_entropy"}),
    ],
)
def test_what_has_no_weight_is_not_there(options: dict[str, float], parts: set[str]) -> None:
    method = build(**options)
    assert method.loss(batches(method), 0).parts.keys() == parts
    assert ("discriminators" in method.parameter_groups()) == ("adversarial" in parts)
    assert bool(method.answering) == ("pseudo" in parts)


def test_right_counts_pixels_with_labels_alone() -> None:
    method = build()
    given, ignore = batches(method), method.plan["ignore"]
    with torch.no_grad():
        parted = method.student.parted(method.student.maps(given["target"].image))
        answered = method._answers(given["target"], parted).label
    for wrong, known, share in ((0, 1, 1.0), (1, 1, 0.0), (0, 0, 0.0)):
        label = torch.full_like(answered, ignore)
        label[:, : 8 * known] = (answered[:, : 8 * known] + wrong) % 4
        assert method.loss(given | {"target": replace(given["target"], label=label)}, 0).parts["right"] == share


def test_nothing_is_learnt_from_the_target_s_labels() -> None:
    """All answers are sure here, so that pseudo-labels do teach; those that are right are counted alone."""
    learnt = []
    for turn in (0, 1):
        method = build(threshold=0.0)
        given = batches(method)
        target = replace(given["target"], label=(given["target"].label + turn) % 4)
        losses = method.loss(given | {"target": target}, 0)
        losses.total.backward()
        learnt.append((losses, [parameter.grad for parameter in method.student.parameters()]))
    (first, before), (second, after) = learnt
    assert first.parts["right"] != second.parts["right"] and first.parts["pseudo"] == second.parts["pseudo"] > 0
    assert all(mine is not None and torch.equal(mine, theirs) for mine, theirs in zip(before, after, strict=True))


def test_both_backbones_start_alike_and_decoders_do_not() -> None:
    student = build().student
    first, second = (list(student.backbones[style].parameters()) for style in ("source", "target"))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, second, strict=True))
    heads = [student.decoders[style].classify.weight for style in ("source", "target")]
    assert not torch.equal(*heads)


@pytest.mark.parametrize("start", ["random", "student"])
def test_averages_start_where_they_are_told_to(start: str) -> None:
    method = build(teacher_start=start)
    own, answering = (part["target"] for part in (method.student.decoders, method.answering))
    assert torch.equal(own.classify.weight, answering.network.classify.weight) == (start == "student")


@pytest.mark.parametrize(
    ("teacher", "names"), [("decoder_only", {"source", "target"}), ("single_target", {"target", "backbone"})]
)
def test_who_answers(teacher: str, names: set[str]) -> None:
    method = build(teacher=teacher)
    assert method.answering.keys() == names
    assert method.loss(batches(method), 0).total.isfinite()


def test_averages_with_statistics_of_their_own_answer_in_training_mode() -> None:
    for own in (True, False):
        assert build(own_buffers=own).answering["source"].network.training == own  # type: ignore[union-attr]


def test_the_adapted_copy_has_the_students_weights_and_meets_the_target_alone() -> None:
    method = build(tested="adapted")
    fresh, given = deepcopy(method.student), batches(method)
    updater = Optimisers(method.parameter_groups(), method.plan["settings"]["train"], torch.device("cpu"), World(0, 1, 0))
    method.step([given], 0, updater)
    for mine, theirs in zip(method.exported.parameters(), method.student.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    fresh.load_state_dict(dict(method.student.named_parameters()), strict=False)
    with torch.no_grad():
        fresh(given["target"].image)
    found, seen, mixed = (dict(network.named_buffers()) for network in (method.exported, fresh, method.student))
    assert all(torch.equal(found[name], value) for name, value in seen.items())
    assert not any(torch.equal(found[name], value) for name, value in mixed.items() if name.endswith("running_mean"))


def test_a_neck_beside_its_own_is_refused() -> None:
    with pytest.raises(UserError, match="neck of its own"):
        StDaSegNetMethod.build_student(make_plan("stdasegnet", model={"neck": [1, 0.5]}))


NETWORKS = {"timm": {}, "mit": {"backbone": "mit_b0", "stages": [0, 1, 2, 3]}, "deep stem": {"backbone": "resnet50c"}}


@pytest.mark.parametrize("network", NETWORKS)
def test_both_backbones_start_from_one_file(network: str, tmp_path: Path) -> None:
    model = MODEL | NETWORKS[network]
    source = build_backbone(model, 4).net
    given = {name: torch.rand_like(value.float()).to(value.dtype) for name, value in source.state_dict().items()}
    save_file(given, tmp_path / "w.safetensors")
    plan = make_plan("stdasegnet", model=model | {"weights": "w.safetensors"})
    student = build_method(plan, 0, tmp_path).student
    for name, value in given.items():
        own = [student.backbones[style].net.state_dict()[name] for style in ("source", "target")]
        assert torch.equal(own[0], value) and torch.equal(own[1], value)
        assert own[0].data_ptr() != own[1].data_ptr()


def test_it_starts_from_a_whole_student_too(tmp_path: Path) -> None:
    whole = build().student
    save_weights(tmp_path / "whole.safetensors", whole, {})
    started = build_method(make_plan("stdasegnet", model={"weights": "whole.safetensors"}), 1, tmp_path).student
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in started.state_dict().items())


def test_a_file_that_fits_neither_is_refused(tmp_path: Path) -> None:
    save_file({"conv1.0.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="weights do not fit the network"):
        build_method(make_plan("stdasegnet", model={"weights": "w.safetensors"}), 0, tmp_path)
