"""What jobs will cost, by hand: which records count, how long cores take, and what is said of what nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from georelay.cache import Entry
from georelay.estimate import RESTORING, Guess, Record, guess, read_records, reasons, summary, table, wall_seconds
from georelay.outlook import CACHED, DONE, TO_RUN, Job

HEADER = "s\th:m:s\tmax_rss\tmax_vms\n"


def job(label: str, state: str = TO_RUN, needs: tuple[str, ...] = (), reason: str = "") -> Job:
    stage, _, subject = label.partition(" ")
    return Job(stage, subject, state, reason, needs)


def benchmark(root: Path, place: str, seconds: float, memory: str = "500.00", log: str = "") -> None:
    for folder, ending, text in (("benchmarks", "tsv", f"{HEADER}{seconds}\t0:00:00\t{memory}\t9\n"), ("logs", "log", log)):
        path = root / "results" / folder / f"{place}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def entry(label: str, seconds: float, *sizes: int) -> Entry:
    return Entry(label, label, seconds, {str(number): {"sha256": "", "size": size} for number, size in enumerate(sizes)})


def test_the_median_of_the_same_row_counts_first(tmp_path: Path) -> None:
    for seed, seconds in enumerate((10.0, 40.0, 20.0)):
        benchmark(tmp_path, f"train/ours/seed{seed}", seconds, memory=f"{400 + seed}.00")
    benchmark(tmp_path, "train/other/seed0", 100.0)
    records = read_records(tmp_path, [entry("train ours 0", 7.0, 3_000_000, 1_000_000)])
    found = guess(job("train ours 5"), records)
    assert (found.seconds, found.memory, found.size, len(found.basis)) == (20.0, 402e6, 4_000_000, 3)
    everywhere = guess(job("train another 0"), records)
    assert (everywhere.seconds, len(everywhere.basis)) == (30.0, 4), "the median of 10, 20, 40 and 100"


def test_without_benchmarks_the_cache_tells_and_without_both_nobody(tmp_path: Path) -> None:
    records = read_records(tmp_path, [entry("train ours 0", 8.0, 10), entry("train ours 1", 12.0, 30)])
    assert guess(job("train ours 2"), records).seconds == 10.0
    assert guess(job("train ours 2"), records).size == 20
    assert guess(job("predict ours 2"), records) == Guess()


def test_features_are_known_by_task_and_teacher(tmp_path: Path) -> None:
    benchmark(tmp_path, "features/clouds--attributes", 6.0)
    benchmark(tmp_path, "features/grass--attributes", 8.0)
    records = read_records(tmp_path, [entry("features clouds attributes", 5.0, 70)])
    found = guess(job("features clouds attributes"), records)
    assert (found.seconds, found.size) == (6.0, 70)


def test_a_benchmark_of_restoring_tells_of_restoring_alone(tmp_path: Path) -> None:
    benchmark(tmp_path, "train/ours/seed0", 1.25, log="train ours 0: restored from the cache (30 s saved)\n")
    benchmark(tmp_path, "train/ours/seed1", 30.5, log="train ours 1: restored from the cache (30 s saved)\n")
    records = read_records(tmp_path, [])
    assert guess(job("train ours 0", CACHED), records).seconds == 1.25
    assert guess(job("train ours 0"), records).seconds == 30.5, "its log is of a later call"
    assert guess(job("tile clouds", CACHED), records).seconds == RESTORING
    assert guess(job("train ours 0", DONE), records).seconds == 0


def test_a_job_that_trained_several_seeds_is_shared_among_them(tmp_path: Path) -> None:
    lines = [f"{stage} ours {seed}: done in 4.0 s\n" for seed in range(3) for stage in ("train", "predict")]
    benchmark(tmp_path, "train/ours/seed0", 18.0, log="".join(lines))
    assert guess(job("train ours 3"), read_records(tmp_path, [])).seconds == 6.0


def test_a_job_too_short_to_be_measured_has_no_memory(tmp_path: Path) -> None:
    benchmark(tmp_path, "plan/ours", 0.4, memory="-")
    assert guess(job("plan ours"), read_records(tmp_path, [])).memory is None


CHAIN = [job("a"), job("b"), job("c", needs=("a",)), job("d", needs=("a", "b")), job("e", needs=("c", "d"))]
SECONDS = {"a": 2.0, "b": 3.0, "c": 4.0, "d": 1.0, "e": 5.0}


@pytest.mark.parametrize(
    ("cores", "wall"),
    [
        (1, 15.0),
        (2, 11.0),  # a 0-2, b 0-3, c 2-6, d 3-4, e 6-11
        (9, 11.0),
    ],
)
def test_a_job_starts_when_a_core_and_all_it_needs_are_there(cores: int, wall: float) -> None:
    assert wall_seconds(CHAIN, SECONDS, cores) == wall


def test_the_table_adds_up() -> None:
    first, second = Record("one", "train", "ours", 60.0), Record("two", "train", "ours", 120.0)
    jobs = [job("fetch clouds", DONE), job("train ours 0"), job("train ours 1"), job("train theirs 0", CACHED)]
    guesses = {
        "fetch clouds": Guess(0.0),
        "train ours 0": Guess(90.0, 1.5e9, 2e9, frozenset({first, second})),
        "train ours 1": Guess(90.0, 1.5e9, 2e9, frozenset({first, second})),
        "train theirs 0": Guess(6.0),
    }
    lines = [line.split() for line in table(jobs, guesses).splitlines()]
    assert lines[1] == ["fetch", "1", "1", "0", "0", "-", "-", "-", "-"]
    assert lines[2] == ["train", "3", "0", "1", "2", "3.1", "2", "1.50", "4.00"]
    assert lines[3] == ["all", "4", "1", "1", "2", "3.1", "2", "1.50", "4.00"]
    assert list(summary(jobs, guesses, 2, 5 * 10**9)) == ["2 runs to train; 1.6 minutes on 2 cores; 5 GB free on the disk."]


def test_what_nobody_knows_is_said() -> None:
    jobs = [job("train ours 0"), job("predict ours 0", needs=("train ours 0",))]
    guesses = {"train ours 0": Guess(30.0), "predict ours 0": Guess()}
    said = list(summary(jobs, guesses, 1, 0))
    assert "at least 0.5 minutes" in said[0]
    assert said[1] == "Not counted, because no such job has been timed here: 1 jobs (predict)."
    assert table(jobs, guesses).splitlines()[2].split()[5] == "unknown"
    nothing = "how long is unknown, because no such job has been timed here"
    assert list(summary(jobs, dict.fromkeys(guesses, Guess()), 1, 0)) == [f"1 runs to train; {nothing}; 0 GB free on the disk."]


def test_seeds_of_one_reason_are_one_line() -> None:
    jobs = [job(f"train ours {seed}", reason="train.lr: 1 -> 2") for seed in range(3)] + [job("tile clouds", DONE)]
    assert list(reasons(jobs)) == ["", "train ours (3 seeds): to run: train.lr: 1 -> 2"]
    assert list(reasons(jobs[3:])) == []
    assert list(summary(jobs[3:], {}, 1, 0)) == ["Nothing to be done."]
