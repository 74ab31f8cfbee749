"""A row's plan, and what its runs do."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from georelay.commands.places import ROOT, Commands, existing
from georelay.errors import UserError
from georelay.files import read_json, remove, require_digest, sha256_file, write_json
from georelay.params import load_params
from georelay.plan import plan_path, require_start, run_fingerprint, stage_code, write_plans
from georelay.progress import say
from georelay.rows import resolve
from georelay.stage import Stage, run_stage
from georelay.stages import MAPS, RUNS, predict_stage, train_stage

# Where results lie on their way to the cache: beside their place, which is for their own stage to fill. No row has a point.
ASIDE = ".ahead"


def plan(arguments: argparse.Namespace) -> None:
    """Write results/plans: every number, class and digest that a row's runs depend on; or say what would run."""
    if arguments.estimate:
        from georelay.commands.outlook import estimate

        estimate(arguments.experiments, arguments.cores)
        return
    params = load_params()
    for name in arguments.experiments:
        resolve(params, name)
    subject = arguments.experiments[0] if len(arguments.experiments) == 1 else ""
    run_stage(Stage("plan", subject, lambda: say(f"{len(write_plans(params, ROOT, arguments.experiments))} plans written")))


def train(arguments: argparse.Namespace) -> None:
    """Train one row with one seed; keep its maps, and runs of other seeds, for their own stages while torch is there."""
    facts = _current_plan(arguments, "train", "predict")
    if arguments.ahead and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("several processes train one seed at a time", "--ahead", "leave it out under torchrun")
    others = [partial(_training, facts | {"experiment": facts["experiment"] + ASIDE}, seed) for seed in arguments.ahead]
    stage = _training(facts, arguments.seed)
    run_stage(replace(stage, ahead=(*stage.ahead, *others)))
    remove(RUNS / f"{facts['experiment']}{ASIDE}")
    # Not from the cache: it holds the row's name, which its results do not.
    write_json(_run_folder(facts, arguments.seed) / "plan.json", facts)


def _training(facts: dict[str, Any], seed: int) -> Stage:
    row = facts["experiment"].removesuffix(ASIDE)

    def compute() -> None:
        require_digest(Path(facts["tiles"]["path"]), facts["tiles"]["sha256"], f"georelay tile {facts['task']}")
        for teacher, stored in facts["features"].items():
            require_digest(Path(stored["path"]), stored["sha256"], f"georelay features {facts['task']} {teacher}")
        require_start(facts)
        import georelay.evaluate.predict  # noqa: F401  # now, as its code may change in hours of training
        from georelay.track.live import listening
        from georelay.train.run import train_run

        with listening(load_params, row, seed) as listener:
            train_run(facts, seed, ROOT, run_fingerprint(facts, seed), listener)

    maps = partial(_prediction, facts, seed, _maps_aside(row, seed))
    return replace(train_stage(facts, seed).doing(compute), subject=f"{row} {seed}", ahead=(maps,))


def predict(arguments: argparse.Namespace) -> None:
    """Predict every test scene of one run as a georeferenced map."""
    facts, seed = _current_plan(arguments, "predict"), arguments.seed
    for left in (_maps_aside(arguments.experiment, seed), _run_folder({"experiment": arguments.experiment + ASIDE}, seed)):
        remove(left)  # there if a training was killed while it made them
    run_stage(_prediction(facts, seed, MAPS / _place(arguments)))


def _prediction(facts: dict[str, Any], seed: int, target: Path) -> Stage:
    row = facts["experiment"].removesuffix(ASIDE)
    weights = existing(_run_folder(facts, seed) / "model.safetensors", f"georelay train {row} {seed}")

    def compute() -> None:
        from georelay.evaluate.predict import predict_run

        predict_run(facts, seed, ROOT, target)

    stage = predict_stage(facts, seed, sha256_file(weights)).doing(compute)
    return replace(stage, subject=f"{row} {seed}", outputs=[target])


def evaluate(arguments: argparse.Namespace) -> None:
    """Score the maps of one run against the labels."""
    facts, settings = _plan(arguments), load_params().evaluate

    def compute() -> None:
        from georelay.evaluate.scores import evaluate_run

        evaluate_run(facts, arguments.seed, ROOT, boundary=settings.boundary, bins=settings.bins)

    run_stage(Stage("evaluate", _subject(arguments), compute, place=_place(arguments)))


def _plan(arguments: argparse.Namespace) -> dict[str, Any]:
    path = existing(plan_path(arguments.experiment), f"georelay plan {arguments.experiment}")
    return dict(read_json(path))


def _current_plan(arguments: argparse.Namespace, *stages: str) -> dict[str, Any]:
    """The plan, if it was made for the code that is about to run: its digest names the result."""
    facts = _plan(arguments)
    for stage in stages:
        if facts["code"][stage] != stage_code(stage, facts["method"]):
            what = f"the plan was made by other code than what would {stage} now"
            raise UserError(what, plan_path(arguments.experiment), f"run `georelay plan {arguments.experiment}`")
    return facts


def _subject(arguments: argparse.Namespace) -> str:
    return f"{arguments.experiment} {arguments.seed}"


def _place(arguments: argparse.Namespace) -> str:
    return f"{arguments.experiment}/seed{arguments.seed}"


def _run_folder(facts: dict[str, Any], seed: int) -> Path:
    return RUNS.joinpath(facts["experiment"], f"seed{seed}")


def _maps_aside(row: str, seed: int) -> Path:
    return MAPS / row / f".seed{seed}-ahead"  # without a suffix, like the folder that it stands for


COMMANDS: Commands = {
    plan: ("experiments*",),
    train: ("experiment", "seed+"),
    predict: ("experiment", "seed"),
    evaluate: ("experiment", "seed"),
}
