"""Import of finished runs into MLflow; the only module that knows it.

One MLflow experiment per study, a parent run per row, a child run per seed. Runs are files first and records after: what
MLflow shows can be deleted and imported again. A run is whole when its status is FINISHED, which is set last; what a
killed import left behind is deleted by the next. Unchanged runs are left alone, changed ones are made anew. Runs of rows
and seeds that params.yaml no longer has stay. Only runs with our tag are touched, so others may share an experiment;
deleted runs can be purged with `mlflow gc`.

SQLite breaks when several processes create or fill one file, so there is one writer at a time, behind a lock, and a new
database is made beside its place and renamed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from georelay.errors import UserError
from georelay.files import remove, replacing, write_json
from georelay.geo.palette import colourise
from georelay.geo.raster import open_grid, read_window
from georelay.progress import Progress
from georelay.report.maps import middle
from georelay.report.provenance import read_checkout
from georelay.report.tables import Row
from georelay.track.record import Record, row_record, seed_record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY, DIGEST, PARENT = "georelay.run", "georelay.digest", "mlflow.parentRunId"
BATCH = 1000  # metrics in one request: MLflow's limit
# No word to MLflow's makers about who runs what; a server that is away is told of in seconds, not minutes; and no two
# lines of links for each run.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def track_runs(studies: Mapping[str, Sequence[Row]], seeds: Sequence[int], root: Path, uri: str | None) -> None:
    """Bring MLflow up to date with the evaluated runs; `uri` None is the database in results/mlflow."""
    folder = (root / "results/mlflow").resolve()
    checkout = read_checkout(root)
    families = {study: list(_families(rows, seeds, root, checkout)) for study, rows in studies.items()}
    with writer_lock(folder), _explained(uri or str(folder)):
        client = _client(uri or _embedded(folder))
        total = sum(1 + len(children) for found in families.values() for _, children in found)
        with Progress("track", total, "runs") as bar:
            for study, found in families.items():
                location = None if uri else (folder / "artifacts" / study).as_uri()
                _Importer(client, study, location, folder / "artifacts").bring(found, bar)
    records = [record for found in families.values() for parent, children in found for record in (parent, *children)]
    write_json(root / "results/track.json", {record.key: record.digest for record in records})


def _families(rows: Sequence[Row], seeds: Sequence[int], root: Path, checkout: Any) -> Iterator[tuple[Record, list[Record]]]:
    for row in rows:
        found = (seed_record(row, seed, root, checkout) for seed in seeds)
        children = [record for record in found if record is not None]
        if children:
            yield row_record(row, children, root, checkout), children


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Holds the one place of a writer; a second import says so and waits for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"track: another import is writing to {folder}, waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield  # the lock dies with the process


@contextmanager
def _explained(place: str) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        hint = (
            "is the server running, and the database of this MLflow's version (`mlflow db upgrade <uri>`)? "
            "An embedded one may be deleted and imported again"
        )
        raise UserError(f"MLflow refuses: {str(error).splitlines()[0]}", place, hint) from error


def _embedded(folder: Path) -> str:
    """The URI of the database in a folder, made first when there is none."""
    path = folder / "mlflow.db"
    if not path.exists():
        with replacing(path) as temporary:
            remove(temporary)  # an earlier process of this number may have died here
            _client(f"sqlite:///{temporary}").search_experiments(max_results=1)
    return f"sqlite:///{path}"


def _client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    for name in ("mlflow.store.db.utils", "alembic"):  # a screenful of migrations is no news
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


class _Importer:
    """Brings one MLflow experiment into step with the records of one study."""

    def __init__(self, client: MlflowClient, study: str, location: str | None, artifacts: Path) -> None:
        self.client, self.artifacts = client, artifacts
        self.experiment = _experiment(client, study, location)
        self.stored = self._whole_runs()

    def bring(self, families: Sequence[tuple[Record, list[Record]]], bar: Progress) -> None:
        """Import what is new or changed, parents before their children."""
        for parent, children in families:
            above = self._bring_one(parent, None)
            bar.advance()
            for child in children:
                self._bring_one(child, above)
                bar.advance()
        known = {record.key for parent, children in families for record in (parent, *children)}
        if left := sorted(set(self.stored) - known):
            print(f"track: kept from before, no longer asked for: {', '.join(left)}", file=sys.stderr, flush=True)

    def _whole_runs(self) -> dict[str, Run]:
        """Our finished runs by key; half-imported and doubled ones are deleted."""
        found: dict[str, Run] = {}
        for run in _all_runs(self.client, self.experiment):
            key = run.data.tags.get(KEY)
            if key is None:
                continue
            if run.info.status != "FINISHED" or key in found:
                self._delete(run)
            else:
                found[key] = run
        return found

    def _delete(self, run: Run) -> None:
        self.client.delete_run(run.info.run_id)
        remove(self.artifacts / run.data.tags["study"] / run.info.run_id)  # does nothing for a server's artefacts

    def _bring_one(self, record: Record, parent: str | None) -> str:
        old = self.stored.get(record.key)
        if old is not None and old.data.tags.get(DIGEST) == record.digest:
            if parent is not None and old.data.tags.get(PARENT) != parent:
                self.client.set_tag(old.info.run_id, PARENT, parent)
            return str(old.info.run_id)
        if old is not None:
            self._delete(old)
        return self._create(record, parent)

    def _create(self, record: Record, parent: str | None) -> str:
        tags = {**record.tags, KEY: record.key, DIGEST: record.digest, "mlflow.note.content": record.tags["why"]}
        tags |= {PARENT: parent} if parent else {}
        start = int(record.start * 1000)
        run = self.client.create_run(self.experiment, start_time=start, tags=tags, run_name=record.name).info.run_id
        self._log_numbers(run, record, start)
        for path, place in record.files:
            self.client.log_artifact(run, str(path), place or None)
        for path in record.maps:
            self._log_map(run, path, record)
        self.client.set_terminated(run, "FINISHED", end_time=int(record.end * 1000))
        return str(run)

    def _log_numbers(self, run: str, record: Record, time: int) -> None:
        from mlflow.entities import Metric, Param

        metrics = [Metric(_metric_name(name), value, time, 0) for name, value in record.metrics.items()]
        metrics += [Metric(_metric_name(name), value, time, step) for name, value, step in record.curves]
        params = [Param(name, value) for name, value in sorted(record.params.items())]
        self.client.log_batch(run, params=params)
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run, metrics=metrics[start : start + BATCH])

    def _log_map(self, run: str, path: Path, record: Record) -> None:
        from PIL import Image

        labels = read_window(path, *middle(open_grid(path)))[0]
        self.client.log_artifact(run, str(path), "maps")
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / f"{path.stem}.png"
            Image.fromarray(colourise(labels, record.colours, record.ignore)).save(picture)
            self.client.log_artifact(run, str(picture), "maps")


def _metric_name(name: str) -> str:
    """Class names are free text; MLflow takes letters, digits and _-. /: in a metric's name."""
    return "".join(sign if sign.isalnum() or sign in "_-. /:" else "_" for sign in name)


def _experiment(client: MlflowClient, study: str, location: str | None) -> str:
    """The id of a study's experiment, made or brought back from the bin when it must be."""
    found = client.get_experiment_by_name(study)
    if found is None:
        about = f"Study {study}: a parent run per row, a child run per seed. `miou` of a parent is the mean of its seeds."
        tags = {"mlflow.note.content": about}
        return str(client.create_experiment(study, artifact_location=location, tags=tags))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _all_runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
