"""How long MLflow's import takes: of N finished runs (1000, or what is asked for), and again with nothing to do.

The runs are invented, with histories of 200 steps, scores and maps as real ones have them; the goal is 120 s for 1000.
The import runs as the command does, in a process of its own, without the models: their row has no weights. With
MLFLOW_TRACKING_URI=http://... set it goes to that server.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, "tests")
from evidence import Project, row
from georelay.files import read_json, write_json
from georelay.reading import load_yaml
from georelay.report.compare import compare_study

STUDIES, SEEDS, STEPS = 5, 5, 200
PARTS = ("lr", "loss", "cross_entropy", "distillation", "alignment")
IMPORT = """
import json, os, sys
from pathlib import Path
from georelay.track.mlflow import Study, track_runs
studies = [Study(name, rows, None) for name, rows in json.loads(Path("studies.json").read_text()).items()]
track_runs(studies, range(int(sys.argv[1])), Path(), os.environ.get("MLFLOW_TRACKING_URI"), 2)
"""


def history(generator: np.random.Generator) -> str:
    """A history as a run of several losses leaves it, validated four times."""
    curves = 1.5 * np.exp(-np.arange(STEPS)[:, None] / 60) + 0.1 * generator.random((STEPS, len(PARTS)))
    lines = [",".join(("step", *PARTS, "val_miou"))]
    for step, values in enumerate(curves):
        score = f"{0.6 + 0.1 * generator.random():.7g}" if step % 50 == 49 else ""
        lines.append(",".join((str(step), *(f"{value:.7g}" for value in values), score)))
    return "\n".join(lines) + "\n"


def settings() -> dict[str, Any]:
    """As many settings as a row of this project has."""
    defaults = load_yaml(Path("params.yaml"))["defaults"]
    return {name: defaults[name] for name in ("model", "train", "augment", "predict")} | {"method": defaults["methods"]["ktda"]}


def finish(root: Path, runs: int) -> None:
    """Write a project of so many runs: one seed is made, the others are copies with histories of their own."""
    project, generator, table = Project(root, size=256, scenes=4), np.random.default_rng(0), {}
    rows_each = -(-runs // (STUDIES * SEEDS))
    for study in (f"study{index}" for index in range(STUDIES)):
        project.source(study)
        project.plan("template", study, settings=settings())
        project.run("template", study, 0, 0.2)
        table[study] = [row(f"{study}-row{index}", study, f"{study}-row0" if index else None) for index in range(rows_each)]
        for name in (made["experiment"] for made in table[study]):
            copy(root, name, generator)
        compare_study(study, table[study], range(SEEDS), root, resamples=10, seed=0)
    write_json(root / "studies.json", table)


def copy(root: Path, name: str, generator: np.random.Generator) -> None:
    """All seeds of a row, from the template."""
    facts = {**read_json(root / "results/plans/template.json"), "experiment": name}
    write_json(root / "results/plans" / f"{name}.json", facts)
    for seed in range(SEEDS):
        for kind in ("runs", "maps"):
            shutil.copytree(root / "results" / kind / "template/seed0", root / "results" / kind / name / f"seed{seed}")
        run, scores = root / "results/runs" / name / f"seed{seed}", root / "results/scores" / name
        (run / "history.csv").write_text(history(generator))
        write_json(run / "plan.json", facts)
        scores.mkdir(parents=True, exist_ok=True)
        for ending in ("json", "csv"):
            shutil.copy(root / f"results/scores/template/seed0.{ending}", scores / f"seed{seed}.{ending}")


def timed(root: Path, *words: str) -> dict[str, float]:
    """Seconds that one import takes, and those that it computes."""
    import resource

    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words, "-c", IMPORT, str(SEEDS)], cwd=root, check=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 1), "processor_seconds": round(computed, 1)}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        finish(root, runs)
        first, again = timed(root), timed(root)
        noted = read_json(root / "results/track.json")["runs"]
        size = sum(path.stat().st_size for path in (root / "results/mlflow").rglob("*") if path.is_file())
    children = sum("/" in key for key in noted)
    facts = {"runs": children, "rows": len(noted) - children, "import": first, "again": again, "megabytes": round(size / 1e6, 1)}
    print(json.dumps({"benchmark": "track", **facts, "goal_seconds": 120}))


if __name__ == "__main__":
    main()
