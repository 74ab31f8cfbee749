"""The command line: one sub-command a stage, the same strings in the Snakefile and in dvc.yaml.

Heavy modules are imported inside the functions that need them: `georelay plan` must not wait for torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import georelay
from georelay.arguments import add_word
from georelay.errors import UserError
from georelay.files import digest, read_json, require_digest, sha256_file, write_json
from georelay.params import load_params
from georelay.plan import (
    card_path,
    device,
    features_key,
    features_path,
    make_plan,
    plan_path,
    predict_key,
    raw_folder,
    require_start,
    run_fingerprint,
    source_key,
    stage_code,
    task_key,
    teacher_key,
    teacher_path,
    write_plans,
)
from georelay.progress import say
from georelay.reading import PARAMS, lookup
from georelay.reference import reference_name
from georelay.rows import active_studies, bounds_of, resolve, resolve_teacher, rows, seeds_of, study_rows, teacher_row
from georelay.stage import Stage, run_stage

ROOT = Path(".")
GIGABYTE = 1_000_000_000


def fetch(arguments: argparse.Namespace) -> None:
    """Make the rasters of a source, or take them from a folder."""
    params = load_params()
    source = lookup(params.sources, arguments.source, f"{PARAMS}: sources", "source")

    def compute() -> None:
        from georelay.sources.catalog import fetch_source

        brought = None
        if source.kind != "synthetic":
            from georelay.download.bring import bring

            subset = source.subset or arguments.subset
            brought = bring(arguments.source, source, params.download, accept=arguments.accept_licence, subset=subset)
        fetch_source(arguments.source, source, Path("data/raw"), brought)

    # What lies in a folder of the user's is soon converted again; the cache would only hold it once more.
    key = digest(source_key(params, arguments.source)) if source.kind == "synthetic" else None
    run_stage(Stage("fetch", arguments.source, compute, [raw_folder(arguments.source)], key))


def tile(arguments: argparse.Namespace) -> None:
    """Cut the rasters of a task into one Zarr store."""
    params, name = load_params(), arguments.task
    task = lookup(params.tasks, name, f"{PARAMS}: tasks", "task")
    folder, card = raw_folder(task.source), card_path(name)
    for other in ("teachers", "features"):  # DVC wants to see the folders that plans may depend on, empty or not
        Path("results", other).mkdir(parents=True, exist_ok=True)
    receipt_digest = sha256_file(_existing(folder / "receipt.json", f"georelay fetch {task.source}"))
    store = card.with_suffix(".zarr.zip")

    def compute() -> None:
        from georelay.sources.receipt import Receipt
        from georelay.tiles.write import write_tiles

        receipt = Receipt.read(folder)
        receipt.require(folder)
        _require_all(receipt.brought, folder, params.sources[task.source])
        bounds = params.tiling
        facts = write_tiles(receipt, folder, name, task, store, memory_mb=bounds.memory_mb, workers=bounds.workers)
        write_json(card, {**facts, "receipt": receipt_digest})

    key = digest({**task_key(params, name), "receipt": receipt_digest})
    run_stage(Stage("tile", name, compute, [store, card], key))


def _require_all(brought: Mapping[str, Any], folder: Path, source: Any) -> None:
    """A first look is not taken for the whole."""
    if brought.get("subset") and not source.subset:
        hint = f"run `georelay fetch {folder.name}` for all of it, or set `subset: true` at params.yaml: sources.{folder.name}"
        raise UserError("holds only a small part, fetched with --subset", folder / "receipt.json", hint)


def teach(arguments: argparse.Namespace) -> None:
    """Make a teacher ready: teach it here, or fetch and check the weights of others."""
    params, name = load_params(), arguments.teacher
    lookup(params.teachers, name, f"{PARAMS}: teachers", "teacher")
    settings, row = resolve_teacher(params, name).model_dump(), teacher_row(params, name)
    facts = make_plan(params, row, ROOT) if row else None
    trained = run_fingerprint(facts, settings["taught"]["seed"]) if facts else None
    key = digest({**teacher_key(params, name), "run": trained})
    card = teacher_path(name)
    weights = card.with_suffix(".safetensors")

    def compute() -> None:
        if facts:
            require_digest(Path(facts["tiles"]["path"]), facts["tiles"]["sha256"], f"georelay tile {facts['task']}")
        from georelay.train.teach import teach as make_ready

        write_json(card, make_ready(name, settings, facts, ROOT, weights, key))

    run_stage(Stage("teach", name, compute, [weights, card], key))


def features(arguments: argparse.Namespace) -> None:
    """Compute a teacher's features of every tile of a task."""
    params, task, name = load_params(), arguments.task, arguments.teacher
    lookup(params.tasks, task, f"{PARAMS}: tasks", "task")
    lookup(params.teachers, name, f"{PARAMS}: teachers", "teacher")
    tiles = read_json(_existing(card_path(task), f"georelay tile {task}"))
    teacher = read_json(_existing(teacher_path(name), f"georelay teach {name}"))
    card = features_path(task, name)
    store = card.with_suffix(".zarr.zip")
    inputs = {"tiles": tiles["sha256"], "modalities": tiles["modalities"], "teacher": teacher, "device": device()}
    key = digest({**features_key(), **inputs})

    def compute() -> None:
        from georelay.teachers.features import compute_features

        write_json(card, compute_features(teacher, tiles, ROOT, store, key))

    run_stage(Stage("features", f"{task} {name}", compute, [store, card], key, card.stem))


