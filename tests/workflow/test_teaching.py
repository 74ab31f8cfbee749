"""A study with teachers under both engines: teach and features run, and a changed teacher runs again what it taught."""

from __future__ import annotations

import pytest
from checkouts import Checkout

pytestmark = pytest.mark.engine

TEACHERS = ("attributes", "restoration")
ROWS = ("distil-student", "distil-attributes", "distil-restoration")
EVIDENCE = {"compare landcover-teachers", "report", "track"}
LESSON = ("teachers", "restoration", "taught", "set", "masked")
# What stands on one of the teachers.
TAUGHT = {"teach restoration", "features landcover restoration"} | {"plan distil-restoration"}
TAUGHT |= {f"{stage} distil-restoration 0" for stage in ("train", "predict", "evaluate")}


def log(checkout: Checkout, name: str) -> str:
    return (checkout.folder / "results/logs" / f"{name}.log").read_text()


def products(checkout: Checkout) -> dict[str, bytes]:
    """The bytes of teachers, their features and the students."""
    paths = [path for kind in ("teachers", "features") for path in sorted((checkout.folder / "results" / kind).glob("*.*"))]
    return {path.name: path.read_bytes() for path in paths} | checkout.weights()


def test_both_engines_call_the_same_commands(taught_by_snakemake: Checkout) -> None:
    commands = taught_by_snakemake.planned_commands("-F")
    assert commands == taught_by_snakemake.dvc_commands("--dry", "-f")
    data = {f"{stage} {name}" for stage in ("fetch", "tile") for name in ("corpus", "landcover")}
    lessons = {f"teach {name}" for name in TEACHERS} | {f"features landcover {name}" for name in TEACHERS}
    runs = {f"{stage} {row} 0" for stage in ("train", "predict", "evaluate") for row in ROWS}
    assert commands == data | lessons | {f"plan {row}" for row in ROWS} | runs | EVIDENCE


def test_both_engines_give_the_same_bytes(taught_by_snakemake: Checkout, taught_by_dvc: Checkout) -> None:
    assert len(products(taught_by_snakemake)) == 2 * 2 + 2 * 2 + 3
    assert products(taught_by_snakemake) == products(taught_by_dvc)


def test_a_second_run_has_nothing_to_do(taught_by_snakemake: Checkout) -> None:
    assert taught_by_snakemake.planned_jobs() == set()


def test_dvc_takes_over_from_snakemake(taught_by_snakemake: Checkout) -> None:
    taught_by_snakemake.run("make", "adopt-dvc", "READY=params.yaml")
    assert taught_by_snakemake.dvc_is_current()


def test_snakemake_takes_over_from_dvc(taught_by_dvc: Checkout) -> None:
    assert taught_by_dvc.dvc_is_current()
    taught_by_dvc.run("make", "adopt-snakemake", "READY=params.yaml")
    assert taught_by_dvc.planned_jobs() == set()


def test_a_changed_teacher_reruns_what_it_taught(taught_by_snakemake: Checkout) -> None:
    with taught_by_snakemake.changed(*LESSON, to=0.3):
        assert taught_by_snakemake.planned_commands() == TAUGHT | EVIDENCE
    assert taught_by_snakemake.planned_jobs() == set()


def test_other_words_about_a_teacher_rerun_nothing(taught_by_snakemake: Checkout, taught_by_dvc: Checkout) -> None:
    with taught_by_snakemake.changed("teachers", "restoration", "why", to="other words"):
        assert taught_by_snakemake.planned_jobs() == set()
    with taught_by_dvc.changed("teachers", "restoration", "why", to="other words"):
        ran = taught_by_dvc.dvc_commands()  # DVC compares all of params.yaml, the cache what counts
        assert ran <= {f"teach {name}" for name in TEACHERS} | {f"plan {row}" for row in ROWS} | EVIDENCE
        assert all("restored from the cache" in log(taught_by_dvc, f"teach/{name}") for name in TEACHERS)


def test_dvc_trains_again_only_what_a_changed_teacher_taught(taught_by_dvc: Checkout) -> None:
    before = products(taught_by_dvc)
    with taught_by_dvc.changed(*LESSON, to=0.3):
        ran = taught_by_dvc.dvc_commands()
        assert ran >= TAUGHT
        assert ran <= TAUGHT | EVIDENCE | {f"teach {name}" for name in TEACHERS} | {f"plan {row}" for row in ROWS}
        assert "restored from the cache" in log(taught_by_dvc, "teach/attributes")
        changed = {name for name, content in products(taught_by_dvc).items() if content != before[name]}
    assert changed and all("restoration" in name for name in changed)
    assert not [command for command in taught_by_dvc.dvc_commands() if command.startswith(("train", "predict"))]
    assert products(taught_by_dvc) == before
