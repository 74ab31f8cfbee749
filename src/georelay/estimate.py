"""What the jobs of an outlook will cost, told from what such jobs cost before.

Seconds and memory stand in the benchmark files that Snakemake writes for every job, seconds and bytes in the entries of the
cache. A benchmark of a job that was only restored tells what restoring costs, and nothing else.
"""

from __future__ import annotations

import csv
import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from georelay.cache import Entry
from georelay.outlook import CACHED, DONE, TO_RUN, Job, row_of

BENCHMARKS, LOGS = Path("results/benchmarks"), Path("results/logs")
RESTORED = re.compile(r"restored from the cache \((\d+) s saved\)")  # what a stage says in its log
TRAINED = re.compile(r"^train \S+ \d+: done", re.M)  # one job may train several seeds
RESTORING = 1.5  # seconds of starting a command and linking its files, where no benchmark tells: 1.2 to 2.2 s on two cores
ORDER = ("fetch", "tile", "teach", "features", "plan", "train", "predict", "evaluate", "compare", "report", "track")
UNKNOWN, NOTHING = "unknown", "-"
COLUMNS = ("jobs", "done", "cached", "to run", "minutes", "from", "memory GB", "disk GB")


@dataclass(frozen=True)
class Record:
    """What one job of before cost, as far as it was written down at `where`."""

    where: str
    stage: str
    row: str
    seconds: float
    restored: bool = False
    memory: float | None = None  # bytes
    size: int | None = None  # bytes of its results


@dataclass(frozen=True)
class Guess:
    """What a job will cost, and the records behind it; None where there are none that tell."""

    seconds: float | None = None
    memory: float | None = None
    size: float | None = None
    basis: frozenset[Record] = frozenset()


def read_records(root: Path, entries: Iterable[Entry]) -> list[Record]:
    """All that is written down in benchmark files and in the cache."""
    benchmarks = [record for path in sorted((root / BENCHMARKS).rglob("*.tsv")) for record in _benchmarks(path, root)]
    return benchmarks + [_kept(entry) for entry in entries]


def _benchmarks(path: Path, root: Path) -> Iterator[Record]:
    place = path.relative_to(root / BENCHMARKS).with_suffix("")
    stage, row = place.parts[0], place.parts[1] if len(place.parts) > 1 else ""
    log = root / LOGS / place.with_suffix(".log")
    told = log.read_text() if log.is_file() else ""
    saved, runs = RESTORED.search(told), max(len(TRAINED.findall(told)), 1)
    with open(path, newline="") as stream:
        for line in csv.DictReader(stream, delimiter="\t"):
            seconds = float(line["s"])
            # What took longer than was saved was no restoring: the log is of a later call, which wrote no benchmark.
            restored = saved is not None and seconds < int(saved[1])
            yield Record(str(path), stage, row, seconds / runs, restored, memory=_bytes(line.get("max_rss")))


def _bytes(megabytes: str | None) -> float | None:
    """Jobs of a moment have no figure but a dash."""
    try:
        return float(megabytes or "") * 1e6
    except ValueError:
        return None


def _kept(entry: Entry) -> Record:
    return Record(entry.fingerprint, entry.label.split()[0], row_of(entry.label), entry.seconds, size=entry.size)


def guess(job: Job, records: Sequence[Record]) -> Guess:
    """The median of the same row's records, else of the stage's; of benchmarks, else of the cache."""
    if job.state == DONE:
        return Guess(0.0)
    alike = [record for record in records if record.stage == job.stage]
    if job.state == CACHED:
        restored = [record for record in alike if record.restored]
        return _typical(restored) if restored else Guess(RESTORING)
    made = [record for record in alike if not record.restored]
    timed, kept = [record for record in made if record.size is None], [record for record in made if record.size is not None]
    return _typical(_of(job, timed) or _of(job, kept) or timed or kept, _of(job, kept) or kept)


def _of(job: Job, records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.row == job.row]


def _typical(timed: Sequence[Record], sized: Sequence[Record] = ()) -> Guess:
    memory = [record.memory for record in timed if record.memory is not None]
    sizes = [record.size for record in sized if record.size is not None]
    seconds = median(record.seconds for record in timed) if timed else None
    return Guess(seconds, max(memory, default=None), median(sizes) if sizes else None, frozenset(timed))


