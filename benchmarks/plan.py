"""How long `plan` takes for 200 experiments, code digests and a cold start included; the goal is 2 s."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from georelay.files import write_json
from georelay.plan import card_path
from georelay.reading import load_yaml

ROWS = 200
BAND = {"bands": ["b"], "dtype": "uint16", "scale": 1.0, "nodata": 0, "unit": "reflectance", "mean": [1.0], "std": [1.0]}


def prepare(folder: Path) -> None:
    values = load_yaml(Path("params.yaml"))
    names = [f"row-{index}" for index in range(ROWS)]
    base = values["experiments"]["clouds-student"]
    values["experiments"] = {name: {**base, "set": {"train": {"lr": 1e-3 + i * 1e-6}}} for i, name in enumerate(names)}
    values["active"] |= {"sources": ["clouds"], "tasks": ["clouds"], "studies": ["clouds"], "experiments": names}
    values["active"] |= {"teachers": [], "features": {}}
    values["reference"]["studies"] = ["clouds"]
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    classes = [{"name": "a", "colour": [0, 0, 0]}]
    facts = {
        "sha256": "0",
        "receipt": "0",
        "classes": classes,
        "ignore": 255,
        "modalities": {"optical": BAND},
        "domains": ["main"],
    }
    write_json(folder / card_path("clouds"), facts)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "georelay", "plan"], cwd=folder, check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
        written = len(list((folder / "results/plans").iterdir()))
    print(json.dumps({"plans": written, "n": len(seconds), "seconds_median": sorted(seconds)[2], "seconds_max": max(seconds)}))


if __name__ == "__main__":
    main()
