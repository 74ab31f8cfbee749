"""Checkouts to run the real Snakefile and the real dvc.yaml in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from shrink import shrink

REPOSITORY = Path(__file__).parents[2]
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


def make_checkout(folder: Path, cache: Path, seeds: list[int]) -> Checkout:
    """Copy what git would have, make it small, and commit it: DVC wants a repository."""
    names = subprocess.run(TRACKED, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    shrink(folder, "clouds", seeds, tiny=True)
    checkout = Checkout(folder, cache)
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("git", "init", "-q"), ("git", "add", "-A"), ("git", *identity, "commit", "-qm", "start")):
        checkout.run(*command)
    return checkout