def plan(arguments: argparse.Namespace) -> None:
    """Write results/plans: every number, class and digest that a row's runs depend on."""
    params = load_params()
    for name in arguments.experiments:
        resolve(params, name)
    subject = arguments.experiments[0] if len(arguments.experiments) == 1 else ""
    run_stage(Stage("plan", subject, lambda: say(f"{len(write_plans(params, ROOT, arguments.experiments))} plans written")))


def train(arguments: argparse.Namespace) -> None:
    """Train one row with one seed."""
    facts, seed = _current_plan(arguments, "train"), arguments.seed
    fingerprint = run_fingerprint(facts, seed)
    folder = _run_folder(arguments)

    def compute() -> None:
        require_digest(Path(facts["tiles"]["path"]), facts["tiles"]["sha256"], f"georelay tile {facts['task']}")
        for teacher, stored in facts["features"].items():
            require_digest(Path(stored["path"]), stored["sha256"], f"georelay features {facts['task']} {teacher}")
        require_start(facts)
        from georelay.track.live import listening
        from georelay.train.run import train_run

        with listening(load_params(), arguments.experiment, seed) as listener:
            train_run(facts, seed, ROOT, fingerprint, listener)

    names = ("history.csv", "metrics.json", "timing.json", "model.safetensors")
    run_stage(Stage("train", _subject(arguments), compute, [folder / name for name in names], fingerprint, _place(arguments)))
    write_json(folder / "plan.json", facts)  # not from the cache: it holds the row's name, which its results do not


def predict(arguments: argparse.Namespace) -> None:
    """Predict every test scene of one run as a georeferenced map."""
    facts = _current_plan(arguments, "predict")
    weights = _existing(_run_folder(arguments) / "model.safetensors", f"georelay train {_subject(arguments)}")

    def compute() -> None:
        from georelay.evaluate.predict import predict_run

        predict_run(facts, arguments.seed, ROOT)

    key = digest({**predict_key(facts), "weights": sha256_file(weights)})
    outputs = [Path("results/maps") / _place(arguments)]
    run_stage(Stage("predict", _subject(arguments), compute, outputs, key, _place(arguments)))


def evaluate(arguments: argparse.Namespace) -> None:
    """Score the maps of one run against the labels."""
    facts = _plan(arguments)

    def compute() -> None:
        from georelay.evaluate.scores import evaluate_run

        evaluate_run(facts, arguments.seed, ROOT)

    run_stage(Stage("evaluate", _subject(arguments), compute, place=_place(arguments)))


def compare(arguments: argparse.Namespace) -> None:
    """Write the table and the figures of a study."""
    params, study = load_params(), arguments.study
    table, seeds = study_rows(params), seeds_of(params, study)
    lookup(table, study, f"{PARAMS}: experiments", "study")

    def compute() -> None:
        from georelay.report.figures import draw_study
        from georelay.report.tables import compare_study

        settings = params.compare
        sampling = {"resamples": settings.resamples, "seed": settings.seed}
        compare_study(study, table[study], seeds, ROOT, **sampling, bounds=bounds_of(params, study))
        draw_study(study, table[study], seeds, ROOT, scenes=settings.scenes)

    run_stage(Stage("compare", study, compute))


def publish(arguments: argparse.Namespace) -> None:
    """Write results/reference: a study's tables and figures as they are committed."""
    params, study = load_params(), arguments.study
    lookup(dict.fromkeys(params.reference.studies), study, f"{PARAMS}: reference.studies", "study")
    names = [row.name for row in rows(params, reference_name(study), active=False)]

    def compute() -> None:
        from georelay.report.publish import publish_study

        publish_study(study, names, params.reference.seeds, ROOT)

    run_stage(Stage("publish", study, compute))


def report(arguments: argparse.Namespace) -> None:
    """Write results/report.html from the tables, figures and plans."""
    params = load_params()

    def compute() -> None:
        from georelay.report.html import write_report

        studies = active_studies(params)
        bounds = {study: found for study in studies if (found := bounds_of(params, study))}
        write_report(studies, params.active.seeds, ROOT, bounds)

    run_stage(Stage("report", "", compute))


