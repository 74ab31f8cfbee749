"""Where runs are kept: MLflow's own database in results/mlflow, or a tracking server.

SQLite breaks when several processes create or fill one file, so there is one writer at a time, behind a lock, and a new
database is made beside its place and renamed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from georelay.errors import UserError
from georelay.files import remove, replacing
from georelay.progress import say

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER, ARTIFACTS = "results/mlflow", "artifacts"
# Where MLflow's tables keep the places of artefacts.
ADDRESSES = [("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location")]
ADDRESSES += [("model_versions", "source"), ("model_versions", "storage_location")]
# No word to MLflow's makers about who runs what; a server that is away is told of in seconds, not minutes; and no two
# lines of links for each run.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

QUIET = ("mlflow.store.db.utils", "alembic", "mlflow.utils.environment", "mlflow.store.model_registry.abstract_store")


@contextmanager
def writing(root: Path, uri: str | None) -> Iterator[MlflowClient]:
    """The one writer's client; `uri` None is the database in results/mlflow, made where there is none."""
    folder = (root / FOLDER).resolve()
    with writer_lock(folder), explained(uri or str(folder)):
        yield open_client(uri or make_embedded(root))


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
def explained(place: str) -> Iterator[None]:
    """MLflow's refusals as one message that says what to do."""
    prepare_environment()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        hint = (
            "is the server running, and the database of this MLflow's version (`mlflow db upgrade <uri>`)? "
            "An embedded one may be deleted and imported again"
        )
        raise UserError(f"MLflow refuses: {public_words(error, place)}", public_address(place), hint) from error


def prepare_environment() -> None:
    """Settings that MLflow reads from the environment; what the user has set there counts."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def embedded_uri(root: Path) -> str:
    """The URI of the database in results/mlflow."""
    return f"sqlite:///{(root / FOLDER).resolve() / 'mlflow.db'}"


def make_embedded(root: Path) -> str:
    """The same, made first when there is none."""
    from sqlalchemy import Engine, event

    if not event.contains(Engine, "connect", _do_not_wait):
        event.listen(Engine, "connect", _do_not_wait)
    path = (root / FOLDER).resolve() / "mlflow.db"
    if path.exists():
        _follow_move(path)
    else:
        with replacing(path) as temporary:
            remove(temporary)  # an earlier process of this number may have died here
            open_client(f"sqlite:///{temporary}").search_experiments(max_results=1)
    return embedded_uri(root)


def _follow_move(path: Path) -> None:
    """Write the addresses of artefacts anew where the checkout was moved or copied: MLflow takes absolute ones alone."""
    here = (path.parent / ARTIFACTS).as_uri() + "/"
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        known = [str(place) for (place,) in connection.execute("SELECT artifact_location FROM experiments")]
        olds = {place[: place.rindex("/") + 1] for place in known if place.rpartition("/")[0].endswith(f"/{FOLDER}/{ARTIFACTS}")}
        for old in olds - {here}:
            say(f"track: MLflow's store was made in {old}; its artefacts are now looked for in {here}")
            for table, column in ADDRESSES:
                moved = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
                connection.execute(moved, (here, len(old) + 1, len(old), old))


def _do_not_wait(connection: Any, record: Any) -> None:
    """A commit is not waited for until it is on the disk, which took more than half of the 8 s that a new database takes.

    A killed process loses nothing by it. A power cut may break the database, which can be imported again.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


def open_client(uri: str) -> MlflowClient:
    """A client that says nothing of what is no news: a screenful of migrations, environments without pip, models at hand."""
    from mlflow import MlflowClient

    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def public_address(uri: str) -> str:
    """An address without the name and password that it may hold."""
    place = urlsplit(uri).netloc
    return uri.replace(place, place.rpartition("@")[2], 1) if "@" in place else uri


def public_words(error: Exception, uri: str) -> str:
    """An error as short as a log line, without what is secret in an address: why nobody answers, else its first line."""
    address, root = public_address(uri).rstrip("/"), _root(error)
    if isinstance(root, (ConnectionError, TimeoutError, socket.gaierror)):
        return f"{address} does not answer ({(root.strerror or str(root)).replace(uri.rstrip('/'), address)})"
    return str(error).replace(uri.rstrip("/"), address).splitlines()[0][:300]


def _root(error: BaseException) -> BaseException:
    """What an error began with: MLflow's own words of a broken line are those of three libraries, one within the other."""
    inner = error.__cause__ or error.__context__
    return error if inner is None else _root(inner)
