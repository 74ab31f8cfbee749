"""The training loop. It knows no method: streams in, one step of the method, a row of history out."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from georelay.batches.streams import Batch, Stream, Tiles
from georelay.methods.base import Batches, Method, predict
from georelay.models.device import memory_format
from georelay.models.ema import Average
from georelay.progress import Progress
from georelay.train.checkpoint import Checkpoint
from georelay.train.distributed import World
from georelay.train.history import History
from georelay.train.optimizer import Optimisers
from georelay.train.scored import scored_part

# Told of the rows of the history so far, after each step; it may look at them, and nothing else.
Listener = Callable[[Sequence[Mapping[str, float]]], None]
FLUSH_EVERY = 20  # steps between waits for a GPU; a CPU never has to be waited for


@dataclass
class Session:
    """All that a run holds while it trains."""

    label: str
    seed: int
    settings: Mapping[str, Any]
    method: Method
    optimisers: Optimisers
    average: Average | None
    streams: Mapping[str, Stream]
    validation: Tiles | None
    history: History
    checkpoint: Checkpoint
    device: torch.device
    world: World
    listener: Listener | None = None

    @property
    def exported(self) -> Any:
        """The student that is saved and scored: the averaged one where there is an average."""
        return self.average.network if self.average else self.method.exported

    def moved(self, batch: Batch) -> Batch:
        """A batch where and how the network wants it."""
        return batch.to(self.device, memory_format(self.settings))

    def state(self, step: int) -> dict[str, Any]:
        """Everything needed to go on at `step`; batches and random numbers follow from the seed and the step."""
        average = self.average.state_dict() if self.average else None
        state = {"step": step, "average": average, "rows": self.history.rows}
        return state | {"method": self.method.state_dict(), "optimisers": self.optimisers.state()}

    def resume(self) -> int:
        """Take up the state of an interrupted run, if there is one; the step to go on with."""
        state = self.checkpoint.load()
        if state is None:
            return 0
        self.method.load_state_dict(state["method"])
        self.optimisers.load(state["optimisers"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.history.rows = state["rows"]
        return int(state["step"])


def train(session: Session) -> int:
    """Run all steps that are left; their number."""
    first, steps = session.resume(), session.settings["steps"]
    session.method.train()
    if first and session.world.leads:
        print(f"{session.label}: resumed at step {first} of {steps}", file=sys.stderr, flush=True)
    with Progress(session.label, steps, "steps") as bar:
        bar.advance(first)
        for step in range(first, steps):
            _step(session, step)
            _keep_record(session, step, last=step == steps - 1)
            bar.advance(1, _note(session.history))
    return int(steps - first)


def _step(session: Session, step: int) -> None:
    # Dropout and the like draw from the global generator: it too becomes a function of (seed, step).
    torch.manual_seed(step_seed(session.seed, step, session.world.rank))
    rate = session.optimisers.set_rates(step)
    losses = session.method.step(_batches(session, step), step, session.optimisers)
    session.method.after_step(step)
    if session.average:
        session.average.update(session.method.student, step)
    session.history.add(step, rate, losses)


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of the global random generator for one step of one rank."""
    digest = hashlib.blake2b(f"step/{seed}/{step}/{rank}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")


def _batches(session: Session, step: int) -> list[Batches]:
    """The batch of every stream, moved to the device, in the parts of gradient accumulation."""
    count, world = session.settings["accumulate"], session.world
    cut = {
        name: session.moved(stream.batch(step, world.rank, world.size)).parts(count) for name, stream in session.streams.items()
    }
    return [{name: parts[part] for name, parts in cut.items()} for part in range(count)]


def _keep_record(session: Session, step: int, last: bool) -> None:
    settings, done = session.settings, step + 1
    scores, saves = last or done % settings["evaluate_every"] == 0, done % settings["checkpoint_every"] == 0
    if scores or saves or session.device.type == "cpu" or done % FLUSH_EVERY == 0:
        session.history.flush(session.label, session.world)
    if scores and session.validation is not None and session.world.leads:
        session.history.score(mean_iou(validate(session)))
    if session.listener and session.world.leads:
        session.listener(session.history.rows)
    if saves and not last and session.world.leads:
        session.checkpoint.save(session.state(done))


def _note(history: History) -> str:
    return f"loss {history.rows[-1]['loss']:.4f}" if history.rows else ""


@torch.no_grad()
def validate(session: Session) -> np.ndarray:
    """Integer confusion [scored truth, predicted] of the exported student on validation tiles; nothing is chosen by it."""
    tiles, size = session.validation, session.settings["batch"]
    assert tiles is not None
    student, classes = session.exported.eval(), len(session.method.plan["classes"])
    confusion = np.zeros((classes, classes), np.int64)
    for start in range(0, len(tiles), size):
        places = np.arange(start, min(start + size, len(tiles)))
        batch = session.moved(tiles.whole(places))
        with session.optimisers.autocast():
            chosen = predict(student, batch.image).argmax(dim=1)
        confusion += _confusion(batch.label, chosen, classes, tiles.ignore)
    session.method.train()
    plan = session.method.plan
    return scored_part(confusion, plan["classes"], plan.get("unscored", ()))


def _confusion(truth: Tensor, chosen: Tensor, classes: int, ignore: int) -> np.ndarray:
    counted = truth != ignore
    cells = (truth[counted] * classes + chosen[counted]).cpu()
    matrix: np.ndarray = torch.bincount(cells, minlength=classes * classes).view(classes, classes).numpy()
    return matrix


def mean_iou(confusion: np.ndarray) -> float:
    """Mean over the classes that occur in truth or prediction, and are scored: those that have a row."""
    hit = np.diag(confusion)
    union = confusion.sum(0)[: len(hit)] + confusion.sum(1) - hit
    return float((hit[union > 0] / union[union > 0]).mean()) if union.any() else float("nan")
