"""Provenance of a checkout, and what stands there outside of one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy

from georelay.report.provenance import installed_versions, machine, read_checkout, run_times


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_and_changes_of_a_checkout(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "a.txt").write_text("1")
    published = tmp_path / "results/reference/a.csv"
    published.parent.mkdir(parents=True)
    published.write_text("1")
    git(tmp_path, "add", "a.txt", str(published))
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "new.txt").write_text("untracked files are results, not changes")
    published.write_text("2, and so are published tables")
    clean = read_checkout(tmp_path)
    assert clean.commit == git(tmp_path, "rev-parse", "HEAD") and not clean.dirty and len(clean.date) == 10
    (tmp_path / "a.txt").write_text("2")
    assert read_checkout(tmp_path).dirty


def test_outside_of_git_the_commit_is_unknown(tmp_path: Path) -> None:
    assert read_checkout(tmp_path / "nowhere").commit == "unknown"


def test_versions_machine_and_times() -> None:
    assert installed_versions()["numpy"] == numpy.__version__
    assert set(machine()) == {"system", "processor", "cores"}
    assert run_times(["nothing"], [0], Path("/nonexistent")) == (0, 0.0, set())
