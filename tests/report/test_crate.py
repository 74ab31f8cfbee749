"""A packed study: everything it names is in it with its digest, every reference leads somewhere, and the bytes stay the same."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evidence import Project, finish_study
from georelay.errors import UserError
from georelay.files import write_json
from georelay.report.compare import compare_study
from georelay.report.crate import write_crate
from georelay.report.crate_graph import METADATA, README
from georelay.report.packed import Study

SEEDS = [0, 1]
PEOPLE = """
cff-version: 1.2.0
title: "what it is"
license: Apache-2.0
version: 0.1.0
authors:
  - {family-names: Curie, given-names: Marie, orcid: "https://orcid.org/0000-0002-1825-0097"}
  - name: "The others"
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    rows = finish_study(Project(tmp_path, size=32, scenes=2), "sky", {"sky-student": 0.4, "sky-method": 0.1}, SEEDS)
    compare_study("sky", rows, SEEDS, tmp_path, resamples=20, seed=0)
    (tmp_path / "CITATION.cff").write_text(PEOPLE)
    (tmp_path / "Snakefile").write_text("rule all:\n")
    (tmp_path / "params.yaml").write_text("active: {}\n")
    (tmp_path / "results/figures").mkdir(exist_ok=True)
    for name in ("sky-panel", "sky-many-panel"):  # the second one is of another study
        (tmp_path / f"results/figures/{name}.png").write_bytes(b"a picture")
    (tmp_path / "results/runs/sky-method/seed0/model.safetensors").write_bytes(b"weights")
    write_json(tmp_path / "results/tiles/sky.json", {"sha256": "5" * 64})
    return Study("sky", {row["experiment"]: row["why"] for row in rows}, SEEDS, tmp_path)


def packed(study: Study) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
    """Entities by their id, and the files of a crate."""
    target = study.root / "results/crates/sky.zip"
    write_crate(study, target)
    with zipfile.ZipFile(target) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return {entity["@id"]: entity for entity in json.loads(files[METADATA])["@graph"]}, files


def references(value: Any) -> Iterator[str]:
    """Every id that a value of an entity points to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        yield value["@id"]


def is_file(entity: dict[str, Any]) -> bool:
    return "File" in entity["@type"]


def test_every_file_is_described_with_its_digest_and_every_description_has_its_file(study: Study) -> None:
    entities, files = packed(study)
    described = {name: entity for name, entity in entities.items() if is_file(entity)}
    assert set(described) == set(files) - {METADATA}
    assert {part["@id"] for part in entities["./"]["hasPart"]} == set(described)
    for name in set(described) - {README}:
        assert described[name]["sha256"] == hashlib.sha256(files[name]).hexdigest()
        assert described[name]["contentSize"] == str(len(files[name]))


def test_every_reference_leads_to_an_entity_or_to_the_specification(study: Study) -> None:
    entities, _ = packed(study)
    found = {name for entity in entities.values() for value in entity.values() for name in references(value)}
    assert found - set(entities) == {"https://w3id.org/ro/crate/1.1"}


def test_what_a_study_is_made_of_is_in_it_and_what_is_large_is_not(study: Study) -> None:
    _, files = packed(study)
    runs = [f"results/runs/{row}/seed{seed}/plan.json" for row in study.rows for seed in SEEDS]
    assert {"Snakefile", "params.yaml", "data/raw/sky/receipt.json", "results/tiles/sky.json", *runs} <= set(files)
    assert {"results/plans/sky-method.json", "results/figures/sky-panel.png", "results/tables/sky.csv"} <= set(files)
    assert not [name for name in files if name.endswith((".tif", ".safetensors", ".zip")) or "many" in name]
    assert files[README] == (study.root / "results/tables/sky.md").read_bytes()


def test_each_run_says_from_what_it_made_what(study: Study) -> None:
    entities, _ = packed(study)
    run = entities["#train-sky-method-seed0"]
    assert run["object"] == {"@id": "results/plans/sky-method.json"}
    assert run["description"] == "10% of the pixels wrong"
    assert {"@id": "results/scores/sky-method/seed0.json"} in run["result"]
    assert entities["#weights-sky-method-seed0"]["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert "#weights-sky-method-seed1" not in entities, "there are none to tell the digest of"
    whole = entities["#study-sky"]
    assert whole["instrument"] == entities["./"]["mainEntity"] == {"@id": "Snakefile"}
    assert {"@id": "results/tables/sky.csv"} in whole["result"] and {"@id": "data/raw/sky/receipt.json"} in whole["object"]
    assert len(entities["./"]["mentions"]) == 1 + 2 * len(SEEDS)


def test_people_licence_and_versions_stand_in_it(study: Study) -> None:
    entities, _ = packed(study)
    root = entities["./"]
    assert root["datePublished"] == "2023-11-14"
    assert root["license"] == {"@id": "https://spdx.org/licenses/Apache-2.0"}
    people = [entities[author["@id"]] for author in root["author"]]
    assert [(person["@type"], person["name"]) for person in people] == [
        ("Person", "Marie Curie"),
        ("Organization", "The others"),
    ]
    assert entities["https://pypi.org/project/torch/"]["softwareVersion"] == "2.13.0"
    assert entities["https://www.python.org/"]["softwareVersion"] == "3.11.7"


def test_the_same_files_give_the_same_bytes(study: Study) -> None:
    target = study.root / "results/crates/sky.zip"
    packed(study)
    before = target.read_bytes()
    for path in study.files():
        os.utime(study.root / path, (1, 1))
    packed(study)
    assert target.read_bytes() == before


def test_a_study_that_was_not_compared_is_refused(study: Study) -> None:
    (study.root / "results/tables/sky.md").unlink()
    with pytest.raises(UserError, match=r"sky\.md") as refusal:
        packed(study)
    assert "georelay compare sky" in str(refusal.value)
    assert not (study.root / "results/crates/sky.zip").exists()
