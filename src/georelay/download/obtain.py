"""`obtain`: the files of a dataset, fetched, verified and unpacked; what is whole already costs a look at the disk.

<dataset>/.downloads/<name>            an archive, `<name>.part` while it is fetched
<dataset>/.downloads/downloads.json    what is known of each
<dataset>/<unpack>                     what an archive holds
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from georelay.download.archive import Bounds
from georelay.download.part import Part, Stopped
from georelay.download.place import settle
from georelay.download.record import DiskFull, Record
from georelay.download.transfer import Patience, fetch, size_of
from georelay.download.wanted import Download
from georelay.errors import UserError
from georelay.files import remove, require_space
from georelay.progress import BYTES, Progress
from georelay.progress import say as speak

PATIENCE, BOUNDS = Patience(), Bounds()


def obtain(
    downloads: Sequence[Download],
    folder: Path,
    *,
    label: str,
    workers: int,
    say: Callable[[str], None] = speak,
    keep_archives: bool = True,
    patience: Patience = PATIENCE,
    bounds: Bounds = BOUNDS,
) -> list[dict[str, Any]]:
    """Bring every download into a dataset's folder; their facts. Archives go after unpacking where they are not kept."""
    _require_distinct(downloads, label)
    record = Record(Path(folder))
    there = [download for download in downloads if record.path(download).is_file()]
    missing = [download for download in downloads if download not in there and not record.unpacked(download)]
    _require_brought([download for download in missing if not download.urls], record, label)
    for download in there:
        record.verify(download)
    if missing:
        say(f"{label}: fetch {', '.join(download.name for download in missing)}")
        _fetch_all(missing, record, label, workers, patience)
    for download in downloads:
        if download.unpack is not None:
            _settle(download, record, label, say, keep_archives, bounds)
    return [record.facts(download) for download in downloads]


def _require_distinct(downloads: Sequence[Download], label: str) -> None:
    twice = [name for name, count in Counter(download.name for download in downloads).items() if count > 1]
    if twice:
        raise UserError(f"two files are called {', '.join(twice)}", label, "give each a name of its own")


def _require_brought(missing: Sequence[Download], record: Record, label: str) -> None:
    """What takes a log-in is there; all that is not is named at once."""
    if not missing:
        return
    lines = [f"{record.folder / download.name}: {download.manual or 'it takes a log-in'}" for download in missing]
    what = f"{len(missing)} file(s) must be fetched by hand:\n  " + "\n  ".join(lines)
    raise UserError(what, label, f"put each there, or into {record.dataset}, and run the same command again")


def _settle(
    download: Download, record: Record, label: str, say: Callable[[str], None], keep_archives: bool, bounds: Bounds
) -> None:
    if not record.unpacked(download):
        settle(download, record, label, bounds)
        say(f"{label}: {download.name} unpacked, {record.facts(download)['members']} files")
    # What a person has brought by hand is not ours to delete.
    if not keep_archives and record.entries[download.name]["url"] is not None:
        remove(record.path(download))


def _fetch_all(missing: Sequence[Download], record: Record, label: str, workers: int, patience: Patience) -> None:
    """Several at a time. One that fails does not keep the others from ending well; a full disk does, and so does Ctrl-C."""
    record.folder.mkdir(parents=True, exist_ok=True)
    stop = Event()
    with Progress(f"{label}: fetch", 0, BYTES) as bar, ThreadPoolExecutor(workers) as pool:
        try:
            parts = [Part(record.folder, record.wanted(download), bar, stop) for download in missing]
            for part, size in zip(parts, pool.map(lambda part: size_of(part.wanted, patience), parts), strict=True):
                part.promise(max((size or 0) - part.size, 0))
            require_space(record.folder, bar.total, label)
            tasks = [
                pool.submit(_fetch_one, part, record, patience, record.advice(download))
                for part, download in zip(parts, missing, strict=True)
            ]
            _require_success(tasks, record)
        except BaseException:
            stop.set()
            raise


def _fetch_one(part: Part, record: Record, patience: Patience, advice: str) -> None:
    if part.stop.is_set():
        raise Stopped
    url, facts = fetch(part, patience, advice)
    record.note(part.wanted, facts, {"url": url})


def _require_success(tasks: Sequence[Future[None]], record: Record) -> None:
    """Wait for all; what is wrong becomes one message."""
    errors = [error for task in tasks if (error := task.exception()) is not None and not isinstance(error, Stopped)]
    for error in errors:
        if isinstance(error, DiskFull) or not isinstance(error, UserError):
            raise error
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserError(f"{len(errors)} files could not be fetched:\n" + "\n".join(map(str, errors)), record.folder)
