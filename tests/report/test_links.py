"""Addresses of runs in MLflow, from what the import noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidence import row
from georelay.files import write_json
from georelay.report.links import link_table, read_links

RUN = {"digest": "d", "run_id": "abc", "experiment_id": "4"}


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("sqlite:///results/mlflow/mlflow.db", "http://127.0.0.1:5000"),
        ("https://runs.example/", "https://runs.example"),
        (None, "http://127.0.0.1:5000"),
    ],
)
def test_links_lead_to_the_server_that_has_the_runs(tmp_path: Path, uri: str | None, place: str) -> None:
    write_json(tmp_path / "results/track.json", {"uri": uri, "runs": {"a": RUN, "a/seed0": {"digest": "d"}}})
    assert read_links(tmp_path) == {"a": f"{place}/#/experiments/4/runs/abc?workflowType=machine_learning"}


def test_without_an_import_or_with_an_older_one_there_are_no_links(tmp_path: Path) -> None:
    assert read_links(tmp_path) == {} and link_table([row("a", "s")], [0], {}) == ""
    write_json(tmp_path / "results/track.json", {"a": "digest", "a/seed0": "digest"})
    assert read_links(tmp_path) == {}


def test_a_row_that_was_not_imported_is_left_out_and_a_missing_seed_is_a_dash() -> None:
    shown = link_table([row("a", "s"), row("b", "s")], [0, 1], {"a": "http://x/?a&b", "a/seed1": "http://x/1"})
    assert (
        '<th scope="row">a</th><td><a href="http://x/?a&amp;b">open</a></td><td>–</td><td><a href="http://x/1">seed 1</a></td>'
        in shown
    )
    assert '<th scope="row">b</th>' not in shown
