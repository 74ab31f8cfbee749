"""What would run now: every job behind some rows, and whether it is done, in the cache, or still to be made.

Nothing is run or restored for this. Cards that only the cache holds are linked into a folder of their own, which stands
for the checkout as it would be, so that plans can be made as if they had been restored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from georelay.cache import Cache, Entry
from georelay.changes import plan_changes, same_maps
from georelay.files import read_json, sha256_file
from georelay.plan import card_path, features_path, make_plan, plan_path, raw_folder, run_fingerprint, teacher_path
from georelay.rows import active_studies, rows, seeds_of, study_rows, teacher_row
from georelay.settings import Params, Row
from georelay.stage import Stage
from georelay.stages import MAPS, RUNS, features_stage, fetch_stage, predict_stage, teach_stage, tile_stage, train_stage

DONE, CACHED, TO_RUN = "done", "cached", "to run"
LISTED = 3  # changes that are named as a reason; `georelay why` names all


@dataclass(frozen=True)
class Job:
    """One command that an engine would call, or need not."""

    stage: str
    subject: str
    state: str
    reason: str = ""
    needs: tuple[str, ...] = ()
    waits: bool = False  # for something that must be made first, so that nobody can tell yet which result it would be

    @property
    def label(self) -> str:
        """The command's words."""
        return f"{self.stage} {self.subject}".strip()

    @property
    def row(self) -> str:
        """What it is about, whatever the seed: the words as one, as benchmark files are named."""
        return row_of(self.label)


def row_of(label: str) -> str:
    """The subject of a command without its seed: `train clouds-ktda 2` is about clouds-ktda."""
    words = label.split()[1:]
    return "--".join(words[:-1] if words and words[-1].isdigit() else words)


def look_ahead(params: Params, names: Sequence[str], root: Path) -> list[Job]:
    """The jobs of the active rows, or of those named and of the studies named, each after what it needs."""
    with TemporaryDirectory() as folder:
        outlook = _Outlook(params, root, Cache.here(root), Path(folder))
        if names:
            outlook.named(names)
        else:
            outlook.active()
        return list(outlook.jobs.values())


def reason_of(old: dict[str, Any] | None, new: dict[str, Any]) -> str:
    """Why a run of this plan is not there, in a line."""
    if old is None:
        return "no stored run"
    found = [str(change) for change in plan_changes(old, new)]
    more = f"; {len(found) - LISTED} more" if len(found) > LISTED else ""
    return "; ".join(found[:LISTED]) + more if found else "results are missing"


