"""Plans, training, maps, scores.

A plan is `ancient` for its runs: Snakemake would otherwise run everything below a rewritten plan again even where its
bytes stayed the same (snakemake#280). What matters of it stands in `params.digest` and in the tiles.
"""


rule plan:
    input:
        expand("results/tiles/{task}.json", task=ACTIVE.tasks),
    output:
        expand("results/plans/{experiment}.json", experiment=ACTIVE.experiments),
    log:
        "results/logs/plan/all.log",
    benchmark:
        "results/benchmarks/plan.tsv"
    threads: 1
    resources:
        mem_mb=500,
    params:
        digests=[
            rule_digest(PARAMS, "predict", ROWS[name]) for name in ACTIVE.experiments
        ],
    shell:
        "georelay plan"


rule plan_row:
    """The plan of a row that is not active: the same command, for that row alone."""
    input:
        card_of,
    output:
        "results/plans/{experiment}.json",
    log:
        "results/logs/plan/{experiment}.log",
    benchmark:
        "results/benchmarks/plan/{experiment}.tsv"
    wildcard_constraints:
        experiment="|".join(set(ROWS) - set(ACTIVE.experiments)) or "none",
    threads: 1
    resources:
        mem_mb=500,
    params:
        digest=digest_of("predict"),
    shell:
        "georelay plan {wildcards.experiment}"


rule train:
    input:
        tiles_of,
        plan=ancient("results/plans/{experiment}.json"),
    output:
        multiext(
            "results/runs/{experiment}/seed{seed}/",
            "model.safetensors",
            "history.csv",
            "metrics.json",
            "plan.json",
        ),
    log:
        "results/logs/train/{experiment}/seed{seed}.log",
    benchmark:
        "results/benchmarks/train/{experiment}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        digest=digest_of("train"),
    shell:
        "georelay train {wildcards.experiment} {wildcards.seed}"


rule predict:
    input:
        plan=ancient("results/plans/{experiment}.json"),
        weights="results/runs/{experiment}/seed{seed}/model.safetensors",
    output:
        "results/maps/{experiment}/seed{seed}/maps.json",
    log:
        "results/logs/predict/{experiment}/seed{seed}.log",
    benchmark:
        "results/benchmarks/predict/{experiment}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        digest=digest_of("predict"),
    shell:
        "georelay predict {wildcards.experiment} {wildcards.seed}"


rule evaluate:
    input:
        plan=ancient("results/plans/{experiment}.json"),
        maps="results/maps/{experiment}/seed{seed}/maps.json",
    output:
        multiext("results/scores/{experiment}/seed{seed}", ".json", ".csv"),
    log:
        "results/logs/evaluate/{experiment}/seed{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        digest=digest_of("evaluate"),
    shell:
        "georelay evaluate {wildcards.experiment} {wildcards.seed}"
