"""params.yaml, read and checked before any rule exists, and what the rules look up in it."""

from snakemake.exceptions import WorkflowError

from georelay import rows as parameters
from georelay.errors import UserError
from georelay.params import load_params
from georelay.plan import rule_digest
from georelay.reference import reference_name
from georelay.report.gallery import FIGURES

try:
    PARAMS = load_params()
    ROWS = {row.name: row for row in parameters.rows(PARAMS, active=False)}
    STUDIES = parameters.studies(PARAMS)
    LESSONS = {name: parameters.teacher_row(PARAMS, name) for name in PARAMS.teachers}
except UserError as error:
    raise WorkflowError(str(error))

ACTIVE = PARAMS.active


wildcard_constraints:
    source="|".join(PARAMS.sources),
    task="|".join(PARAMS.tasks),
    teacher="|".join(PARAMS.teachers),
    experiment="|".join(ROWS),
    study="|".join(STUDIES),
    seed=r"\d+",


def digest_of(stage):
    """For `params:`: what a job depends on beside its input files (settings, code, library versions)."""

    def look_up(wildcards):
        row = ROWS[wildcards.experiment] if "experiment" in wildcards.keys() else None
        return rule_digest(PARAMS, stage, row, *wildcards[:1] if row is None else [])

    return look_up


def receipt_of(wildcards):
    return f"data/raw/{PARAMS.tasks[wildcards.task].source}/receipt.json"


def card_of(wildcards):
    return f"results/tiles/{ROWS[wildcards.experiment].task}.json"


def tiles_of(wildcards):
    return card_of(wildcards).replace(".json", ".zarr.zip")


def lesson_of(wildcards):
    """The card of the tiles that a teacher of our own is taught on; nothing for one that comes trained."""
    row = LESSONS[wildcards.teacher]
    return [f"results/tiles/{row.task}.json"] if row else []


def teachers_of(wildcards):
    """What a row's plan reads of its teachers: their cards, and those of their stored features."""
    row = ROWS[wildcards.experiment]
    cards = expand("results/teachers/{teacher}.json", teacher=row.teachers)
    cached = row.teachers if row.teacher_view == "cached" else []
    return cards + expand(
        "results/features/{task}--{teacher}.json", task=row.task, teacher=cached
    )


def taught_of(wildcards):
    """What a row's runs read of its teachers: stored features, or weights."""
    row = ROWS[wildcards.experiment]
    if row.teacher_view == "cached":
        pattern = "results/features/{task}--{teacher}.zarr.zip"
    else:
        pattern = "results/teachers/{teacher}.safetensors"
    return expand(pattern, task=row.task, teacher=row.teachers)


def shares_a_process(name):
    return ACTIVE.together and name in ACTIVE.experiments


def other_seeds(wildcards):
    """What the first seed of a row trains beside its own; no parameter, for a run does not depend on it."""
    first, *others = ACTIVE.seeds
    shared = shares_a_process(wildcards.experiment) and int(wildcards.seed) == first
    return f" --ahead {' '.join(map(str, others))}" if shared and others else ""


def first_of_its_row(wildcards):
    """The other seeds wait for the first one, which leaves their runs in the cache."""
    first, *others = ACTIVE.seeds
    waits = shares_a_process(wildcards.experiment) and int(wildcards.seed) in others
    return (
        [f"results/runs/{wildcards.experiment}/seed{first}/model.safetensors"]
        if waits
        else []
    )


def row_texts(study):
    """Names, reasons and parents as the table prints them: a change of wording redraws the table alone."""
    return [(name, ROWS[name].why, ROWS[name].parent) for name in STUDIES[study]]


def scores_of(wildcards):
    """The scores of a study: of its active rows, or of all where none is active."""
    names = STUDIES[wildcards.study]
    chosen = [name for name in names if name in ACTIVE.experiments] or names
    return expand(
        "results/scores/{experiment}/seed{seed}.json",
        experiment=chosen,
        seed=parameters.seeds_of(PARAMS, wildcards.study),
    )


def plans_of_reference(wildcards):
    return expand(
        "results/plans/{experiment}.json",
        experiment=STUDIES[reference_name(wildcards.study)],
    )