def track(arguments: argparse.Namespace) -> None:
    """Import all runs into MLflow; running it again changes nothing."""
    params = load_params()

    def compute() -> None:
        from georelay.track.mlflow import Study, track_runs

        bounds = {study: bounds_of(params, study) for study in active_studies(params)}
        studies = [Study(name, table, (bounds[name] or ("", None))[1]) for name, table in active_studies(params).items()]
        track_runs(studies, params.active.seeds, ROOT, os.environ.get("MLFLOW_TRACKING_URI"), params.compare.scenes)

    run_stage(Stage("track", "", compute))


def inspect(arguments: argparse.Namespace) -> None:
    """Say what a folder of yours holds, and print settings for it."""
    from georelay.sources.inspect import inspect_folder

    print(inspect_folder(arguments.folder, arguments.sample), end="")


def schema(arguments: argparse.Namespace) -> None:
    """Write the JSON schema of params.yaml for editors."""
    from georelay.settings import Params

    write_json(Path("workflow/schemas/params.schema.json"), Params.model_json_schema())


def cache(arguments: argparse.Namespace) -> None:
    """Look at the cache, check it, or make it smaller."""
    from georelay.cache import Cache

    store = Cache.here()
    if arguments.action == "list":
        for entry in store.entries():
            print(f"{entry.size / 1e6:10.1f} MB {entry.seconds:8.1f} s  {entry.fingerprint[:12]}  {entry.label}")
        print(f"{sum(entry.size for entry in store.entries()) / 1e6:10.1f} MB in {store.folder}")
    elif arguments.action == "verify":
        damaged = store.verify()
        print(
            "\n".join([*(f"dropped, damaged: {label}" for label in damaged), f"{len(list(store.entries()))} entries are whole"])
        )
    else:
        print(f"{store.prune(int(arguments.keep * GIGABYTE)) / 1e6:.1f} MB freed")


def _plan(arguments: argparse.Namespace) -> dict[str, Any]:
    path = _existing(plan_path(arguments.experiment), f"georelay plan {arguments.experiment}")
    return dict(read_json(path))


def _current_plan(arguments: argparse.Namespace, stage: str) -> dict[str, Any]:
    """The plan, if it was made for the code that is about to run: its digest names the result."""
    facts = _plan(arguments)
    if facts["code"][stage] != stage_code(stage, facts["method"]):
        what = f"the plan was made by other code than what would {stage} now"
        raise UserError(what, plan_path(arguments.experiment), f"run `georelay plan {arguments.experiment}`")
    return facts


def _existing(path: Path, command: str) -> Path:
    if not path.exists():
        raise UserError("file is missing", path, f"`{command}` writes it")
    return path


def _subject(arguments: argparse.Namespace) -> str:
    return f"{arguments.experiment} {arguments.seed}"


def _place(arguments: argparse.Namespace) -> str:
    return f"{arguments.experiment}/seed{arguments.seed}"


def _run_folder(arguments: argparse.Namespace) -> Path:
    return Path("results/runs") / _place(arguments)


COMMANDS: dict[Callable[[argparse.Namespace], None], Sequence[str]] = {
    fetch: ("source",),
    tile: ("task",),
    teach: ("teacher",),
    features: ("task", "teacher"),
    plan: ("experiments*",),
    train: ("experiment", "seed"),
    predict: ("experiment", "seed"),
    evaluate: ("experiment", "seed"),
    compare: ("study",),
    publish: ("study",),
    report: (),
    track: (),
    inspect: ("folder",),
    schema: (),
    cache: ("action",),
}


def parser() -> argparse.ArgumentParser:
    """The command line as argparse sees it."""
    top = argparse.ArgumentParser(prog="georelay", description=georelay.__doc__)
    top.add_argument("--version", action="version", version=georelay.__version__)
    commands = top.add_subparsers(required=True, metavar="stage")
    for function, words in COMMANDS.items():
        command = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        command.set_defaults(function=function)
        for word in words:
            add_word(command, word)
    return top


def _refuse_foreign_code() -> None:
    """Under `dvc exp run --temp` an editable install would run another checkout's code on this one's files."""
    here, ours = Path("src/georelay").resolve(), Path(georelay.__file__).resolve().parent
    if here.is_dir() and here != ours:
        hint = f"set PYTHONPATH={here.parent}, or install this checkout: pip install -e ."
        raise UserError(f"this folder has its own src/georelay, but the code of {ours} is running", here, hint)


def _quiet_thread_pools() -> None:
    """One thread for numpy's libraries: two jobs of one thread beat one of two, and pools that spin slow both."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def main(words: Sequence[str] | None = None) -> int:
    """Run one sub-command; 2 for what a person can mend."""
    arguments = parser().parse_args(words)
    try:
        _refuse_foreign_code()
        _quiet_thread_pools()
        arguments.function(arguments)
    except UserError as error:
        print(f"georelay: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("georelay: interrupted; the same command goes on from where it can", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != 28:  # ENOSPC
            raise
        print(
            f"georelay: {error.filename or Path.cwd()}: the disk is full\n  free some space and run the same command again",
            file=sys.stderr,
        )
        return 2
    return 0
