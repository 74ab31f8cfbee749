"""FixMatch and UniMatch V2 on batches: who answers, what is mixed, which pixels count, which channels are lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.cutmix import CutMix
from georelay.batches.streams import open_stream
from georelay.methods.base import Batches
from georelay.methods.fixmatch import Answers, FixMatchMethod, _cells, _pixels
from georelay.train.run import build_method
from invented import InventedStore, make_plan

torch.set_num_threads(1)


def build(name: str = "fixmatch", **changes: Any) -> FixMatchMethod:
    """As a run would, but with answers that are sure here and there."""
    method = build_method(make_plan(name, **changes), 0, Path())
    assert isinstance(method, FixMatchMethod)
    for network in (method.student, method.average.network):
        network.decoder.classify.weight.data *= 100
    return method.train()


def batches(method: FixMatchMethod, step: int = 0) -> Batches:
    streams = {name: (InventedStore(), method.plan, name, 0, {}, method.views.get(name, 0)) for name in method.streams}
    return {name: open_stream(*facts).batch(step, 0, 1) for name, facts in streams.items()}


def test_the_average_answers_in_eval_mode_and_learns_nothing() -> None:
    method = build()
    before = {key: value.clone() for key, value in method.average.state_dict().items()}
    method.loss(batches(method), 0).total.backward()
    assert not method.average.network.training
    assert all(torch.equal(value, before[key]) for key, value in method.average.state_dict().items())
    assert all(parameter.grad is None for parameter in method.average.parameters())


def test_the_average_follows_the_student() -> None:
    method = build()
    method.after_step(0)
    for _ in range(3):
        for parameter in method.student.parameters():
            parameter.data += 1.0
        method.after_step(100)
    ours, theirs = (next(net.parameters()) for net in (method.average.network, method.student))
    torch.testing.assert_close(theirs - ours, torch.full_like(ours, 1 / 0.1 * 0.9 * (1 - 0.9**3)))


@pytest.mark.parametrize(("tested", "average"), [("student", False), ("average", True)])
def test_what_is_saved_is_a_setting(tested: str, average: bool) -> None:
    method = build(options={"tested": tested})
    assert method.exported is (method.average.network if average else method.student)


@pytest.mark.parametrize("at", ["label", "output"])
def test_the_loss_by_hand(at: str) -> None:
    """Weak answers of the average, mixed with the reversed batch, label the mixed strong view; every step spelt out."""
    method = build(train={"loss_at": at}, options={"threshold": 0.7}).eval()  # no statistics of a batch
    given = batches(method)
    labelled, unlabelled = given["labelled"], given["unlabelled"]
    mix = unlabelled.mixes[0]
    step = 4 if at == "output" else 1

    def fine(logits: Tensor) -> Tensor:
        return logits if at == "output" else F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)

    with torch.no_grad():
        chance = fine(method.average.network(unlabelled.image)).softmax(1)
    confidence, label = chance.max(1)
    seen = unlabelled.strong[0].clone()
    for place, (top, bottom, left, right) in enumerate(mix.boxes.tolist()):
        seen[place, :, top:bottom, left:right] = unlabelled.strong[0][len(seen) - 1 - place, :, top:bottom, left:right]
    mixed = [CutMix(32, mix.boxes).apply(some, nearest=True) for some in (label, confidence)]
    scores = F.cross_entropy(fine(method.student(seen)), mixed[0], reduction="none")
    expected = (scores * (mixed[1] >= 0.7)).sum() / scores.numel()
    losses = method.loss(given, 0)
    assert 0.1 < losses.parts["sure"] < 0.9 and expected > 0
    torch.testing.assert_close(losses.parts["consistency"], expected)
    target = labelled.label.view(8, 32 // step, step, 32 // step, step).permute(0, 2, 4, 1, 3).flatten(1, 2)
    logits = fine(method.student(labelled.image)).log_softmax(1)
    torch.testing.assert_close(losses.parts["cross_entropy"], -logits.gather(1, target).mean())
    torch.testing.assert_close(losses.total, (losses.parts["cross_entropy"] + losses.parts["consistency"]) / 2)


def test_only_sure_answers_teach_and_all_valid_pixels_divide() -> None:
    method = build(options={"threshold": 1.0})
    given = batches(method)
    assert method.loss(given, 0).parts["consistency"] == 0
    assert method.loss(given, 0).parts["sure"] == 0
    logits, label = torch.randn(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long)
    sure = torch.tensor([[[1.0, 0.5], [1.0, 1.0]]])
    valid = torch.tensor([[[True, True], [True, False]]])
    error = F.cross_entropy(logits, label, reduction="none")[0]
    torch.testing.assert_close(method.consistency(logits, Answers(label, sure, valid)), (error[0, 0] + error[1, 0]) / 3)


@pytest.mark.parametrize("at", ["label", "output"])
def test_what_is_recorded_of_the_answers(at: str) -> None:
    """Right is counted over pixels with labels, of which those in a cell share its answer."""
    method = build(train={"loss_at": at})
    unlabelled = batches(method)["unlabelled"]
    shape = (8, 32, 32) if at == "label" else (8, 8, 8)
    valid = torch.zeros(shape, dtype=torch.bool)
    valid[:4] = True
    confidence = torch.full(shape, 0.2).index_fill(0, torch.tensor([0, 6, 7]), 0.8)
    label = torch.full_like(unlabelled.label, method.plan["ignore"])
    label[0, :, :7], label[1, :, :21] = 2, 3
    answers = Answers(torch.full(shape, 2), confidence, valid)
    found = method.record(answers, replace(unlabelled, label=label))
    assert found["sure"] == 0.25 and found["right"] == 0.25
    torch.testing.assert_close(found["confidence"], torch.tensor(0.35))


def test_pixels_have_what_their_cell_has() -> None:
    found = _pixels(torch.tensor([[[1, 2], [3, 4]]]), 2, torch.zeros(1, 3, 4))
    assert found.tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]]


def test_nothing_is_learnt_from_labels_of_unlabelled_tiles() -> None:
    learnt = []
    for turn in (0, 1):
        method = build()
        given = batches(method)
        unlabelled = replace(given["unlabelled"], label=(given["unlabelled"].label + turn) % 4)
        losses = method.loss(given | {"unlabelled": unlabelled}, 0)
        losses.total.backward()
        learnt.append((losses, [parameter.grad for parameter in method.student.parameters()]))
    (first, before), (second, after) = learnt
    assert first.parts["right"] != second.parts["right"] and first.parts["consistency"] == second.parts["consistency"] > 0
    assert all(mine is not None and torch.equal(mine, theirs) for mine, theirs in zip(before, after, strict=True))


def test_a_cell_is_valid_where_half_of_it_has_data() -> None:
    valid = torch.ones(1, 8, 6, dtype=torch.bool)
    valid[0, :2, :4], valid[0, 4:7, :4] = False, False
    cells = _cells(valid, 4, torch.zeros(1, 1, 2, 2))
    assert cells.tolist() == [[[True, True], [False, True]]]


def test_hard_examples_are_a_setting() -> None:
    plain, hard = build(), build(options={"hard": {"threshold": 0.2, "least": 1}})
    given = batches(plain)
    assert hard.loss(given, 0).parts["cross_entropy"] > plain.loss(given, 0).parts["cross_entropy"]


def test_unimatch_shares_channels_between_its_views() -> None:
    method = build("unimatch")
    torch.manual_seed(0)
    maps = [torch.ones(8, 32, 2, 2), torch.ones(8, 48, 1, 1), torch.ones(8, 32, 1, 1)]
    lost = method._shared_out(maps, 4)
    for map_ in lost:
        first, second = map_[:4, :, 0, 0], map_[4:, :, 0, 0]
        whole = [bool((row == 1).all()) for row in first]
        assert sum(whole) == 2
        assert set((first + second)[~torch.tensor(whole)].unique().tolist()) == {2.0}
        assert set(first[~torch.tensor(whole)].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(lost[0][..., 0, 0], lost[2][..., 0, 0]), "one draw for levels of one width"


def test_unimatch_without_dropout_is_the_mean_over_two_views() -> None:
    method = build("unimatch", options={"dropout": 0.0, "threshold": 0.4}).eval()
    single = build("fixmatch", options={"threshold": 0.4}).eval()
    single.load_state_dict(method.state_dict())
    given = batches(method)
    both, unlabelled = method.loss(given, 0).parts["consistency"], given["unlabelled"]
    each = [
        single.loss(given | {"unlabelled": replace(unlabelled, strong=(view,), mixes=(mix,))}, 0).parts["consistency"]
        for view, mix in zip(unlabelled.strong, unlabelled.mixes, strict=True)
    ]
    torch.testing.assert_close(both, torch.stack(each).mean())
    assert not np.isclose(each[0].item(), each[1].item())
