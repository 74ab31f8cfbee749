"""Links from the page to the runs in MLflow, by what the import noted in results/track.json.

They lead to the server that `make ui` starts on this machine, or to the server that the runs were imported into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from georelay.files import read_json
from georelay.report.page import table
from georelay.report.tables import Row

MENU = "?workflowType=machine_learning"  # MLflow's page opens with the menus of language models otherwise
LOCAL_SERVER = "http://127.0.0.1:5000"  # where `make ui` listens
ABOUT = (
    "The links open the runs in MLflow: start it with <code>make ui</code> in the project's folder and leave it running. "
    "Nothing else on this page needs it."
)


def read_links(root: Path) -> dict[str, str]:
    """The address of each imported run, by `<row>` and `<row>/seed<k>`; none where nothing was imported."""
    path = root / "results/track.json"
    facts = read_json(path) if path.is_file() else {}
    server = str(facts.get("uri") or "")
    place = server.rstrip("/") if server.startswith(("http://", "https://")) else LOCAL_SERVER
    return {key: f"{place}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}{MENU}" for key, run in _runs(facts).items()}


def _runs(facts: Mapping[str, object]) -> dict[str, Mapping[str, str]]:
    runs = facts.get("runs")
    return {key: run for key, run in runs.items() if "run_id" in run} if isinstance(runs, Mapping) else {}


def link_table(rows: Sequence[Row], seeds: Sequence[int], links: Mapping[str, str]) -> str:
    """Every row of a study with a link to itself and to each of its seeds; nothing where no run was imported."""
    names = [row["experiment"] for row in rows if row["experiment"] in links]
    if not names:
        return ""
    body = [
        [escape(name), _link(links, name, "open"), *(_link(links, f"{name}/seed{seed}", f"seed {seed}") for seed in seeds)]
        for name in names
    ]
    head = ["row", "mean and interval", *(f"seed {seed}" for seed in seeds)]
    return f"<details><summary>Runs in MLflow</summary><p>{ABOUT}</p>{table('Open in MLflow', head, body)}</details>"


def _link(links: Mapping[str, str], key: str, word: str) -> str:
    return f'<a href="{escape(links[key])}">{word}</a>' if key in links else "–"
