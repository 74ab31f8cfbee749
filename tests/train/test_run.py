"""Whole runs on an invented task: equal bytes, resumed after a kill, on several ranks; nothing written when it goes wrong."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from georelay.errors import UserError
from georelay.methods.base import Losses, run_facts
from georelay.methods.supervised import SupervisedMethod
from georelay.models.macs import count_macs
from georelay.models.weights import read_weights
from georelay.train import loop, run
from georelay.train.checkpoint import Checkpoint
from georelay.train.distributed import World
from georelay.train.energy import Counter
from georelay.train.run import build_method
from invented import InventedStore, make_plan

FORK = multiprocessing.get_context("fork")  # torch is imported already: a new interpreter would take seconds
EVERYTHING = {"crop": 24, "scale": [0.9, 1.2], "gain": 0.1, "offset": 0.1, "noise": 0.1}


@pytest.fixture(autouse=True)
def invented_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TileStore", lambda path: InventedStore())


def folder(root: Path) -> Path:
    return root / "results" / "runs" / "invented" / "seed0"


def trained(root: Path, plan: dict[str, Any], seed: int = 0, fingerprint: str = "f") -> bytes:
    run.train_run(plan, seed, root, fingerprint)
    return (root / "results" / "runs" / "invented" / f"seed{seed}" / "model.safetensors").read_bytes()


def test_a_run_leaves_its_files(tmp_path: Path) -> None:
    plan = make_plan()
    trained(tmp_path, plan)
    names = {path.name for path in folder(tmp_path).iterdir()}
    assert names == {"model.safetensors", "history.csv", "metrics.json", "timing.json"}
    assert not (tmp_path / "results" / "resume" / "f").exists()
    tensors, facts = read_weights(folder(tmp_path) / "model.safetensors")
    assert facts == json.loads(json.dumps(run_facts(plan)))
    metrics = json.loads((folder(tmp_path) / "metrics.json").read_text())
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert metrics["parameters"] == sum(tensor.numel() for name, tensor in tensors.items() if not name.endswith(buffers))
    student = build_method(plan, 0, tmp_path).student.eval()
    assert metrics["macs"] == count_macs(student, torch.zeros(1, 4, 32, 32)) > 0
    told = {"seconds", "seconds_per_step", "peak_mb", "device", "joules"}
    assert set(json.loads((folder(tmp_path) / "timing.json").read_text())) == told


@pytest.mark.parametrize(("powered", "first", "joules"), [(True, 0, 7.5), (False, 0, None), (True, 5, None)])
def test_energy_is_told_of_a_whole_training_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, powered: bool, first: int, joules: float | None
) -> None:
    usual, readings = loop.Session.resume, iter((1.0, 8.5))
    monkeypatch.setattr(run, "counters_of", lambda device: [Counter(lambda: next(readings))] if powered else [])
    monkeypatch.setattr(loop.Session, "resume", lambda session: usual(session) or first)
    trained(tmp_path, make_plan())
    assert json.loads((folder(tmp_path) / "timing.json").read_text())["joules"] == joules


def test_a_listener_hears_every_step_and_changes_no_bit(tmp_path: Path) -> None:
    heard: list[dict[str, float]] = []
    run.train_run(make_plan(), 0, tmp_path / "heard", "f", lambda rows: heard.append(dict(rows[-1])))
    with open(folder(tmp_path / "heard") / "history.csv") as stream:
        written = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]
    assert [row["step"] for row in heard] == [row["step"] for row in written]
    assert heard[-1]["val_miou"] == pytest.approx(written[-1]["val_miou"], rel=1e-6)
    assert trained(tmp_path / "alone", make_plan()) == (folder(tmp_path / "heard") / "model.safetensors").read_bytes()


def test_the_history_has_a_row_a_step_and_scores_where_they_were_taken(tmp_path: Path) -> None:
    trained(tmp_path, make_plan(train={"steps": 13}))
    rows = list(csv.DictReader((folder(tmp_path) / "history.csv").open()))
    assert list(rows[0]) == ["step", "lr", "loss", "cross_entropy", "val_miou"]
    assert [row["step"] for row in rows] == [str(step) for step in range(13)]
    assert [int(row["step"]) for row in rows if row["val_miou"]] == [5, 11, 12]
    metrics = json.loads((folder(tmp_path) / "metrics.json").read_text())
    assert metrics["val_miou"] == pytest.approx(float(rows[-1]["val_miou"]), rel=1e-6)
    assert metrics["steps"] == 13
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_equal_plans_and_seeds_give_equal_bytes(tmp_path: Path) -> None:
    plan = make_plan(augment=EVERYTHING, model={"dropout": 0.3}, train={"ema": 0.9})
    assert trained(tmp_path / "a", plan) == trained(tmp_path / "b", plan)
    assert trained(tmp_path / "a", plan) != trained(tmp_path / "a", plan, seed=1)


def _train_until_killed(root: Path, plan: dict[str, Any], last: int) -> None:
    usual = loop._step

    def step(session: loop.Session, number: int) -> None:
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)
        usual(session, number)

    loop._step = step
    trained(root, plan)


@pytest.mark.parametrize("last", [3, 9])
def test_a_killed_run_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: Path, last: int) -> None:
    plan = make_plan(augment=EVERYTHING, model={"dropout": 0.3}, train={"ema": 0.9})
    process = FORK.Process(target=_train_until_killed, args=(tmp_path / "a", plan, last))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not folder(tmp_path / "a").exists()
    assert Checkpoint(tmp_path / "a", "f").path.exists() == (last > 4)
    assert trained(tmp_path / "a", plan) == trained(tmp_path / "b", plan)
    histories = [(folder(tmp_path / name) / "history.csv").read_bytes() for name in "ab"]
    assert histories[0] == histories[1]


def test_a_resumed_run_does_not_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    usual = loop._step

    def step(session: loop.Session, number: int) -> None:
        if number == 9 and 8 in seen and seen.count(9) == 0:
            seen.append(9)
            raise KeyboardInterrupt
        seen.append(number)
        usual(session, number)

    monkeypatch.setattr(loop, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, make_plan())
    trained(tmp_path, make_plan())
    assert seen == [*range(10), *range(8, 12)]  # the last checkpoint was taken after 8 steps


def test_a_damaged_resume_file_costs_time_but_no_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Checkpoint(tmp_path / "a", "f").path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a file")
    assert trained(tmp_path / "a", make_plan()) == trained(tmp_path / "b", make_plan())
    assert "not resumed" in capsys.readouterr().err


def test_a_loss_that_is_no_number_ends_the_run_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(self: SupervisedMethod, batches: Any, step: int) -> Losses:
        total = next(self.student.parameters()).sum() * (float("nan") if step == 2 else 1.0)
        return Losses(total, {"cross_entropy": total})

    monkeypatch.setattr(SupervisedMethod, "loss", loss)
    with pytest.raises(UserError, match=r"(?s)loss is nan at step 2 \(cross_entropy nan\).*train\.lr"):
        trained(tmp_path, make_plan())
    assert not folder(tmp_path).exists()


def test_accumulation_needs_parts_of_equal_size(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.batch 8 does not divide by 3"):
        trained(tmp_path, make_plan(train={"accumulate": 3}))


def test_a_plan_for_cuda_needs_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="asks for cuda"):
        trained(tmp_path, make_plan(train={"device": "cuda"}))


def test_bf16_trains(tmp_path: Path) -> None:
    trained(tmp_path, make_plan(train={"precision": "bf16", "steps": 4}))
    assert json.loads((folder(tmp_path) / "metrics.json").read_text())["loss"] < 2


class Plain(nn.Module):
    """A student without BatchNorm, whose statistics would differ between shares of a batch."""

    stride = 2

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image)


def _rank(rank: int, root: Path, plan: dict[str, Any], port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    usual = loop.train

    def train(session: loop.Session) -> int:
        done = usual(session)
        torch.save(session.method.state_dict(), root / f"rank{rank}.pt")
        return done

    run.train = train
    run.train_run(plan, 0, root, "f")


# Not AdamW, not clipped: both would hide gradients of a wrong scale.
BARE = {"optimizer": "sgd", "lr": 0.1, "clip": 0.0}


def test_two_ranks_agree_and_train_like_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SupervisedMethod, "build_student", classmethod(lambda cls, plan: Plain()))
    plan = make_plan(augment=EVERYTHING, train=BARE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [FORK.Process(target=_rank, args=(rank, tmp_path, plan, port)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [0, 0]
    states = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    trained(tmp_path / "alone", plan)
    alone, _ = read_weights(folder(tmp_path / "alone") / "model.safetensors")
    together, _ = read_weights(folder(tmp_path) / "model.safetensors")
    start = Plain().state_dict()
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, atol=1e-4, rtol=1e-3)
        assert not torch.equal(tensor, start[name])


def test_accumulated_parts_train_like_the_whole_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SupervisedMethod, "build_student", classmethod(lambda cls, plan: Plain()))
    for parts in (1, 4):
        trained(tmp_path / str(parts), make_plan(train=BARE | {"accumulate": parts}))
    whole, accumulated = (read_weights(folder(tmp_path / name) / "model.safetensors")[0] for name in ("1", "4"))
    for name, tensor in whole.items():
        torch.testing.assert_close(accumulated[name], tensor, atol=1e-5, rtol=1e-4)


def test_a_student_can_start_from_a_file(tmp_path: Path) -> None:
    trained(tmp_path, make_plan())
    weights = "results/runs/invented/seed0/model.safetensors"
    method = run.build_method(make_plan(model={"weights": weights}), 1, tmp_path)
    tensors, _ = read_weights(tmp_path / weights)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in method.student.state_dict().items())


def test_validation_counts_every_labelled_pixel_once() -> None:
    plan = make_plan(train={"batch": 5})
    session = run.open_session(plan, 0, Path("nowhere"), "f", torch.device("cpu"), World(0, 1, 0))
    confusion = loop.validate(session)
    label = InventedStore().arrays["label"][InventedStore().select("val")]
    assert confusion.sum(axis=1).tolist() == [int((label == value).sum()) for value in range(4)]
    assert session.method.training


def test_validation_leaves_out_what_is_not_scored() -> None:
    session = run.open_session(make_plan(unscored=["grass"]), 0, Path("nowhere"), "f", torch.device("cpu"), World(0, 1, 0))
    part = loop.validate(session)
    session.method.plan["unscored"] = []  # type: ignore[index]
    whole = loop.validate(session)
    assert (part == whole[[0, 2, 3]][:, [0, 2, 3, 1]]).all()
    # class 0: 3 / (3 + 1 + 2), class 1: 4 / (4 + 1); what is called the unscored class is wrong, and no class of its own
    assert loop.mean_iou(np.array([[3, 0, 2], [1, 4, 0]])) == pytest.approx((3 / 6 + 4 / 5) / 2)


def test_mean_iou_by_hand() -> None:
    # class 0: 3 / (3 + 1), class 1: 4 / (4 + 1), class 2 is absent
    assert loop.mean_iou(np.array([[3, 0, 0], [1, 4, 0], [0, 0, 0]])) == pytest.approx((3 / 4 + 4 / 5) / 2)
