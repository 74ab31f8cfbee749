"""A record as an MLflow run: its tags, numbers, data sets and artefacts under the names that MLflow wants."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from georelay.track.curves import Point
from georelay.track.pictures import Picture
from georelay.track.record import Data, Record

KEY, DIGEST, PARENT = "georelay.run", "georelay.digest", "mlflow.parentRunId"
CONTEXT = "mlflow.data.context"
DIGEST_LENGTH = 36  # of a data set, at most; the whole one stands with its source


@dataclass(frozen=True)
class Entry:
    """What is written of one run; times are in milliseconds."""

    record: Record
    pictures: Sequence[Picture]
    parent: str | None  # the run it stands under

    @property
    def start(self) -> int:
        """When it began."""
        return int(self.record.start * 1000)

    @property
    def end(self) -> int:
        """When it was done."""
        return int(self.record.end * 1000)

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags, those that MLflow gives a meaning included."""
        own = {KEY: self.record.key, DIGEST: self.record.digest, "mlflow.note.content": self.record.tags["why"]}
        shown = {"mlflow.loggedImages": "True"} if self.pictures else {}
        return {**self.record.tags, **own, **shown, **({PARENT: self.parent} if self.parent else {})}

    @property
    def points(self) -> list[Point]:
        """Every number: single ones at step 0, then the curves."""
        single = [(metric_name(name), value, 0) for name, value in self.record.metrics.items()]
        return single + [(metric_name(name), value, step) for name, value, step in self.record.curves]

    def write_files(self, folder: Path) -> None:
        """All artefacts into a folder."""
        for path, place in self.record.files:
            (folder / place).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / place / path.name)
        for name, content in (named for picture in self.pictures for named in picture.names(self.record.key, self.start)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def dataset_facts(data: Data) -> dict[str, str]:
    """A data set as MLflow describes it."""
    source = json.dumps({"uri": data.path, "sha256": data.digest})
    return {"name": data.name, "digest": data.digest[:DIGEST_LENGTH], "source_type": "local", "source": source}


def metric_name(name: str) -> str:
    """Class names are free text; MLflow takes letters, digits and _-. /: in a metric's name."""
    return "".join(sign if sign.isalnum() or sign in "_-. /:" else "_" for sign in name)
