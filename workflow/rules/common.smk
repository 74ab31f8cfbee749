"""params.yaml, read and checked before any rule exists, and what the rules look up in it."""

from snakemake.exceptions import WorkflowError

from georelay import params as parameters
from georelay.errors import UserError
from georelay.plan import rule_digest

try:
    PARAMS = parameters.load_params()
    ROWS = {row.name: row for row in parameters.rows(PARAMS, active=False)}
    STUDIES = parameters.studies(PARAMS)
except UserError as error:
    raise WorkflowError(str(error))

ACTIVE = PARAMS.active
SEEDS = ACTIVE.seeds


wildcard_constraints:
    source="|".join(PARAMS.sources),
    task="|".join(PARAMS.tasks),
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


def row_texts(study):
    """Names, reasons and parents as the table prints them: a change of wording redraws the table alone."""
    return [(name, ROWS[name].why, ROWS[name].parent) for name in STUDIES[study]]


def scores_of(wildcards):
    """The scores of a study: of its active rows, or of all where none is active."""
    names = STUDIES[wildcards.study]
    chosen = [name for name in names if name in ACTIVE.experiments] or names
    return expand(
        "results/scores/{experiment}/seed{seed}.json", experiment=chosen, seed=SEEDS
    )
