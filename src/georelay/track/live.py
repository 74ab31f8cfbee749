"""Curves of a run while it trains, for those who watch a tracking server. The finished run's import takes their place.

The training only hands over rows it has anyway. A thread of its own imports MLflow and talks to the server; where that
fails, it says so once and is silent from then on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

from georelay.progress import say
from georelay.rows import resolve
from georelay.settings import Params
from georelay.track.store import open_client, prepare_environment, public_words

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from georelay.train.loop import Listener

LIVE = "georelay.live"  # the tag of a run in training: the key of the run that it will become
PATIENCE = 10  # seconds that a request may take, and that the end of a training waits for the last ones
ABOUT = "Live curves of a run in training. `georelay track` puts the finished run in its place."
Rows = Sequence[Mapping[str, float]]


@contextmanager
def listening(params: Callable[[], Params], row: str, seed: int) -> Iterator[Listener | None]:
    """What a training tells its rows to: a tracking server, if the environment names one; SQLite takes one writer alone."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://")) or int(os.environ.get("RANK", "0")) > 0:
        yield None
        return
    settings = params()
    mirror = Mirror(uri, resolve(settings, row).study, f"{row}/seed{seed}", settings.track.live_every)
    try:
        yield mirror.hear
    except BaseException:
        mirror.close("FAILED")
        raise
    mirror.close("FINISHED")


class Mirror:
    """Shows a history on a server, some steps behind."""

    def __init__(self, uri: str, study: str, key: str, every: int) -> None:
        self.uri, self.study, self.key, self.every = uri, study, key, every
        self.told, self.lost = 0, False
        self.waiting: SimpleQueue[tuple[Rows, int] | str] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def hear(self, rows: Rows) -> None:
        """Take what is new of a history: every so many steps, and each validation."""
        fresh = [row for row in rows[self.told :] if row["step"] % self.every == 0 or "val_miou" in row]
        self.told = len(rows)
        if fresh and not self.lost:
            self.waiting.put((fresh, int(time.time() * 1000)))

    def close(self, status: str) -> None:
        """Let the last rows through, within reason."""
        self.waiting.put(status)
        self.thread.join(PATIENCE)

    def _work(self) -> None:
        try:
            client, run = self._open()
            while not isinstance(message := self.waiting.get(), str):
                self._send(client, run, *message)
            client.set_terminated(run, message)
        except Exception as error:  # whatever it is, the training is worth more
            self.lost = True
            say(f"no live curves: {public_words(error, self.uri)}; the training goes on")

    def _open(self) -> tuple[MlflowClient, str]:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(PATIENCE))
        prepare_environment()
        client = open_client(self.uri)
        row, seed = self.key.rsplit("/seed", 1)
        tags = {LIVE: self.key, "experiment": row, "seed": seed, "kind": "live", "mlflow.note.content": ABOUT}
        run = client.create_run(_experiment(client, self.study), tags=tags, run_name=f"{row} seed {seed} (live)")
        return client, str(run.info.run_id)

    @staticmethod
    def _send(client: MlflowClient, run: str, rows: Rows, now: int) -> None:
        from mlflow.entities import Metric

        points = [(name, value, int(row["step"])) for row in rows for name, value in row.items() if name != "step"]
        for start in range(0, len(points), 1000):  # MLflow's limit of one request
            client.log_batch(run, metrics=[Metric(name, value, now, step) for name, value, step in points[start : start + 1000]])


def _experiment(client: MlflowClient, study: str) -> str:
    """The id of the study's experiment; another training may make it at the same moment."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(study)
    if found is None:
        try:
            return str(client.create_experiment(study))
        except MlflowException:
            found = client.get_experiment_by_name(study)
    if found is None:
        raise LookupError(f"experiment {study} can be neither made nor found")
    return str(found.experiment_id)
