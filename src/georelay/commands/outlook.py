"""Looking ahead and back without running anything: what would run, what it would cost, and why."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from typing import Any

from georelay.changes import plan_changes, same_maps, same_run
from georelay.commands.places import ROOT, Commands
from georelay.errors import UserError
from georelay.files import read_json
from georelay.params import load_params
from georelay.plan import make_plan
from georelay.rows import resolve, seeds_of, studies
from georelay.stages import RUNS, train_stage


def estimate(names: Sequence[str], cores: int | None) -> None:
    """Print what would run for these rows and studies, or for the active ones, and what it would cost."""
    from georelay.cache import Cache
    from georelay.estimate import guess, read_records, reasons, summary, table
    from georelay.outlook import look_ahead

    params = load_params()
    known = studies(params)
    for name in names:
        if name not in known:
            resolve(params, name)
    jobs = look_ahead(params, names, ROOT)
    records = read_records(ROOT, Cache.here(ROOT).entries())
    guesses = {job.label: guess(job, records) for job in jobs}
    free = shutil.disk_usage(ROOT).free
    print("\n".join([table(jobs, guesses), "", *summary(jobs, guesses, cores or os.cpu_count() or 1, free), *reasons(jobs)]))


def why(arguments: argparse.Namespace) -> None:
    """Say what has changed since the stored runs of a row were made."""
    from georelay.cache import Cache

    params, name = load_params(), arguments.experiment
    row = resolve(params, name)
    stored = {seed: _stored(name, seed) for seed in seeds_of(params, row.study)}
    try:
        now, cache = make_plan(params, row, ROOT), Cache.here(ROOT)
    except UserError as missing:
        if any(stored.values()):
            raise
        print(f"{name}: no stored run, and not yet all that it is made of: {missing}")
        return
    answers: dict[str, list[int]] = {}
    for seed, old in stored.items():
        kept = cache.find(str(train_stage(now, seed).key)) is not None
        answers.setdefault(_answer(old, now, kept), []).append(seed)
    for answer, seeds in answers.items():
        print(f"{name}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: {answer}")


def _stored(name: str, seed: int) -> dict[str, Any] | None:
    path = RUNS / name / f"seed{seed}" / "plan.json"
    return dict(read_json(path)) if path.is_file() else None


def _answer(old: dict[str, Any] | None, now: dict[str, Any], kept: bool) -> str:
    if old is not None and same_maps(old, now):
        return "nothing: the stored run is current"
    ahead = "in the cache: it will be restored" if kept else "to be trained"
    if old is None:
        return f"no stored run; {ahead}"
    touched = "only the maps are made again" if same_run(old, now) else f"the run of now is {ahead}"
    return "\n  ".join([touched, *map(str, plan_changes(old, now))])


COMMANDS: Commands = {why: ("experiment",)}
