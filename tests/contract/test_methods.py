"""What every method promises, tried on every method in the table; a new one adds its settings to tests/invented.py.

Methods with teachers are tried twice: with stored maps, and with the teachers in each step.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from georelay.batches.streams import Batch, open_stream
from georelay.errors import UserError
from georelay.methods.base import Batches, Method
from georelay.methods.options import METHODS
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers
from georelay.train.run import build_method
from invented import OPTIONS, InventedFeatures, InventedStore, make_plan, write_teacher

Build = Callable[..., Method]
TAUGHT = [name for name, entry in METHODS.items() if entry.teachers[1] > 0]


def builder(name: str, view: str, root: Path) -> Build:
    """Builds a method as a run would, its plan changed as wanted; teachers that see each step lie under `root`."""
    online: dict[str, Any] = {}
    if view == "online":
        teachers = {teacher: write_teacher(root, teacher, card) for teacher, card in make_plan(name)["teachers"].items()}
        online = {"teacher_view": view, "teachers": teachers, "features": {}}
    return lambda **changes: build_method(make_plan(name, **online, **changes), 0, root).train()


VIEWS = [(name, view) for name in TAUGHT for view in METHODS[name].views]


@pytest.fixture(params=[*((name, "cached") for name in METHODS if name not in TAUGHT), *VIEWS], ids="-".join)
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """Every method in turn."""
    return builder(*request.param, tmp_path)


@pytest.fixture(params=[(name, view) for name, view in VIEWS if name != "transfer"], ids="-".join)
def taught(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """Every method with teachers beside the student."""
    return builder(*request.param, tmp_path)


def batches(method: Method, step: int = 0) -> Batches:
    plan, store = method.plan, InventedStore()
    features = {name: InventedFeatures(store, plan["teachers"][name]) for name in plan["features"]}
    return {
        name: open_stream(store, plan, name, 0, features, method.views.get(name, 0)).batch(step, 0, 1) for name in method.streams
    }


def optimisers(method: Method, **train: Any) -> Optimisers:
    settings = make_plan(train=train)["settings"]["train"]
    return Optimisers(method.parameter_groups(), settings, torch.device("cpu"), World(0, 1, 0), method.optimiser_settings())


def run(method: Method, given: Batches, steps: int, **train: Any) -> list[float]:
    updater, losses = optimisers(method, steps=steps, **train), []
    for step in range(steps):
        torch.manual_seed(step)
        updater.set_rates(step)
        losses.append(float(method.step([given], step, updater).total))
        method.after_step(step)
    return losses


def emptied(given: Batches, **fields: Any) -> Batches:
    return {name: Batch(**(vars(batch) | {key: make(batch) for key, make in fields.items()})) for name, batch in given.items()}


def test_every_method_can_be_tried() -> None:
    assert set(OPTIONS) == set(METHODS)
    for name, entry in METHODS.items():
        entry.settings.model_validate(OPTIONS[name])


def test_the_loss_is_finite_and_its_parts_too(build: Build) -> None:
    method = build()
    losses = method.loss(batches(method), 0)
    assert losses.total.ndim == 0
    assert losses.parts
    assert all(value.isfinite().all() for value in [losses.total, *losses.parts.values()])


def test_every_trained_parameter_gets_a_gradient_and_no_teacher_s(build: Build) -> None:
    method = build()
    method.loss(batches(method), 0).total.backward()
    updated = {parameter for groups in method.parameter_groups().values() for group in groups for parameter in group.parameters}
    without = [key for key, parameter in method.named_parameters() if parameter in updated and parameter.grad is None]
    assert not without
    assert updated == {parameter for parameter in method.parameters() if parameter.requires_grad}
    for teacher in method.teachers():
        assert all(parameter.grad is None and parameter not in updated for parameter in teacher.parameters())


def test_teachers_stay_as_they_are(build: Build) -> None:
    method = build()
    before = [tensor.clone() for teacher in method.teachers() for tensor in teacher.state_dict().values()]
    run(method, batches(method), 2)
    after = [tensor for teacher in method.teachers() for tensor in teacher.state_dict().values()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert not any(module.training for teacher in method.teachers() for module in teacher.modules())


def test_prediction_needs_the_student_alone(build: Build, tmp_path: Path) -> None:
    method = build().eval()
    image = batches(method)[method.streams[0]].image
    kind, plan = type(method), method.plan
    logits = method.predict(image)
    shutil.rmtree(tmp_path / "results", ignore_errors=True)  # the teachers are gone
    student = kind.build_student(plan).eval()
    student.load_state_dict(method.student.state_dict())
    lonely = kind(plan, student).eval()  # never prepared: there is no teacher to ask
    assert torch.equal(lonely.predict(image), logits)
    assert logits.shape == (8, student(image).shape[1], 32, 32)
    assert logits.dtype == torch.float32


def test_the_same_seed_gives_the_same_bits(build: Build) -> None:
    runs = [build(), build()]
    losses = [run(method, batches(method), 3) for method in runs]
    assert losses[0] == losses[1]
    states = [method.state_dict() for method in runs]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_saved_state_goes_on_with_the_same_bits(build: Build, tmp_path: Path) -> None:
    method = build()
    run(method, batches(method), 2)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other = build()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    given = batches(method, step=5)
    torch.manual_seed(5)
    expected = method.loss(given, 5).total
    torch.manual_seed(5)
    assert torch.equal(other.loss(given, 5).total, expected)


def test_it_overfits_one_batch(build: Build) -> None:
    method = build()
    losses = run(method, batches(method), 60, lr=1e-2, warmup_steps=2)
    assert losses[-1] < 0.5 * losses[0]


def test_nothing_is_learnt_from_labels_of_other_streams(build: Build) -> None:
    """They may be there, for the record."""
    methods = [build(), build()]
    for method, turn in zip(methods, (0, 1), strict=True):
        given = batches(method)
        others = {name: batch for name, batch in given.items() if name != "labelled"}
        run(method, given | emptied(others, label=lambda batch, turn=turn: (batch.label + turn) % 4), 3)
    states = [method.state_dict() for method in methods]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_it_survives_a_batch_of_ignored_pixels(build: Build) -> None:
    method = build()
    given = emptied(batches(method), label=lambda batch: torch.full_like(batch.label, 255))
    assert all(torch.isfinite(torch.tensor(run(method, given, 2))))
    assert all(tensor.isfinite().all() for tensor in method.student.state_dict().values())


def test_it_survives_a_batch_without_data(build: Build) -> None:
    nothing = {
        "label": lambda batch: torch.full_like(batch.label, 255),
        "valid": lambda batch: torch.zeros_like(batch.valid),
        "image": lambda batch: torch.zeros_like(batch.image),
        "pair": lambda batch: None if batch.pair is None else torch.zeros_like(batch.pair),
    }
    method = build()
    assert all(torch.isfinite(torch.tensor(run(method, emptied(batches(method), **nothing), 2))))


@pytest.mark.parametrize("loss_at", ["output", "label"])
def test_it_takes_odd_sizes(build: Build, loss_at: str) -> None:
    cut = {
        "image": lambda batch: batch.image[..., :27, :21],
        "label": lambda batch: batch.label[..., :27, :21],
        "valid": lambda batch: batch.valid[..., :27, :21],
        "pair": lambda batch: None if batch.pair is None else batch.pair[..., :27, :21],
        "strong": lambda batch: tuple(view[..., :27, :21] for view in batch.strong),
    }
    method = build(train={"loss_at": loss_at})
    given = emptied(batches(method), **cut)
    assert method.loss(given, 0).total.isfinite()
    assert method.predict(given[method.streams[0]].image).shape[-2:] == (27, 21)


def test_accumulated_parts_are_one_step(build: Build) -> None:
    """Two halves give the mean of their losses; nothing is stepped in between."""
    method = build()
    given = batches(method)
    halves = [dict(zip(given, pair, strict=True)) for pair in zip(*(batch.parts(2) for batch in given.values()), strict=True)]
    updater = optimisers(method)
    updater.set_rates(0)
    method.step(halves, 0, updater)
    steps = [int(state["step"]) for member in updater.members.values() for state in member.state.values()]
    assert set(steps) == {1}


def test_teachers_are_in_no_state_and_never_in_training_mode(taught: Build) -> None:
    method = taught()
    networks = method.teachers()
    assert bool(networks) == (method.plan["teacher_view"] == "online")
    method.eval().train()
    assert method.student.training and not any(module.training for network in networks for module in network.modules())
    theirs = {tensor.data_ptr() for network in networks for tensor in network.state_dict(keep_vars=True).values()}
    assert not theirs & {tensor.data_ptr() for tensor in method.state_dict().values()}
    assert not any(parameter.requires_grad for network in networks for parameter in network.parameters())


def test_a_teacher_of_other_weights_is_refused(tmp_path: Path) -> None:
    online = builder("distil", "online", tmp_path)
    (tmp_path / "results/teachers/seer.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match=r"(?s)seer\.safetensors: is damaged.*georelay teach seer"):
        online()


@pytest.mark.parametrize("name", [name for name in METHODS if {"weight", "unlabelled"} <= OPTIONS[name].keys()])
@pytest.mark.parametrize("view", ["cached", "online"])
def test_without_weight_it_is_plain_supervision(name: str, view: str, tmp_path: Path) -> None:
    """Loss and gradients; without unlabelled tiles, which would have their say in the statistics of the norms."""
    method = builder(name, view, tmp_path)(options={"weight": 0.0, "unlabelled": False})
    plain = builder("supervised", "cached", tmp_path)()
    losses = [some.loss(batches(some), 0).total for some in (method, plain)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    theirs = dict(plain.student.named_parameters())
    for key, parameter in method.student.named_parameters():
        assert torch.equal(parameter.grad, theirs[key].grad), key


@pytest.mark.parametrize("view", ["cached", "online"])
def test_teachers_teach_on_what_is_not_labelled(view: str, tmp_path: Path) -> None:
    """The same labels, other unlabelled tiles: another gradient, and none where the weight is 0."""
    method = builder("distil", view, tmp_path)().eval()  # statistics of norms would carry one stream into the other
    given, other = batches(method), batches(method, step=1)
    for weight, same in ((1.0, False), (0.0, True)):
        method.options = method.options | {"weight": weight}
        gradients = []
        for unlabelled in (given["unlabelled"], other["unlabelled"]):
            method.zero_grad()
            method.loss({"labelled": given["labelled"], "unlabelled": unlabelled}, 0).total.backward()
            gradients.append(method.student.decoder.smooth[0].weight.grad.clone())
        assert torch.allclose(*gradients, atol=1e-7) == same
