"""One run: everything is built from the plan, trained or resumed, and written when it is whole."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from georelay.batches.streams import Store, Tiles, open_stream, open_tiles
from georelay.errors import UserError
from georelay.files import write_json, write_text
from georelay.methods.base import Method, input_bands, method_class, run_facts
from georelay.models.device import memory_format, prepare_torch
from georelay.models.ema import Average
from georelay.models.macs import count_macs
from georelay.models.weights import load_start, save_weights
from georelay.teachers.store import FeatureStore
from georelay.tiles.read import TileStore
from georelay.train.checkpoint import Checkpoint
from georelay.train.distributed import World, joined_world
from georelay.train.energy import Counter, counters_of, watched
from georelay.train.history import History
from georelay.train.loop import Listener, Session, step_seed, train
from georelay.train.memory import forget_peak, peak_mb
from georelay.train.optimizer import Optimisers


def train_run(plan: dict[str, Any], seed: int, root: Path, fingerprint: str, listener: Listener | None = None) -> None:
    """Train the plan with a seed, or go on where it was interrupted, and write results/runs/<experiment>/seed<k>."""
    settings = plan["settings"]["train"]
    device = prepare_torch(settings)
    forget_peak(device)
    with joined_world(device.type) as world:
        _require_shares(settings, world)
        session = open_session(plan, seed, root, fingerprint, device, world)
        session.listener = listener
        started, counters = time.monotonic(), counters_of(device) if world.size == 1 else []
        with watched(counters):
            done = train(session)
        if world.leads:
            timing = _timing(session, time.monotonic() - started, done) | {"joules": _joules(counters, done, settings["steps"])}
            _write(session, plan, run_folder(root, plan["experiment"], seed), timing)
            session.checkpoint.remove()


def run_folder(root: Path, experiment: str, seed: int) -> Path:
    """Where a run's files lie."""
    return root / "results" / "runs" / experiment / f"seed{seed}"


def open_session(plan: dict[str, Any], seed: int, root: Path, fingerprint: str, device: torch.device, world: World) -> Session:
    """Build everything that a run needs from its plan."""
    settings, store = plan["settings"]["train"], TileStore(root / plan["tiles"]["path"])
    method = build_method(plan, seed, root)
    features = {name: FeatureStore(root / facts["path"]) for name, facts in plan["features"].items()}
    streams = {name: open_stream(store, plan, name, seed, features, method.views.get(name, 0)) for name in method.streams}
    method.to(device=device).to(memory_format=memory_format(settings))  # type: ignore[call-overload]
    average = Average(method.student, settings["ema"]) if settings["ema"] else None
    return Session(
        label=f"train {plan['experiment']} seed {seed}",
        seed=seed,
        settings=settings,
        method=method,
        optimisers=Optimisers(method.parameter_groups(), settings, device, world, method.optimiser_settings()),
        average=average,
        streams=streams,
        validation=_validation(store, plan),
        history=History(),
        checkpoint=Checkpoint(root, fingerprint),
        device=device,
        world=world,
    )


def build_method(plan: dict[str, Any], seed: int, root: Path) -> Method:
    """The plan's method with its student, random by the seed or read from a file."""
    torch.manual_seed(step_seed(seed, -1, 0))  # every rank starts from the same weights
    kind = method_class(plan["method"])
    student = kind.build_student(plan)
    if weights := plan["settings"]["model"]["weights"]:
        load_start(root / weights, student)
    method = kind(plan, student)
    method.prepare(root)
    return method


def _validation(store: Store, plan: Mapping[str, Any]) -> Tiles | None:
    ids = store.select("val", plan["test_domain"])
    return open_tiles(store, plan, ids) if len(ids) else None


def _require_shares(settings: Mapping[str, Any], world: World) -> None:
    shares = world.size * settings["accumulate"]
    if settings["batch"] % shares:
        where = f"{world.size} processes, train.accumulate {settings['accumulate']}"
        raise UserError(f"train.batch {settings['batch']} does not divide by {shares}", where, "change one of them")


def _write(session: Session, plan: dict[str, Any], folder: Path, timing: dict[str, Any]) -> None:
    """The files of a finished run. The weights come last: where they are, the run is whole."""
    write_text(folder / "history.csv", session.history.text())
    write_json(folder / "metrics.json", _metrics(session))
    write_json(folder / "timing.json", timing)
    save_weights(folder / "model.safetensors", session.exported, run_facts(plan))


def _metrics(session: Session) -> dict[str, Any]:
    last = session.history.rows[-1]
    parameters = sum(parameter.numel() for parameter in session.exported.parameters())
    facts = {"steps": len(session.history.rows), "loss": last["loss"], "val_miou": last.get("val_miou")}
    return facts | {"parameters": parameters, "macs": _macs(session)}


def _macs(session: Session) -> int:
    """Multiply-accumulates of the student for one tile."""
    side = next(iter(session.streams.values())).tiles.side
    tile = torch.zeros(1, input_bands(session.method.plan), side, side)
    return count_macs(session.exported.eval(), tile.to(session.device, memory_format=memory_format(session.settings)))


def _joules(counters: Sequence[Counter], done: int, steps: int) -> float | None:
    """What the whole training used; None where that is not known, as of a run that was resumed."""
    return round(sum(counter.joules for counter in counters), 1) if counters and done == steps else None


def _timing(session: Session, seconds: float, steps: int) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if session.device.type == "cuda" else "cpu"
    peak = round(peak_mb(session.device), 1)
    return {"seconds": round(seconds, 3), "seconds_per_step": round(seconds / max(steps, 1), 5), "peak_mb": peak, "device": name}
