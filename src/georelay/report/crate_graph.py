"""The JSON-LD of a study's crate: RO-Crate 1.1 by the Workflow Run Crate profile 0.5."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from georelay.files import sha256_file
from georelay.report.packed import SETTINGS, WORKFLOW, Study
from georelay.report.provenance import UNKNOWN, Checkout, read_checkout, today

METADATA, README = "ro-crate-metadata.json", "README.md"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    WORKFLOW_CRATE: "Workflow RO-Crate",
}
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
PROGRAM = "#georelay"
ELSEWHERE = {"python": "https://www.python.org/"}  # what is not on PyPI
FORMATS = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".png": "image/png",
    ".yaml": "application/yaml",
    ".cff": "application/yaml",
    ".smk": "text/plain",
    "": "text/plain",
}
# What a file is, by the folder it lies in.
SAID = {
    "results/tables": "the table of the study: means, paired differences, intervals",
    "results/figures": "a figure of the study",
    "results/metrics": "a row's line of the table",
    "results/plans": "every number, class and digest that a row's runs depend on",
    "results/runs": "what a run left beside its weights",
    "results/scores": "scores and confusion matrices of a run's maps",
    "results/tiles": "what is in a tile store, with its digest",
    "results/teachers": "what a teacher is, with the digest of its weights",
    "results/features": "what is in a store of a teacher's features, with its digest",
    "results/maps": "digests of a run's maps",
    "data/raw": "every raster of a source, with size and digest",
}
Entity = dict[str, Any]


def graph_of(study: Study) -> Iterator[Entity]:
    """Every entity of the crate."""
    checkout, files = read_checkout(study.root), study.files()
    citation = yaml.safe_load((study.root / "CITATION.cff").read_text())
    yield from _about(study, files, citation, checkout)
    yield from _people(citation)
    yield from _software(study, citation, checkout)
    yield from _actions(study)
    for path in files:
        yield _file(path, study.root) | (_workflow(checkout) if path == WORKFLOW else {})


def _ids(names: Sequence[str | Path]) -> Any:
    """References; a single one stands alone, as RO-Crate would have it."""
    found = [{"@id": str(name)} for name in names]
    return found[0] if len(found) == 1 else found


def _about(study: Study, files: Sequence[Path], citation: Mapping[str, Any], checkout: Checkout) -> Iterator[Entity]:
    """The crate as a whole, its profiles and its licence."""
    licence = f"https://spdx.org/licenses/{citation['license']}"
    yield {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": _ids([SPECIFICATION, WORKFLOW_CRATE]),
        "about": {"@id": "./"},
    }
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": f"georelay study {study.name}",
        "description": f"An ablation study of {len(study.rows)} rows, seeds {', '.join(map(str, study.seeds))}: "
        + "plans, scores, table and figures. Rasters, tiles, weights and maps are named by their digests; "
        + "receipts and cards name the licence of the data.",
        "datePublished": _date(checkout),
        "license": {"@id": licence},
        "author": _ids([person["@id"] for person in _people(citation)]),
        "conformsTo": _ids(list(PROFILES)),
        "mainEntity": {"@id": str(WORKFLOW)},
        "hasPart": _ids([README, *files]),
        "mentions": _ids([_study_action(study), *(_action(row, seed) for row, seed in study.runs())]),
    }
    yield {"@id": licence, "@type": "CreativeWork", "name": citation["license"], "identifier": citation["license"]}
    for uri, name in PROFILES.items():
        yield {"@id": uri, "@type": "CreativeWork", "name": name, "version": uri.rsplit("/", 1)[1]}
    yield {"@id": README, "@type": "File", "name": README, "about": {"@id": "./"}, "encodingFormat": "text/markdown"}


def _people(citation: Mapping[str, Any]) -> Iterator[Entity]:
    """Authors as CITATION.cff has them: a person has a family name, anything else is an organisation."""
    for number, author in enumerate(citation["authors"]):
        name = author.get("name") or f"{author.get('given-names', '')} {author['family-names']}".strip()
        kind = "Person" if "family-names" in author else "Organization"
        yield {"@id": author.get("orcid", f"#author-{number}"), "@type": kind, "name": name}


def _software(study: Study, citation: Mapping[str, Any], checkout: Checkout) -> Iterator[Entity]:
    """The program, its commit, and the releases under which the runs were made, as their plans name them."""
    releases: dict[str, set[str]] = {}
    for plan in map(study.plan, study.rows):
        for name, release in plan["versions"].items():
            releases.setdefault(name, set()).add(release)
    where = {name: ELSEWHERE.get(name, f"https://pypi.org/project/{name}/") for name in sorted(releases)}
    yield {
        "@id": PROGRAM,
        "@type": "SoftwareApplication",
        "name": "georelay",
        "description": citation["title"],
        "softwareVersion": f"{citation['version']}, {_commit(checkout)}",
        "softwareRequirements": _ids(list(where.values())),
    }
    for name, url in where.items():
        release = ", ".join(sorted(releases[name]))
        yield {"@id": url, "@type": "SoftwareApplication", "name": name, "url": url, "softwareVersion": release}
    yield {"@id": SNAKEMAKE, "@type": "ComputerLanguage", "name": "Snakemake", "url": "https://snakemake.github.io/"}
    yield {"@id": BIOSCHEMAS, "@type": "CreativeWork", "name": "Bioschemas ComputationalWorkflow", "version": "1.0-RELEASE"}


def _date(checkout: Checkout) -> str:
    """The day of the commit, unless SOURCE_DATE_EPOCH names another: the day of packing would change the bytes."""
    return today() if "SOURCE_DATE_EPOCH" in os.environ or checkout.date == UNKNOWN else checkout.date


def _action(row: str, seed: int) -> str:
    return f"#train-{row}-seed{seed}"


def _study_action(study: Study) -> str:
    return f"#study-{study.name}"


def _actions(study: Study) -> Iterator[Entity]:
    """The workflow as it ran for the study, and every run of it. Restored results tell no time of day, so none is given."""
    yield {
        "@id": _study_action(study),
        "@type": "CreateAction",
        "name": f"snakemake study-{study.name}",
        "description": "all runs of the study, their table and its figures",
        "instrument": {"@id": str(WORKFLOW)},
        "object": _ids([SETTINGS, *study.inputs()]),
        "result": _ids(study.evidence()),
    }
    for row, seed in study.runs():
        yield {
            "@id": _action(row, seed),
            "@type": "CreateAction",
            "name": f"georelay train {row} {seed}",
            "description": study.rows[row],
            "instrument": {"@id": PROGRAM},
            "object": {"@id": f"results/plans/{row}.json"},
            "result": _ids([*study.run_files(row, seed), *(weights["@id"] for weights in _weights(study, row, seed))]),
        }
        yield from _weights(study, row, seed)


def _weights(study: Study, row: str, seed: int) -> Iterator[Entity]:
    """The trained student, which is not packed: its digest tells whether another one is the same."""
    path = Path("results/runs") / row / f"seed{seed}" / "model.safetensors"
    if (study.root / path).is_file():
        name = f"weights of {row}, seed {seed}"
        yield {
            "@id": f"#weights-{row}-seed{seed}",
            "@type": "CreativeWork",
            "name": name,
            "sha256": sha256_file(study.root / path),
        }


def _file(path: Path, root: Path) -> Entity:
    """A packed file, what it is, and its digest."""
    said = next((text for folder, text in SAID.items() if path.is_relative_to(folder)), f"{path.name} of the checkout")
    return {
        "@id": path.as_posix(),
        "@type": "File",
        "name": path.as_posix(),
        "description": said,
        "encodingFormat": FORMATS.get(path.suffix, "text/plain"),
        "contentSize": str((root / path).stat().st_size),
        "sha256": sha256_file(root / path),
    }


def _workflow(checkout: Checkout) -> Entity:
    return {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "georelay",
        "programmingLanguage": {"@id": SNAKEMAKE},
        "conformsTo": {"@id": BIOSCHEMAS},
        "version": _commit(checkout),
    }


def _commit(checkout: Checkout) -> str:
    return f"commit {checkout.commit}{', with uncommitted changes' if checkout.dirty else ''}"
