"""Tables, figures, the report and MLflow."""


rule compare:
    input:
        scores_of,
    output:
        report(
            "results/tables/{study}.csv",
            caption="../report/table.rst",
            category="{study}",
            labels={"study": "{study}", "figure": "Table"},
        ),
        multiext("results/tables/{study}", ".md", "-quality.csv"),
        [
            report(
                f"results/figures/{{study}}-{kind}.png",
                caption=f"../report/{kind}.rst",
                category="{study}",
                labels={"study": "{study}", "figure": figure.title},
            )
            for kind, figure in FIGURES.items()
        ],
    log:
        "results/logs/compare/{study}.log",
    benchmark:
        "results/benchmarks/compare/{study}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        digest=rule_digest(PARAMS, "compare"),
        settings=PARAMS.compare.model_dump(exclude={"gaps"}),
        bounds=lambda wildcards: list(
            parameters.bounds_of(PARAMS, wildcards.study) or ()
        ),
        rows=lambda wildcards: row_texts(wildcards.study),
    shell:
        "georelay compare {wildcards.study}"


rule publish:
    input:
        plans_of_reference,
        multiext("results/tables/{study}-reference", ".csv", ".md"),
        [
            f"results/figures/{{study}}-reference-{kind}.png"
            for kind, figure in FIGURES.items()
            if figure.published
        ],
    output:
        # Not the committed files themselves: those are there in a fresh clone, and must survive a job that fails.
        "results/published/{study}.json",
    log:
        "results/logs/publish/{study}.log",
    benchmark:
        "results/benchmarks/publish/{study}.tsv"
    wildcard_constraints:
        study="|".join(PARAMS.reference.studies),
    threads: 1
    resources:
        mem_mb=1000,
    params:
        digest=rule_digest(PARAMS, "publish"),
        seeds=PARAMS.reference.seeds,
    shell:
        "georelay publish {wildcards.study}"


rule report:
    input:
        expand("results/tables/{study}.csv", study=ACTIVE.studies),
        "results/track.json",
    output:
        report(
            "results/report.html",
            caption="../report/report.rst",
            category="All studies",
            labels={"study": "all", "figure": "The report"},
        ),
    log:
        "results/logs/report/all.log",
    benchmark:
        "results/benchmarks/report.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        digest=rule_digest(PARAMS, "report"),
    shell:
        "georelay report"


rule report_of_one:
    input:
        "results/tables/{study}.csv",
    output:
        "results/report-{study}.html",
    log:
        "results/logs/report/{study}.log",
    benchmark:
        "results/benchmarks/report/{study}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        digest=rule_digest(PARAMS, "report"),
    shell:
        "georelay report {wildcards.study}"


rule track:
    input:
        expand("results/tables/{study}.csv", study=ACTIVE.studies),
    output:
        "results/track.json",
    log:
        "results/logs/track/all.log",
    benchmark:
        "results/benchmarks/track.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        mlflow_writer=1,
    params:
        digest=rule_digest(PARAMS, "track"),
    shell:
        "georelay track"


for study in STUDIES:

    rule:
        name:
            f"study-{study}"
        input:
            f"results/tables/{study}.csv",