def wall_seconds(jobs: Sequence[Job], seconds: Mapping[str, float], cores: int) -> float:
    """When the last job ends, if every job takes one core and starts as soon as what it needs is there."""
    waiting, running, ended, now = list(jobs), list[tuple[float, str]](), set[str](), 0.0
    while waiting or running:
        ready = [job for job in waiting if ended.issuperset(job.needs)][: cores - len(running)]
        for job in ready:
            heapq.heappush(running, (now + seconds[job.label], job.label))
        waiting = [job for job in waiting if job not in ready]
        now, label = heapq.heappop(running)
        ended.add(label)
    return now


def table(jobs: Sequence[Job], guesses: Mapping[str, Guess]) -> str:
    """A line a stage in the order in which they run, and one for all of them."""
    stages = {stage: [job for job in jobs if job.stage == stage] for stage in ORDER}
    lines = [_line(stage, found, guesses) for stage, found in [*stages.items(), ("all", list(jobs))] if found]
    return "\n".join(_aligned(line) for line in [("stage", *COLUMNS), *lines])


def _aligned(line: Sequence[str]) -> str:
    return f"{line[0]:10}" + "".join(f"{text:>{max(len(name), 5) + 2}}" for name, text in zip(COLUMNS, line[1:], strict=True))


def _line(name: str, jobs: Sequence[Job], guesses: Mapping[str, Guess]) -> tuple[str, ...]:
    counts = [sum(job.state == state for job in jobs) for state in (DONE, CACHED, TO_RUN)]
    left = [guesses[job.label] for job in jobs if job.state != DONE]
    basis = frozenset[Record]().union(*(found.basis for found in left))
    memory = max((found.memory for found in left if found.memory is not None), default=None)
    sizes = [found.size for found in left if found.size is not None]
    costs = [_minutes(left), str(len(basis)), _gigabytes(memory), _gigabytes(sum(sizes) if sizes else None)]
    return name, *map(str, [len(jobs), *counts]), *(costs if left else [NOTHING] * len(costs))


def _minutes(guesses: Sequence[Guess]) -> str:
    known = [found.seconds for found in guesses if found.seconds is not None]
    return f"{sum(known) / 60:.1f}" if known else UNKNOWN


def _gigabytes(found: float | None) -> str:
    return NOTHING if found is None else f"{found / 1e9:.2f}"


def summary(jobs: Sequence[Job], guesses: Mapping[str, Guess], cores: int, free: int) -> Iterator[str]:
    """How many runs, how long on these cores, and what nobody knows; `free` bytes are left on the disk."""
    left = [job for job in jobs if job.state != DONE]
    if not left:
        yield "Nothing to be done."
        return
    seconds = {job.label: guesses[job.label].seconds or 0.0 for job in jobs}
    runs = sum(job.stage == "train" and job.state == TO_RUN for job in jobs)
    unknown = [job for job in left if guesses[job.label].seconds is None]
    minutes = f"{'at least ' if unknown else ''}{wall_seconds(jobs, seconds, cores) / 60:.1f} minutes on {cores} cores"
    if len(unknown) == len(left):
        minutes = "how long is unknown, because no such job has been timed here"
    yield f"{runs} runs to train; {minutes}; {free / 1e9:.0f} GB free on the disk."
    if len(unknown) < len(left) and unknown:
        stages = ", ".join(dict.fromkeys(job.stage for job in unknown))
        yield f"Not counted, because no such job has been timed here: {len(unknown)} jobs ({stages})."


def reasons(jobs: Sequence[Job]) -> Iterator[str]:
    """What is to be made or restored, and why; seeds of a row are said once, and jobs that only wait for others not at all."""
    said = Counter((job.stage, job.row, job.state, job.reason) for job in jobs if job.reason and not job.waits)
    yield from [""] if said else []
    for (stage, row, state, reason), number in said.items():
        yield f"{stage} {row}{f' ({number} seeds)' if number > 1 else ''}: {state}: {reason}"
