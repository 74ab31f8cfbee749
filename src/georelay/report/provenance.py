"""Where numbers come from: commit, versions, machine, and the digests of tiles and plans.

Nothing here imports the libraries it names: versions are read from the installed metadata.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from georelay.files import read_json, sha256_file

PACKAGES = ("georelay", "torch", "timm", "numpy", "rasterio", "zarr", "xarray", "dask", "snakemake", "dvc", "mlflow")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Checkout:
    """The state of the source tree; `dirty` when tracked files differ from the commit, published tables aside."""

    commit: str
    date: str
    dirty: bool


def read_checkout(root: Path) -> Checkout:
    """Commit and state of the git checkout at a root; `unknown` outside of one."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return Checkout(UNKNOWN, UNKNOWN, False)
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":!results/reference")
    return Checkout(commit, _git(root, "show", "-s", "--format=%cs", "HEAD") or UNKNOWN, bool(changes))


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def installed_versions() -> dict[str, str]:
    """Python and the packages that results depend on, as installed here."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    """The computer that runs this."""
    return {"system": f"{platform.system()} {platform.machine()}", "processor": _processor(), "cores": str(os.cpu_count())}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or UNKNOWN
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or UNKNOWN)


def today() -> str:
    """The date as YYYY-MM-DD in UTC; SOURCE_DATE_EPOCH fixes it for reproducible pages."""
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def read_plans(names: Sequence[str], root: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Digest and content of each row's plan; rows without one are left out."""
    paths = {name: root / "results/plans" / f"{name}.json" for name in names}
    return {name: (sha256_file(path), read_json(path)) for name, path in paths.items() if path.is_file()}


def tile_digests(plans: Mapping[str, tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Tile stores that the plans name, with their sha256."""
    return {plan["tiles"]["path"]: plan["tiles"]["sha256"] for _, plan in plans.values()}


def run_times(names: Sequence[str], seeds: Sequence[int], root: Path) -> tuple[int, float, set[str]]:
    """How many runs told their time, the seconds of all of them, and the devices they ran on."""
    paths = [root / "results/runs" / name / f"seed{seed}" / "timing.json" for name in names for seed in seeds]
    facts = [read_json(path) for path in paths if path.is_file()]
    devices = {str(fact["device"]) for fact in facts if "device" in fact}
    return len(facts), sum(float(fact.get("seconds", 0.0)) for fact in facts), devices
