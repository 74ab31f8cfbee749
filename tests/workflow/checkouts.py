"""Checkouts to run the real Snakefile and the real dvc.yaml in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from shrink import shrink

REPOSITORY = Path(__file__).parents[2]
NOTHING = "Nothing to be done"
TRACKED = ["git", "ls-files", "-co", "--exclude-standard"]


@dataclass(frozen=True)
class Checkout:
    """A copy of this repository with a small params.yaml, and commands run inside it."""

    folder: Path
    cache: Path

    def run(self, *command: str, expect: int | None = 0) -> str:
        """Run a command with this checkout's code; returns what it printed."""
        result = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600)
        output = result.stdout + result.stderr
        assert expect is None or result.returncode == expect, f"{command} gave {result.returncode}:\n{output[-6000:]}"
        return output

    def planned_jobs(self) -> set[str]:
        """The rules that Snakemake would run now."""
        output = self.run("snakemake", "-n", "--cores", "1")
        return set() if NOTHING in output else set(re.findall(r"^rule ([\w-]+):", output, re.M))

    def planned_commands(self, *words: str) -> set[str]:
        """The stages and subjects that Snakemake would run now."""
        return _found(r"^Shell command: georelay (.*)$", self.run("snakemake", "-n", "-p", "--cores", "1", *words))

    def dvc_commands(self, *words: str) -> set[str]:
        """The stages and subjects that `dvc repro` runs."""
        return _found(r"^> georelay (.*)$", self.run("dvc", "repro", *words))

    def dvc_is_current(self) -> bool:
        """Whether DVC sees no change."""
        return "Data and pipelines are up to date." in self.run("dvc", "status")

    @property
    def environment(self) -> dict[str, str]:
        """This checkout's code first, and a cache of its own."""
        binaries = str(Path(sys.executable).parent)
        return os.environ | {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "GEORELAY_CACHE": str(self.cache),
        }

    def weights(self) -> dict[str, bytes]:
        """Every trained student's bytes."""
        paths = sorted(self.folder.glob("results/runs/*/*/model.safetensors"))
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a piece of text in one file, once."""
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new, 1))

    @contextmanager
    def changed(self, *keys: str, to: Any) -> Iterator[None]:
        """One value of params.yaml is another for a while."""
        path = self.folder / "params.yaml"
        text = path.read_text()
        place = values = yaml.safe_load(text)
        for key in keys[:-1]:
            place = place[key]
        assert keys[-1] in place, f"no {keys[-1]} to be changed"
        place[keys[-1]] = to
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        try:
            yield
        finally:
            path.write_text(text)


def _found(pattern: str, output: str) -> set[str]:
    return {command.strip() for command in re.findall(pattern, output, re.M)}


def make_checkout(folder: Path, cache: Path, seeds: list[int], rows: Sequence[str] = ("clouds-student",)) -> Checkout:
    """Copy what git would have, make it small, and commit it: DVC wants a repository."""
    names = subprocess.run(TRACKED, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    shrink(folder, rows, seeds, tiny=True)
    checkout = Checkout(folder, cache)
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("git", "init", "-q"), ("git", "add", "-A"), ("git", *identity, "commit", "-qm", "start")):
        checkout.run(*command)
    return checkout
