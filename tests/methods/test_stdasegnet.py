"""ST-DASegNet beside its recorded steps: what its switches leave out, who answers, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from georelay.batches.streams import open_stream
from georelay.errors import UserError
from georelay.methods.base import Batches
from georelay.methods.stdasegnet import StDaSegNetMethod
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


@pytest.mark.parametrize(("change", "what"), [({"neck": [1, 0.5]}, "neck of its own"), ({"weights": "x"}, "from a file")])
def test_a_network_that_it_cannot_build_is_refused(change: dict[str, Any], what: str) -> None:
    plan = make_plan("stdasegnet")
    plan["settings"] = plan["settings"] | {"model": MODEL | change}
    with pytest.raises(UserError, match=what):
        StDaSegNetMethod.build_student(plan)
