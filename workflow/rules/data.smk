"""Rasters, tiles, teachers and their features."""


rule fetch:
    output:
        "data/raw/{source}/receipt.json",
    log:
        "results/logs/fetch/{source}.log",
    benchmark:
        "results/benchmarks/fetch/{source}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        digest=digest_of("fetch"),
    shell:
        "georelay fetch {wildcards.source}"


rule tile:
    input:
        receipt_of,
    output:
        multiext("results/tiles/{task}", ".zarr.zip", ".json"),
    log:
        "results/logs/tile/{task}.log",
    benchmark:
        "results/benchmarks/tile/{task}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        digest=digest_of("tile"),
    shell:
        "georelay tile {wildcards.task}"


rule teach:
    input:
        lesson_of,
    output:
        multiext("results/teachers/{teacher}", ".safetensors", ".json"),
    log:
        "results/logs/teach/{teacher}.log",
    benchmark:
        "results/benchmarks/teach/{teacher}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        digest=digest_of("teach"),
    shell:
        "georelay teach {wildcards.teacher}"


rule features:
    input:
        "results/tiles/{task}.zarr.zip",
        "results/teachers/{teacher}.safetensors",
        cards=[
            "results/tiles/{task}.json",
            "results/teachers/{teacher}.json",
        ],
    output:
        multiext("results/features/{task}--{teacher}", ".zarr.zip", ".json"),
    log:
        "results/logs/features/{task}--{teacher}.log",
    benchmark:
        "results/benchmarks/features/{task}--{teacher}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        digest=digest_of("features"),
    shell:
        "georelay features {wildcards.task} {wildcards.teacher}"
