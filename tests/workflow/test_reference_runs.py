"""`snakemake reference`: every row of a study again, longer and on more seeds, and tables that no failure deletes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from checkouts import Checkout, make_checkout

from georelay.reading import load_yaml

pytestmark = pytest.mark.engine

ROW, SEEDS = "clouds-student", (0, 1)
TABLE, NOTE = "results/reference/clouds.csv", "results/published/clouds.json"
RUNS = {f"{stage} {ROW}-reference {seed}" for stage in ("train", "predict", "evaluate") for seed in SEEDS}
WORK = {"fetch clouds", "tile clouds", f"plan {ROW}-reference", "compare clouds-reference", "publish clouds"} | RUNS


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with one row in which Snakemake has made the reference, though a published one came with the clone."""
    checkout = make_checkout(tmp_path_factory.mktemp("reference"), tmp_path_factory.mktemp("cache"), [0])
    keep_one_row(checkout.folder / "params.yaml")
    assert (checkout.folder / TABLE).is_file() and checkout.planned_commands("reference") == WORK
    checkout.run("snakemake", "--cores", "2", "reference")
    return checkout


def keep_one_row(path: Path) -> None:
    values = load_yaml(path)
    values["experiments"] = {ROW: values["experiments"][ROW]}
    values["compare"]["gaps"] = {}
    values["active"] |= {"experiments": [ROW], "teachers": [], "features": {}, "tasks": ["clouds"], "sources": ["clouds"]}
    values["reference"] = {"studies": ["clouds"], "seeds": list(SEEDS), "times": 1}
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def committed(checkout: Checkout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((checkout.folder / "results/reference").glob("clouds*"))}


def test_the_published_files_are_there_small_and_not_ignored(published: Checkout) -> None:
    files = committed(published)
    assert set(files) == {"clouds.csv", "clouds.md", "clouds-forest.png", "clouds-curves.png", "clouds-panel.png"}
    assert max(map(len, files.values())) < 400_000
    assert files["clouds.csv"].decode().splitlines()[1].startswith(f"{ROW},,") and b"2 seeds a row" in files["clouds.md"]
    assert TABLE in published.run("git", "status", "--porcelain", "--untracked-files=all")


def test_a_second_time_has_nothing_to_do(published: Checkout) -> None:
    assert published.planned_commands("reference") == set()


def test_what_runs_by_default_knows_nothing_of_it(published: Checkout) -> None:
    commands = published.planned_commands("-F") | published.dvc_commands("--dry", "-f")
    assert not [command for command in commands if "reference" in command or "publish" in command]


def test_longer_rows_and_more_seeds_run_what_they_must(published: Checkout) -> None:
    with published.changed("reference", to={"studies": ["clouds"], "seeds": [*SEEDS, 2], "times": 2}):
        new = {f"{stage} {ROW}-reference 2" for stage in ("train", "predict", "evaluate")}
        assert published.planned_commands("reference") == WORK - {"fetch clouds", "tile clouds"} | new


def test_as_long_as_the_plain_row_its_runs_come_from_the_cache(published: Checkout) -> None:
    published.run("snakemake", "--cores", "1", f"results/maps/{ROW}/seed0/maps.json")
    weights = published.weights()
    assert (
        weights[f"results/runs/{ROW}/seed0/model.safetensors"] == weights[f"results/runs/{ROW}-reference/seed0/model.safetensors"]
    )
    for stage in ("train", "predict"):
        assert "restored from the cache" in (published.folder / f"results/logs/{stage}/{ROW}/seed0.log").read_text()


def test_a_failing_job_leaves_the_committed_files(published: Checkout, tmp_path: Path) -> None:
    before = committed(published)
    (tmp_path / "georelay").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "georelay").chmod(0o755)
    path = f"PATH={tmp_path}:{published.environment['PATH']}"
    output = published.run("env", path, "snakemake", "--cores", "1", "-f", NOTE, expect=1)
    assert "rule publish" in output and committed(published) == before
