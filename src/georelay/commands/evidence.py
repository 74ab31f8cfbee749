"""What is made of the runs: tables, figures, the page, MLflow."""

from __future__ import annotations

import argparse
import os

from georelay.commands.places import ROOT, Commands
from georelay.params import load_params
from georelay.progress import say
from georelay.reading import PARAMS, lookup
from georelay.reference import reference_name
from georelay.rows import active_studies, bounds_of, rows, seeds_of, study_rows
from georelay.stage import Stage, run_stage


def compare(arguments: argparse.Namespace) -> None:
    """Write the table and the figures of a study."""
    params, study = load_params(), arguments.study
    table, seeds = study_rows(params), seeds_of(params, study)
    lookup(table, study, f"{PARAMS}: experiments", "study")

    def compute() -> None:
        from georelay.report.compare import compare_study
        from georelay.report.figures import draw_study
        from georelay.report.metrics import write_metrics

        settings = params.compare
        sampling = {"resamples": settings.resamples, "seed": settings.seed}
        compare_study(study, table[study], seeds, ROOT, **sampling, bounds=bounds_of(params, study))
        write_metrics(study, ROOT)
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


def crate(arguments: argparse.Namespace) -> None:
    """Pack a study for others: results/crates/<study>.zip, an RO-Crate."""
    params, study = load_params(), arguments.study
    table = study_rows(params)
    lookup(table, study, f"{PARAMS}: experiments", "study")
    reasons = {row["experiment"]: row["why"] for row in table[study]}
    target = ROOT / "results/crates" / f"{study}.zip"

    def compute() -> None:
        from georelay.report.crate import write_crate
        from georelay.report.packed import Study

        write_crate(Study(study, reasons, seeds_of(params, study), ROOT), target)
        say(f"{target} written")

    run_stage(Stage("crate", study, compute))


def report(arguments: argparse.Namespace) -> None:
    """Write results/report.html from the tables, figures and plans of all active studies, or report-<study>.html of one."""
    params, study = load_params(), arguments.study
    if study:
        studies, seeds = {study: lookup(study_rows(params), study, f"{PARAMS}: experiments", "study")}, seeds_of(params, study)
    else:
        studies, seeds = active_studies(params), params.active.seeds

    def compute() -> None:
        from georelay.report.html import report_path, write_report

        bounds = {study: found for study in studies if (found := bounds_of(params, study))}
        write_report(studies, seeds, ROOT, report_path(ROOT, study), bounds, scenes=params.compare.scenes)

    run_stage(Stage("report", study or "", compute))


def track(arguments: argparse.Namespace) -> None:
    """Import all runs into MLflow; running it again changes nothing."""
    params = load_params()

    def compute() -> None:
        from georelay.track.mlflow import Study, track_runs

        bounds = {study: bounds_of(params, study) for study in active_studies(params)}
        studies = [Study(name, table, (bounds[name] or ("", None))[1]) for name, table in active_studies(params).items()]
        track_runs(studies, params.active.seeds, ROOT, os.environ.get("MLFLOW_TRACKING_URI"), params.compare.scenes)

    run_stage(Stage("track", "", compute))


COMMANDS: Commands = {compare: ("study",), publish: ("study",), crate: ("study",), report: ("study?",), track: ()}