@dataclass
class _Outlook:
    params: Params
    root: Path
    cache: Cache
    mirror: Path  # the checkout as it would be: links to cards here and in the cache
    jobs: dict[str, Job] = field(default_factory=dict)

    def active(self) -> None:
        tables = [self._compared(study) for study in active_studies(self.params)]
        for stage, output in (("report", "report.html"), ("track", "track.json")):
            self._follow(stage, "", [self.root / "results" / output], tables)

    def named(self, names: Sequence[str]) -> None:
        studies = study_rows(self.params)
        for name in names:
            if name in studies:
                self._compared(name)
            else:
                self._row(next(row for row in rows(self.params, active=False) if row.name == name))

    def _compared(self, study: str) -> str:
        names = {fact["experiment"] for fact in study_rows(self.params)[study]}
        scores = [label for row in rows(self.params, study, active=False) if row.name in names for label in self._row(row)]
        return self._follow("compare", study, [self.root / "results/tables" / f"{study}.csv"], scores)

    def _row(self, row: Row) -> list[str]:
        facts, plan = self._plan(row)
        return [self._run(row, seed, facts, plan) for seed in seeds_of(self.params, row.study)]

    def _run(self, row: Row, seed: int, facts: dict[str, Any] | None, plan: str) -> str:
        place = Path(row.name) / f"seed{seed}"
        weights = RUNS / place / "model.safetensors"
        trained = self._trained(row, seed, facts, plan, weights)
        maps, known = MAPS / place / "maps.json", self.mirror / weights
        stage = predict_stage(facts, seed, sha256_file(known)) if facts and known.is_file() else None
        predicted = self._judge("predict", f"{row.name} {seed}", stage, maps, [trained])
        return self._follow("evaluate", f"{row.name} {seed}", [self.root / "results/scores" / f"{place}.json"], [predicted])

    def _trained(self, row: Row, seed: int, facts: dict[str, Any] | None, plan: str, weights: Path) -> str:
        kept = self.root / weights.with_name("plan.json")
        old = dict(read_json(kept)) if kept.is_file() else None
        stage = train_stage(facts, seed) if facts else None
        current = old is not None and stage is not None and run_fingerprint(old, seed) == stage.fingerprint
        reason = reason_of(old, facts) if facts else ""
        return self._judge("train", f"{row.name} {seed}", stage, weights, [plan], current=current, reason=reason)

    def _plan(self, row: Row) -> tuple[dict[str, Any] | None, str]:
        """A row's plan, if all that it is made of is known, and the label of the job that writes it."""
        needs = [self._tiles(row.task), *map(self._teacher, row.teachers)]
        if row.teacher_view == "cached":
            needs += [self._features(row.task, teacher) for teacher in row.teachers]
        facts = self._made(row, needs)
        path = self.root / plan_path(row.name)
        done = facts is not None and path.is_file() and same_maps(dict(read_json(path)), facts)
        return facts, self._add(Job("plan", row.name, DONE if done else TO_RUN, needs=tuple(needs)))

    def _made(self, row: Row, needs: Iterable[str]) -> dict[str, Any] | None:
        if self._open(needs):
            return None
        if row.model.weights:
            self._link(Path(row.model.weights), self.root / row.model.weights)
        return make_plan(self.params, row, self.mirror)

    def _features(self, task: str, teacher: str) -> str:
        needs, card = [self._tiles(task), self._teacher(teacher)], features_path(task, teacher)
        if not self._open(needs):
            cards = (read_json(self.mirror / path) for path in (card_path(task), teacher_path(teacher)))
            return self._judge("features", f"{task} {teacher}", features_stage(task, teacher, *cards), card, needs)
        return self._judge("features", f"{task} {teacher}", None, card, needs)

    def _teacher(self, name: str) -> str:
        row = teacher_row(self.params, name)
        needs = [self._tiles(row.task)] if row else []
        facts = self._made(row, needs) if row else None
        stage = None if self._open(needs) else teach_stage(self.params, name, facts)
        return self._judge("teach", name, stage, teacher_path(name), needs)

    def _tiles(self, task: str) -> str:
        source = self.params.tasks[task].source
        needs, receipt = [self._source(source)], self.mirror / raw_folder(source) / "receipt.json"
        stage = None if self._open(needs) else tile_stage(self.params, task, sha256_file(receipt))
        return self._judge("tile", task, stage, card_path(task), needs)

    def _source(self, name: str) -> str:
        return self._judge("fetch", name, fetch_stage(self.params, name), raw_folder(name) / "receipt.json", [])

    def _follow(self, stage: str, subject: str, outputs: Sequence[Path], needs: Sequence[str]) -> str:
        """A job whose result is not kept: it is done when its files are there and all that it reads is done."""
        done = all(path.is_file() for path in outputs) and all(self.jobs[need].state == DONE for need in needs)
        return self._add(Job(stage, subject, DONE if done else TO_RUN, needs=tuple(needs)))

    def _judge(
        self,
        name: str,
        subject: str,
        stage: Stage | None,  # None: it waits
        witness: Path,
        needs: Sequence[str],
        current: bool | None = None,
        reason: str = "",
    ) -> str:
        """A job whose result is kept, told by one of its files."""
        label = f"{name} {subject}"
        if label in self.jobs:
            return label
        if stage is None:
            return self._add(Job(name, subject, TO_RUN, needs=tuple(needs), waits=True))
        state = self._state(stage, witness, current)
        said = (
            "" if state == DONE else reason or ("made by other settings, code or data" if self._here(witness) else "not made yet")
        )
        return self._add(Job(name, subject, state, said, tuple(needs)))

    def _state(self, stage: Stage, witness: Path, current: bool | None) -> str:
        entry = self.cache.find(stage.key) if stage.key else None
        kept = _kept(entry, stage, witness)
        here = self._here(witness)
        if here and (here == kept or (kept is None and self._unquestioned(here, current))):
            self._link(witness, self.root / witness)
            return DONE
        if kept and self.cache.place(kept).is_file():
            self._link(witness, self.cache.place(kept))
            return CACHED
        return TO_RUN

    def _unquestioned(self, sha256: str, current: bool | None) -> bool:
        """A file that the cache does not name under what it should be: dropped from there, or made by something else?"""
        return current if current is not None else sha256 not in self._known

    @cached_property
    def _known(self) -> set[str]:
        return {str(file["sha256"]) for entry in self.cache.entries() for file in entry.files.values()}

    def _here(self, path: Path) -> str | None:
        return sha256_file(self.root / path) if (self.root / path).is_file() else None

    def _open(self, needs: Iterable[str]) -> list[str]:
        return [need for need in needs if self.jobs[need].state == TO_RUN]

    def _link(self, place: Path, target: Path) -> None:
        link = self.mirror / place
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target.resolve())

    def _add(self, job: Job) -> str:
        self.jobs.setdefault(job.label, job)
        return job.label


def _kept(entry: Entry | None, stage: Stage, witness: Path) -> str | None:
    """The digest of one of a stage's files as the cache has it."""
    for number, output in enumerate(stage.outputs if entry else ()):
        inner = [witness.relative_to(output).as_posix()] if output in witness.parents else []
        if entry and (output == witness or inner):
            return str(entry.files["/".join([str(number), *inner])]["sha256"])
    return None
