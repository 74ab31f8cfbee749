"""Rasters and tiles."""


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
