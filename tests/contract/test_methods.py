"""What every method promises, tried on every method in the table; a new one adds its settings to tests/invented.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from georelay.batches.streams import Batch, open_stream
from georelay.methods.base import Batches, Method, method_class
from georelay.methods.options import METHODS
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers
from georelay.train.run import build_method
from invented import OPTIONS, InventedStore, make_plan

ALL = pytest.mark.parametrize("name", list(METHODS))
WHERE = Path("nowhere")


def built(name: str, **changes: Any) -> Method:
    return build_method(make_plan(name, **changes), 0, WHERE).train()


def batches(name: str, step: int = 0, **changes: Any) -> Batches:
    plan, store = make_plan(name, **changes), InventedStore()
    return {stream: open_stream(store, plan, stream, 0).batch(step, 0, 1) for stream in method_class(name).streams}


def optimisers(method: Method, **train: Any) -> Optimisers:
    settings = make_plan(train=train)["settings"]["train"]
    return Optimisers(method.parameter_groups(), settings, torch.device("cpu"), World(0, 1, 0))


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


@ALL
def test_the_loss_is_finite_and_its_parts_too(name: str) -> None:
    losses = built(name).loss(batches(name), 0)
    assert losses.total.ndim == 0
    assert losses.parts
    assert all(value.isfinite().all() for value in [losses.total, *losses.parts.values()])


@ALL
def test_every_trained_parameter_gets_a_gradient_and_no_teacher_s(name: str) -> None:
    method = built(name)
    method.loss(batches(name), 0).total.backward()
    updated = {parameter for groups in method.parameter_groups().values() for group in groups for parameter in group.parameters}
    without = [key for key, parameter in method.named_parameters() if parameter in updated and parameter.grad is None]
    assert not without
    assert updated == {parameter for parameter in method.parameters() if parameter.requires_grad}
    for teacher in method.teachers():
        assert all(parameter.grad is None and parameter not in updated for parameter in teacher.parameters())


@ALL
def test_teachers_stay_as_they_are(name: str) -> None:
    method = built(name)
    before = [tensor.clone() for teacher in method.teachers() for tensor in teacher.state_dict().values()]
    run(method, batches(name), 2)
    after = [tensor for teacher in method.teachers() for tensor in teacher.state_dict().values()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert not any(module.training for teacher in method.teachers() for module in teacher.modules())


@ALL
def test_prediction_needs_the_student_alone(name: str) -> None:
    method = built(name).eval()
    image = batches(name)[method.streams[0]].image
    plan = make_plan(name)
    student = method_class(name).build_student(plan).eval()
    student.load_state_dict(method.student.state_dict())
    logits = method.predict(image)
    lonely = method_class(name)(plan, student).eval()  # never prepared: there is no teacher to ask
    assert torch.equal(lonely.predict(image), logits)
    assert logits.shape == (8, 4, 32, 32)
    assert logits.dtype == torch.float32


@ALL
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    runs = [built(name), built(name)]
    losses = [run(method, batches(name), 3) for method in runs]
    assert losses[0] == losses[1]
    states = [method.state_dict() for method in runs]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@ALL
def test_a_saved_state_goes_on_with_the_same_bits(name: str, tmp_path: Path) -> None:
    method = built(name)
    run(method, batches(name), 2)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other = built(name)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    given = batches(name, step=5)
    torch.manual_seed(5)
    expected = method.loss(given, 5).total
    torch.manual_seed(5)
    assert torch.equal(other.loss(given, 5).total, expected)


@ALL
def test_it_overfits_one_batch(name: str) -> None:
    losses = run(built(name), batches(name), 40, lr=1e-2, warmup_steps=2)
    assert losses[-1] < 0.5 * losses[0]


@ALL
def test_it_survives_a_batch_of_ignored_pixels(name: str) -> None:
    method = built(name)
    given = emptied(batches(name), label=lambda batch: torch.full_like(batch.label, 255))
    assert all(torch.isfinite(torch.tensor(run(method, given, 2))))
    assert all(tensor.isfinite().all() for tensor in method.student.state_dict().values())


@ALL
def test_it_survives_a_batch_without_data(name: str) -> None:
    nothing = {
        "label": lambda batch: torch.full_like(batch.label, 255),
        "valid": lambda batch: torch.zeros_like(batch.valid),
        "image": lambda batch: torch.zeros_like(batch.image),
    }
    assert all(torch.isfinite(torch.tensor(run(built(name), emptied(batches(name), **nothing), 2))))


@ALL
@pytest.mark.parametrize("loss_at", ["output", "label"])
def test_it_takes_odd_sizes(name: str, loss_at: str) -> None:
    cut = {
        "image": lambda batch: batch.image[..., :27, :21],
        "label": lambda batch: batch.label[..., :27, :21],
        "valid": lambda batch: batch.valid[..., :27, :21],
    }
    method = built(name, train={"loss_at": loss_at})
    given = emptied(batches(name), **cut)
    assert method.loss(given, 0).total.isfinite()
    assert method.predict(given[method.streams[0]].image).shape[-2:] == (27, 21)


@ALL
def test_accumulated_parts_are_one_step(name: str) -> None:
    """Two halves give the mean of their losses; nothing is stepped in between."""
    method, given = built(name), batches(name)
    halves = [dict(zip(given, pair, strict=True)) for pair in zip(*(batch.parts(2) for batch in given.values()), strict=True)]
    updater = optimisers(method)
    updater.set_rates(0)
    method.step(halves, 0, updater)
    steps = [int(state["step"]) for member in updater.members.values() for state in member.state.values()]
    assert set(steps) == {1}
