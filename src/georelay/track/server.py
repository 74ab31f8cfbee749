"""Runs written through MLflow's client: what any tracking server takes, some requests a run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from georelay.track.entry import CONTEXT, Entry, dataset_facts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

METRICS, PARAMS = 900, 100  # in one request: MLflow takes 1000 things, and 100 parameters among them


class Server:
    """Writes runs of one experiment."""

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self.client, self.experiment = client, experiment

    def write(self, entry: Entry) -> str:
        """Write a run; its id. It is FINISHED last."""
        name, tags = entry.record.name, dict(entry.tags)
        run = str(self.client.create_run(self.experiment, start_time=entry.start, tags=tags, run_name=name).info.run_id)
        self._log_numbers(run, entry)
        self._log_data(run, entry)
        with tempfile.TemporaryDirectory() as folder:
            entry.write_files(Path(folder))
            self.client.log_artifacts(run, folder)
        self.client.set_terminated(run, "FINISHED", end_time=entry.end)
        return run

    def flush(self) -> None:
        """Everything has been written already."""

    def drop(self, run: Run) -> None:
        """Delete a run."""
        self.client.delete_run(run.info.run_id)

    def _log_numbers(self, run: str, entry: Entry) -> None:
        from mlflow.entities import Metric, Param

        metrics = [Metric(name, value, entry.start, step) for name, value, step in entry.points]
        params = [Param(name, value) for name, value in sorted(entry.record.params.items())]
        for some, others in zip_longest(_parts(metrics, METRICS), _parts(params, PARAMS), fillvalue=()):
            self.client.log_batch(run, metrics=some, params=others)

    def _log_data(self, run: str, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = [DatasetInput(Dataset(**dataset_facts(data)), [InputTag(CONTEXT, data.context)]) for data in entry.record.data]
        self.client.log_inputs(run, data)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
