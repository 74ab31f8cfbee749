"""Plans, training, maps, scores.

A row has a plan job of its own: Snakemake runs everything below a rewritten file again even where its bytes stayed the
same (snakemake#280), so one job for all plans would run all rows again when one of them changes.
"""


rule plan:
    input:
        card_of,
        teachers_of,
    output:
        "results/plans/{experiment}.json",
    log:
        "results/logs/plan/{experiment}.log",
    benchmark:
        "results/benchmarks/plan/{experiment}.tsv"
    threads: 1
    resources:
        mem_mb=500,
    params:
        digest=digest_of("plan"),
    shell:
        "georelay plan {wildcards.experiment}"


rule train:
    input:
        tiles_of,
        taught_of,
        plan="results/plans/{experiment}.json",
        before=ancient(first_of_its_row),
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
        ahead=other_seeds,
    params:
        digest=digest_of("train"),
    shell:
        "georelay train {wildcards.experiment} {wildcards.seed}{resources.ahead}"


rule predict:
    input:
        plan="results/plans/{experiment}.json",
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
        plan="results/plans/{experiment}.json",
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
        settings=PARAMS.evaluate.model_dump(),
    shell:
        "georelay evaluate {wildcards.experiment} {wildcards.seed}"
