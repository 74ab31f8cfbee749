"""Import of finished runs into MLflow.

One MLflow experiment per study, a parent run per row, a child run per seed. Runs are files first and records after: what
MLflow shows can be deleted and imported again. A run is whole when its status is FINISHED, which is set last; what a
killed import left behind is deleted by the next. Unchanged runs are left alone, changed ones are made anew. Runs of rows
and seeds that params.yaml no longer has stay. Only runs with our tag are touched, so others may share an experiment;
deleted runs can be purged with `mlflow gc`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from georelay.files import remove, write_json
from georelay.progress import Progress
from georelay.report.provenance import read_checkout
from georelay.report.tables import Row
from georelay.track.about import study_note
from georelay.track.best import best_student
from georelay.track.live import LIVE
from georelay.track.pictures import Picture, draw_pictures
from georelay.track.record import Data, Record, row_record, run_plan, seed_record
from georelay.track.registry import register_student
from georelay.track.store import FOLDER, public_address, writing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

KEY, DIGEST, PARENT = "georelay.run", "georelay.digest", "mlflow.parentRunId"
ROWS_AT_ONCE = 32  # whose pictures are held in memory, up to 0.4 MB a scene
METRICS, PARAMS = 900, 100  # in one request: MLflow takes 1000 things, and 100 parameters among them
DIGEST_LENGTH = 36  # of a dataset, at most; the whole one stands with its source
Family = tuple[Record, list[Record]]  # a row and its seeds


@dataclass(frozen=True)
class Study:
    """A study as it is imported."""

    name: str
    rows: Sequence[Row]
    upper: str | None  # the row that bounds the others from above, and is no student of the task


def track_runs(studies: Sequence[Study], seeds: Sequence[int], root: Path, uri: str | None, scenes: int) -> None:
    """Bring MLflow up to date with the evaluated runs; `uri` None is the database in results/mlflow."""
    checkout = read_checkout(root)
    families = {study.name: list(_families(study.rows, seeds, root, checkout)) for study in studies}
    noted: dict[str, dict[str, str]] = {}
    with writing(root, uri) as client, Progress("track", _count(families), "runs") as bar:
        for study in studies:
            if families[study.name]:
                importer = _Importer(client, study, families[study.name], root, embedded=uri is None)
                noted |= importer.bring(scenes, bar)
    write_json(root / "results/track.json", {"uri": public_address(uri or f"sqlite:///{FOLDER}/mlflow.db"), "runs": noted})


def _count(families: Mapping[str, Sequence[Family]]) -> int:
    return sum(len(_records(family)) for found in families.values() for family in found)


def _records(family: Family) -> list[Record]:
    return [family[0], *family[1]]


def _families(rows: Sequence[Row], seeds: Sequence[int], root: Path, checkout: Any) -> Iterator[Family]:
    for row in rows:
        found = (seed_record(row, seed, root, checkout) for seed in seeds)
        children = [record for record in found if record is not None]
        if children:
            yield row_record(row, children, root, checkout), children


class _Importer:
    """Brings one MLflow experiment into step with the records of one study."""

    def __init__(self, client: MlflowClient, study: Study, families: Sequence[Family], root: Path, embedded: bool) -> None:
        self.client, self.study, self.families, self.root = client, study, families, root
        folder = (root / FOLDER / "artifacts" / study.name).resolve()
        self.artifacts = folder if embedded else None
        note = study_note(study.name, study.rows, run_plan(families[0][1][0].shown, root))
        self.experiment = _experiment(client, study.name, note, self.artifacts)
        self.stored, self.live = self._runs()

    def bring(self, scenes: int, bar: Progress) -> dict[str, dict[str, str]]:
        """Import what is new or changed, parents before their children; what there is then, by key."""
        noted = {}
        for some in _parts(self.families, ROWS_AT_ONCE):
            wanted = {record.shown for family in some for record in _records(family) if not self._unchanged(record)}
            pictures = draw_pictures(self.study.rows, wanted, self.root, scenes)
            for family in some:
                above = None
                for record in _records(family):
                    run = self._bring_one(record, above, pictures.get(record.shown, ()))
                    above = above or run
                    noted[record.key] = {"digest": record.digest, "run_id": run, "experiment_id": self.experiment}
                    bar.advance()
        if left := sorted(set(self.stored) - set(noted)):
            print(f"track: kept from before, no longer asked for: {', '.join(left)}", file=sys.stderr, flush=True)
        if best := best_student(self.families, self.study.upper):
            register_student(self.client, self.study.name, self.experiment, noted[best.record.key]["run_id"], best, self.root)
        return noted

    def _runs(self) -> tuple[dict[str, Run], dict[str, list[Run]]]:
        """Our finished runs, and those that training showed, by key; half-imported and doubled ones are deleted."""
        found: dict[str, Run] = {}
        live: dict[str, list[Run]] = {}
        for run in _all_runs(self.client, self.experiment):
            tags = run.data.tags
            if LIVE in tags:
                live.setdefault(tags[LIVE], []).append(run)
            elif KEY in tags and (run.info.status != "FINISHED" or tags[KEY] in found):
                self._delete(run)
            elif KEY in tags:
                found[tags[KEY]] = run
        return found, live

    def _delete(self, run: Run) -> None:
        self.client.delete_run(run.info.run_id)
        if self.artifacts:
            remove(self.artifacts / run.info.run_id)

    def _unchanged(self, record: Record) -> bool:
        old = self.stored.get(record.key)
        return old is not None and old.data.tags.get(DIGEST) == record.digest

    def _bring_one(self, record: Record, parent: str | None, pictures: Sequence[Picture]) -> str:
        for run in self.live.get(record.key, ()):
            if run.info.start_time < record.end * 1000:  # it has become this record; a later one is still training
                self._delete(run)
        old = self.stored.get(record.key)
        if old is None or not self._unchanged(record):
            if old is not None:
                self._delete(old)
            return self._create(record, parent, pictures)
        if parent is not None and old.data.tags.get(PARENT) != parent:
            self.client.set_tag(old.info.run_id, PARENT, parent)
        return str(old.info.run_id)

    def _create(self, record: Record, parent: str | None, pictures: Sequence[Picture]) -> str:
        tags = {**record.tags, KEY: record.key, DIGEST: record.digest, "mlflow.note.content": record.tags["why"]}
        tags |= {PARENT: parent} if parent else {}
        tags |= {"mlflow.loggedImages": "True"} if pictures else {}
        start = int(record.start * 1000)
        run = str(self.client.create_run(self.experiment, start_time=start, tags=tags, run_name=record.name).info.run_id)
        self._log_numbers(run, record, start)
        self.client.log_inputs(run, [_dataset(data) for data in record.data])
        self._log_files(run, record, pictures, start)
        self.client.set_terminated(run, "FINISHED", end_time=int(record.end * 1000))
        return run

    def _log_numbers(self, run: str, record: Record, time: int) -> None:
        from mlflow.entities import Metric, Param

        metrics = [Metric(_metric_name(name), value, time, 0) for name, value in record.metrics.items()]
        metrics += [Metric(_metric_name(name), value, time, step) for name, value, step in record.curves]
        params = [Param(name, value) for name, value in sorted(record.params.items())]
        for some, others in zip_longest(_parts(metrics, METRICS), _parts(params, PARAMS), fillvalue=()):
            self.client.log_batch(run, metrics=some, params=others)

    def _log_files(self, run: str, record: Record, pictures: Sequence[Picture], time: int) -> None:
        """All artefacts in one request: a folder of links and pictures that MLflow copies or sends."""
        with tempfile.TemporaryDirectory() as name:
            for path, place in record.files:
                link = Path(name, place, path.name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.resolve())
            for file, content in (named for picture in pictures for named in picture.names(record.key, time)):
                Path(name, file).parent.mkdir(exist_ok=True)
                Path(name, file).write_bytes(content)
            self.client.log_artifacts(run, name)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _dataset(data: Data) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": data.path, "sha256": data.digest})
    dataset = Dataset(name=data.name, digest=data.digest[:DIGEST_LENGTH], source_type="local", source=source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.context)])


def _metric_name(name: str) -> str:
    """Class names are free text; MLflow takes letters, digits and _-. /: in a metric's name."""
    return "".join(sign if sign.isalnum() or sign in "_-. /:" else "_" for sign in name)


def _experiment(client: MlflowClient, study: str, note: str, artifacts: Path | None) -> str:
    """The id of a study's experiment, made, brought back from the bin, or described anew when it must be."""
    found = client.get_experiment_by_name(study)
    tags = {"mlflow.note.content": note, "mlflow.experimentKind": "custom_model_development"}
    if found is None:
        location = artifacts.as_uri() if artifacts else None
        return str(client.create_experiment(study, artifact_location=location, tags=tags))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for name, value in tags.items():
        if found.tags.get(name) != value:
            client.set_experiment_tag(found.experiment_id, name, value)
    return str(found.experiment_id)


def _all_runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
