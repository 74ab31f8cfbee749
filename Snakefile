"""georelay as Snakemake rules: `snakemake --cores all` runs what params.yaml marks active.

No science and no numbers here: every rule calls one command of the package, the same string as in dvc.yaml.
Other targets: `snakemake study-<name>` (one study, active or not), `snakemake reference` (every embedded row).
"""

from snakemake.utils import min_version

min_version("9.15")


# One environment holds every stage (`make setup`); a container of it can be given with --sdm apptainer.
container: None


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/evidence.smk"


rule all:
    default_target: True
    input:
        "results/report.html",
        "results/track.json",
