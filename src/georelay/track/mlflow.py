"""Import of finished runs into MLflow.

One MLflow experiment per study, a parent run per row, a child run per seed. Runs are files first and records after: what
MLflow shows can be deleted and imported again. A run is whole when its status is FINISHED; what a killed import left behind
is deleted by the next. Unchanged runs are left alone, changed ones are made anew. Runs of rows and seeds that params.yaml no
longer has stay. Only runs with our tag are touched, so others may share an experiment; deleted runs can be purged with
`mlflow gc`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from georelay.files import write_json
from georelay.progress import Progress
from georelay.report.provenance import read_checkout
from georelay.report.tables import Row
from georelay.track.about import study_note
from georelay.track.best import best_student
from georelay.track.database import Database
from georelay.track.entry import DIGEST, KEY, PARENT, Entry
from georelay.track.live import LIVE
from georelay.track.pictures import draw_pictures
from georelay.track.record import Record, distinguishing, narrowed, row_record, run_plan, seed_record
from georelay.track.registry import register_student
from georelay.track.server import Server
from georelay.track.store import ARTIFACTS, FOLDER, embedded_uri, public_address, writing
from georelay.track.views import view_links, view_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ROWS_AT_ONCE = 32  # whose pictures are held in memory, up to 0.4 MB a scene
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
    found = [record for row in rows for seed in seeds if (record := seed_record(row, seed, root, checkout))]
    runs = narrowed(found)
    for row in rows:
        if children := [record for record in runs if record.shown[0] == row["experiment"]]:
            yield row_record(row, children, root, checkout), children


class _Importer:
    """Brings one MLflow experiment into step with the records of one study."""

    def __init__(self, client: MlflowClient, study: Study, families: Sequence[Family], root: Path, embedded: bool) -> None:
        self.client, self.study, self.families, self.root = client, study, families, root
        artifacts = (root / FOLDER / ARTIFACTS / study.name).resolve()
        self.experiment = _experiment(client, study.name, artifacts.as_uri() if embedded else None)
        self.writer: Server | Database = Server(client, self.experiment)
        if embedded:
            self.writer = Database(client, embedded_uri(root), study.name, self.experiment, artifacts)
        self.stored, self.live = self._runs()
        self.shown: dict[str, None] = {}  # keys of pictures, in the order in which they are looked at

    def bring(self, scenes: int, bar: Progress) -> dict[str, dict[str, str]]:
        """Import what is new or changed, parents before their children; what there is then, by key."""
        noted: dict[str, dict[str, str]] = {}
        for start in range(0, len(self.families), ROWS_AT_ONCE):
            noted |= self._bring_some(self.families[start : start + ROWS_AT_ONCE], scenes, bar)
        if left := sorted(set(self.stored) - set(noted)):
            print(f"track: kept from before, no longer asked for: {', '.join(left)}", file=sys.stderr, flush=True)
        self._describe()
        if best := best_student(self.families, self.study.upper):
            register_student(self.client, self.study.name, self.experiment, noted[best.record.key]["run_id"], best, self.root)
        return noted

    def _bring_some(self, families: Sequence[Family], scenes: int, bar: Progress) -> dict[str, dict[str, str]]:
        wanted = {record.shown for family in families for record in _records(family) if not self._unchanged(record)}
        pictures = draw_pictures(self.study.rows, wanted, self.root, scenes)
        self.shown |= dict.fromkeys(picture.key for found in pictures.values() for picture in found)
        noted = {}
        for family in families:
            above = None
            for record in _records(family):
                run = self._bring_one(Entry(record, pictures.get(record.shown, ()), above))
                above = above or run
                noted[record.key] = {"digest": record.digest, "run_id": run, "experiment_id": self.experiment}
                bar.advance()
        self.writer.flush()
        return noted

    def _describe(self) -> None:
        """What the experiment says of itself, and its views, which stay as they are where no run has changed."""
        records = [record for family in self.families for record in _records(family)]
        note = study_note(self.study.name, self.study.rows, run_plan(records[0].shown, self.root), view_links(self.experiment))
        tags = {"mlflow.note.content": note, "mlflow.experimentKind": "custom_model_development"}
        if not all(self._unchanged(record) for record in records):
            tags |= view_tags(distinguishing([parent for parent, _ in self.families]), list(self.shown))
        known = self.client.get_experiment(self.experiment).tags
        for name, value in tags.items():
            if known.get(name) != value:
                self.client.set_experiment_tag(self.experiment, name, value)

    def _runs(self) -> tuple[dict[str, Run], dict[str, list[Run]]]:
        """Our finished runs, and those that training showed, by key; half-imported and doubled ones are deleted."""
        found: dict[str, Run] = {}
        live: dict[str, list[Run]] = {}
        for run in _all_runs(self.client, self.experiment):
            tags = run.data.tags
            if LIVE in tags:
                live.setdefault(tags[LIVE], []).append(run)
            elif KEY in tags and (run.info.status != "FINISHED" or tags[KEY] in found):
                self.writer.drop(run)
            elif KEY in tags:
                found[tags[KEY]] = run
        return found, live

    def _unchanged(self, record: Record) -> bool:
        old = self.stored.get(record.key)
        return old is not None and old.data.tags.get(DIGEST) == record.digest

    def _bring_one(self, entry: Entry) -> str:
        record = entry.record
        for run in self.live.get(record.key, ()):
            if run.info.start_time < entry.end:  # it has become this record; a later one is still training
                self.writer.drop(run)
        old = self.stored.get(record.key)
        if old is not None and self._unchanged(record):
            if entry.parent is not None and old.data.tags.get(PARENT) != entry.parent:
                self.client.set_tag(old.info.run_id, PARENT, entry.parent)
            return str(old.info.run_id)
        new = self.writer.write(entry)
        if old is not None and old.info.run_id != new:
            self.writer.drop(old)
        return new


def _experiment(client: MlflowClient, study: str, location: str | None) -> str:
    """The id of a study's experiment, made or brought back from the bin when it must be."""
    found = client.get_experiment_by_name(study)
    if found is None:
        return str(client.create_experiment(study, artifact_location=location))
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
