"""`like` and `set` merged: experiments become rows, and teachers settings that are whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from georelay.errors import UserError, suggestion
from georelay.files import digest
from georelay.methods.options import METHODS
from georelay.reading import PARAMS, lookup, validated
from georelay.reference import plain_name, reference_name
from georelay.settings import GROUPS, TASK_KEYS, Experiment, Params, Row
from georelay.settings.teacher import Teacher

ROW_KEYS = (*TASK_KEYS, "teacher_view")  # what `set` may change beside the groups and the method's own settings
INHERITED = ("study", "method", "task", "teachers")
STRETCHED = ("steps", "warmup_steps", "poly_begin")  # what `times` multiplies in `train`


def features_name(task: str, teacher: str) -> str:
    """What the features of a teacher on a task are called."""
    return f"{task}--{teacher}"


def lineage(table: Mapping[str, Any], name: str, section: str) -> list[str]:
    """An entry's name and its ancestors' by `like`, eldest first."""
    chain: list[str] = []
    current: str | None = name
    while current is not None:
        where = f"{PARAMS}: {section}.{chain[-1]}.like" if chain else f"{PARAMS}: {section}"
        if current in chain:
            raise UserError(f"`like` runs in a circle: {' -> '.join([*chain, current])}", where, "let one of them stand alone")
        entry = lookup(table, current, where, section.rstrip("s"))
        chain.append(current)
        current = entry.get("like") if isinstance(entry, Mapping) else entry.like
    return chain[::-1]


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `change` laid over it, mappings merged key by key."""
    result = dict(base)
    for key, value in change.items():
        inner = base.get(key)
        result[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return result


def resolve(params: Params, name: str) -> Row:
    """One row by its name: an experiment, or `<experiment>-reference` as it is published."""
    plain = plain_name(name)
    row = _resolve(params, plain)
    if plain == name:
        return _smaller(params, row) if name in params.active.experiments else row
    if row.study not in params.reference.studies:
        raise UserError(f"{name} is no row: study {row.study} is not listed", f"{PARAMS}: reference.studies", f"add {row.study}")
    names = {key: reference_name(given) for key in ("name", "study", "parent") if (given := getattr(row, key)) is not None}
    return _stretched(row, params.reference.times).model_copy(update=names)


def _smaller(params: Params, row: Row) -> Row:
    """An active row with the budget that `active` gives it."""
    over = params.active.set
    _require_effect(params.experiments[row.name], row, over)
    return _stretched(_resolve(params, row.name, over) if over else row, params.active.times)


def _require_effect(own: Experiment, row: Row, over: Mapping[str, Any]) -> None:
    """Whatever the row alone changes would be replaced: it would be its parent once more, and look like a change of no effect."""
    inherits = all(getattr(own, key) is None for key in INHERITED)
    if inherits and own.set and merged(own.set, over) == over:
        where = f"{PARAMS}: experiments.{row.name}.set"
        hint = "change something else, or take that out of `active.set`; as a row of the reference it counts"
        raise UserError(f"`active.set` replaces all that {row.name} changes, which leaves {row.parent}", where, hint)


def _stretched(row: Row, times: float) -> Row:
    """The row with so many times its steps, and one at least."""
    steps = {key: round(getattr(row.train, key) * times) for key in STRETCHED}
    return row.model_copy(update={"train": row.train.model_copy(update=steps | {"steps": max(steps["steps"], 1)})})


def _resolve(params: Params, name: str, over: Mapping[str, Any] = {}) -> Row:
    """One experiment with defaults, ancestors and `set` merged, every value checked; `over` is laid over all of them."""
    where = f"{PARAMS}: {'active' if over else f'experiments.{name}'}"  # without `over` the row has passed before
    facts: dict[str, Any] = {"set": {}, "teachers": []}
    for link in (params.experiments[link] for link in lineage(params.experiments, name, "experiments")):
        facts["set"] = merged(facts["set"], link.set)
        facts |= {key: getattr(link, key) for key in INHERITED if getattr(link, key) is not None}
    facts["set"] = merged(facts["set"], over)
    for key in ("study", "method", "task"):
        if key not in facts:
            raise UserError(f"{key} is missing", where, f"give `{key}`, or `like` a row that has it")
    own = params.experiments[name]
    row = _row(params, facts | {"name": name, "parent": own.like, "why": own.why, "core": own.core}, where)
    _check_teachers(params, row, where)
    return row


def resolve_teacher(params: Params, name: str) -> Teacher:
    """One teacher with defaults and ancestors merged, every value checked."""
    values = params.defaults.teacher
    for link in lineage(params.teachers, name, "teachers"):
        values = merged(values, {key: value for key, value in params.teachers[link].items() if key != "like"})
    where = f"{PARAMS}: teachers.{name}"
    teacher: Teacher = validated(Teacher, values, where)
    _check_origin(teacher, where)
    if stray := [tap for tap in teacher.normed if tap not in teacher.taps]:
        raise UserError(f"tap {stray[0]} is not among the taps", f"{where}.normed")
    return teacher


def _check_origin(teacher: Teacher, where: str) -> None:
    """What is taught here says how; what comes trained says what it is, and how it sees."""
    ours = teacher.origin in ("taught", "random")
    needed = {"taught": ours, "network": not ours, "file": teacher.origin == "file"}
    for key, needs in needed.items():
        given = getattr(teacher, key) is not None
        if needs != given:
            what = f"needs `{key}`" if needs else f"has no use for `{key}`"
            raise UserError(f"a teacher of origin {teacher.origin} {what}", where)
    for key in () if ours else ("bands", "statistics"):
        if getattr(teacher, key) is None:
            raise UserError(f"a teacher of origin {teacher.origin} needs `{key}`", where)


def teacher_row(params: Params, name: str) -> Row | None:
    """How a teacher of our own is trained, in the form of a row; None for one that comes trained."""
    taught, where = resolve_teacher(params, name).taught, f"{PARAMS}: teachers.{name}.taught"
    if taught is None:
        return None
    facts: dict[str, Any] = {"name": name, "parent": None, "why": "", "core": False, "study": "teachers", "teachers": []}
    row = _row(params, facts | taught.model_dump(include={"task", "method", "set"}), where)
    _check_teachers(params, row, where)
    return row


def _row(params: Params, facts: Mapping[str, Any], where: str) -> Row:
    changes = facts["set"]
    entry = lookup(METHODS, facts["method"], f"{where}.method", "method")
    task = lookup(params.tasks, facts["task"], f"{where}.task", "task")
    values = {key: getattr(task, key) for key in TASK_KEYS} | {"teacher_view": params.defaults.teacher_view}
    values |= {key: changes[key] for key in ROW_KEYS if key in changes}
    groups = {key: _group(params, key, changes, where) for key in GROUPS}
    options = _options(params, facts["method"], entry.settings, changes, where)
    kept = {key: value for key, value in facts.items() if key != "set"}
    row: Row = validated(Row, {**kept, **values, **groups, "options": options}, where)
    for key in ("inputs", "pair"):
        for modality in getattr(row, key):
            lookup(dict.fromkeys(task.modalities), modality, f"{where}.set.{key}", "modality")
    for modality in row.predict.missing:
        lookup(dict.fromkeys(row.inputs), modality, f"{where}.set.predict.missing", "input")
    if set(row.inputs) <= set(row.predict.missing):
        raise UserError("nothing is left to see", f"{where}.set.predict.missing", "leave at least one input there")
    return row


def _group(params: Params, key: str, changes: Mapping[str, Any], where: str) -> Any:
    change = changes.get(key, {})
    if not isinstance(change, Mapping):
        raise UserError("must be a mapping", f"{where}.set.{key}")
    return validated(GROUPS[key], merged(getattr(params.defaults, key).model_dump(), change), f"{where}.set.{key}")


def _options(params: Params, method: str, settings: Any, changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The method's own settings: whatever `set` holds beside the shared groups and keys."""
    own = {key: value for key, value in changes.items() if key not in GROUPS and key not in ROW_KEYS}
    for key in own:
        if key not in settings.model_fields:
            known = [*settings.model_fields, *GROUPS, *ROW_KEYS]
            raise UserError(f"not a setting of method {method}", f"{where}.set.{key}", suggestion(key, known))
    defaults = lookup(params.defaults.methods, method, f"{PARAMS}: defaults.methods", "method")
    dumped: dict[str, Any] = validated(settings, merged(defaults, own), f"{where}.set").model_dump(mode="json")
    return dumped


def _check_teachers(params: Params, row: Row, where: str) -> None:
    for teacher in row.teachers:
        lookup(params.teachers, teacher, f"{where}.teachers", "teacher")
    least, most = METHODS[row.method].teachers
    if not least <= len(row.teachers) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise UserError(f"method {row.method} takes {wanted} teachers, not {len(row.teachers)}", f"{where}.teachers")
    if row.teacher_view not in METHODS[row.method].views:
        views = " or ".join(METHODS[row.method].views)
        raise UserError(f"method {row.method} works with {views}", f"{where}.set.teacher_view", f"set teacher_view: {views}")
    if len(set(row.teachers)) < len(row.teachers):
        raise UserError("the same teacher twice", f"{where}.teachers")


def rows(params: Params, study: str | None = None, active: bool = True) -> list[Row]:
    """Resolved rows in the order of params.yaml: the active ones, or all and those of the reference; of one study, or of all."""
    names = [name for name in params.experiments if not active or name in params.active.experiments]
    found = [resolve(params, name) for name in names]
    if not active:
        found += [resolve(params, reference_name(row.name)) for row in found if row.study in params.reference.studies]
    return [row for row in found if study is None or row.study == study]


def studies(params: Params) -> dict[str, list[str]]:
    """Every study with the names of its rows, active or not; those of the reference stand last."""
    table: dict[str, list[str]] = {}
    for row in rows(params, active=False):
        table.setdefault(row.study, []).append(row.name)
    return table


def bounds_of(params: Params, study: str) -> tuple[str, str] | None:
    """Lower and upper bound of a study by the names they have there, if params.yaml names any."""
    gap = params.compare.gaps.get(plain_name(study))
    if gap is None:
        return None
    named = str if plain_name(study) == study else reference_name
    return named(gap.lower), named(gap.upper)


def seeds_of(params: Params, study: str) -> list[int]:
    """The seeds that the rows of a study are run with."""
    return (params.active if plain_name(study) == study else params.reference).seeds


def _fact(row: Row) -> dict[str, Any]:
    names = {"experiment": "name", "study": "study", "parent": "parent", "why": "why", "method": "method", "task": "task"}
    alike = digest(row.model_dump(exclude={"name", "parent", "why", "core", "labels"}))
    return {key: getattr(row, name) for key, name in names.items()} | {"core": row.core, "labels": row.labels, "family": alike}


def study_rows(params: Params) -> dict[str, list[dict[str, Any]]]:
    """Every study's rows: the active ones, or all of them where none is active."""
    table: dict[str, list[dict[str, Any]]] = {}
    chosen = rows(params)
    active = {row.study for row in chosen}
    for row in [*chosen, *(row for row in rows(params, active=False) if row.study not in active)]:
        table.setdefault(row.study, []).append(_fact(row))
    return table


def active_studies(params: Params) -> dict[str, list[dict[str, Any]]]:
    """The rows of the active studies."""
    return {study: table for study, table in study_rows(params).items() if study in params.active.studies}
