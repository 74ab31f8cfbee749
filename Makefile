# Everything a newcomer types. `make help` lists it.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
CORES ?= all
STUDY ?= clouds
# Snakemake looks at all ready jobs anew once a timespan for every job that has finished. With its default of 1 s the main
# process took half a core after 180 jobs, with 10 s a twentieth after 60. It may take one timespan to end.
SNAKEMAKE := snakemake --cores $(CORES) --max-jobs-per-timespan 500/5s
SHELL := /bin/bash
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# uv does not read pip's own setting for a folder of wheels.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.DEFAULT_GOAL := help
.PHONY: help setup run quick reference test lint report crate ui bench plan adopt-dvc adopt-snakemake clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv and install the locked versions

$(READY): requirements.lock pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --allow-existing --python "$$(command -v $(PYTHON))" $(VENV) && \
		uv pip install --compile-bytecode --python $(VENV)/bin/python -r requirements.lock -e .; \
	else \
		$(PYTHON) -m venv $(VENV) && $(VENV)/bin/python -m pip install -r requirements.lock -e .; \
	fi
	@touch $@

run: setup ## run what params.yaml marks active: worlds, tiles, students, maps, tables, report, MLflow
	$(SNAKEMAKE)

quick: setup ## one study, crosscity, with a page of its own: results/report-crosscity.html
	$(SNAKEMAKE) results/report-crosscity.html

reference: setup ## results/reference: the published tables, every row longer and on more seeds (params.yaml: reference)
	$(SNAKEMAKE) reference

test: setup ## run the tests
	pytest -n 2 --dist loadfile tests

lint: setup ## ruff, mypy, snakefmt, snakemake --lint
	ruff check src tests benchmarks examples
	ruff format --check src tests benchmarks examples
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

plan: setup ## show what would run, why, and what it costs; then Snakemake's own count of its jobs
	@georelay plan --estimate $(if $(filter all,$(CORES)),,--cores $(CORES))
	@snakemake -n --quiet rules --cores $(CORES)

report: setup ## results/report.html, and Snakemake's own report.zip with provenance
	snakemake --cores $(CORES) results/report.html
	snakemake --report report.zip

crate: setup ## results/crates/$(STUDY).zip: a study as an RO-Crate, for others (make crate STUDY=clouds)
	georelay crate $(STUDY)

ui: setup ## MLflow on http://127.0.0.1:5000
	@test -e results/mlflow/mlflow.db || georelay track || { rm -f results/mlflow/mlflow.db; exit 2; }
	@echo "open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --host 127.0.0.1 --port 5000 --workers 1 \
		--backend-store-uri sqlite:///results/mlflow/mlflow.db --artifacts-destination results/mlflow/artifacts

bench: setup ## measure; each file prints one JSON object as its last line
	snakemake --cores $(CORES) results/teachers/{attributes,restoration}{,-untrained}.json \
		results/scores/distil-{attributes,online}/seed{0,1,2,3,4}.json results/tiles/{clouds,grass,crosscity,allweather}.json
	@for file in benchmarks/*.py; do echo "== $$file"; python $$file || exit 1; done

adopt-dvc: setup ## DVC takes over what Snakemake has made
	@snakemake -n --cores 1 2>&1 | grep -q "Nothing to be done" || \
		{ echo "Snakemake has work left: run \`make run\` first"; exit 2; }
	dvc commit -f

adopt-snakemake: setup ## Snakemake takes over what DVC has made or checked out
	@dvc status -q || { echo "DVC is not up to date: run \`dvc repro\` or \`dvc checkout\` first"; exit 2; }
	snakemake --touch --forceall --cores 1

clean: ## delete results and drawn rasters; the cache stays (`georelay cache prune` empties it)
	find results -mindepth 1 -maxdepth 1 ! -name README.md ! -name reference -exec rm -rf {} +
	rm -rf data/raw report.zip
