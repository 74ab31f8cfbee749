"""georelay as Snakemake rules: `snakemake --cores all` runs what params.yaml marks active.

No science and no numbers here: every rule calls one command of the package, the same string as in dvc.yaml.
Other targets: `snakemake study-<name>` (one study, active or not), `snakemake reference` (the published tables).
"""

from snakemake.utils import min_version

min_version("9.15")


# `make setup` makes the one environment of all stages. This image is looked at only under --sdm apptainer (untried):
# the Python that requirements.lock was made for.
container: "docker://python:3.11-slim"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/evidence.smk"


rule all:
    default_target: True
    input:
        "results/report.html",
        "results/track.json",


rule reference:
    input:
        expand("results/published/{study}.json", study=PARAMS.reference.studies),
