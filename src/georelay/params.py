"""params.yaml read and checked as a whole: one YAML dialect, known names only, `like` and `set` merged into rows.

Light on purpose (pydantic and PyYAML only): the Snakefile and every command load it first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from georelay.errors import UserError, suggestion
from georelay.methods.options import METHODS
from georelay.settings import GROUPS, TASK_KEYS, Experiment, Params, Row, Strict

PARAMS = Path("params.yaml")


class _Loader(yaml.SafeLoader):
    """PyYAML reading the YAML 1.2 core schema, as ruamel (and so DVC) does: `1e-3` is a number, `off` a word."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as in the base class

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping that refuses a key given twice; PyYAML would silently keep the last."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise UserError(
                    f'"{key}" is given twice', f"{node.start_mark.name}:{node.start_mark.line + 1}", "keep one of them"
                )
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def _construct_decimal(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))  # PyYAML would read 010 as eight


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_decimal)


def load_yaml(path: Path) -> Any:
    """The plain values of a YAML file."""
    try:
        with open(path, encoding="utf-8") as stream:
            return yaml.load(stream, _Loader)
    except FileNotFoundError:
        raise UserError("file is missing", path, "run from the folder that holds params.yaml") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"not valid YAML: {getattr(error, 'problem', error)}", f"{path}{line}") from None


def load_params(path: Path = PARAMS) -> Params:
    """params.yaml, checked as a whole: types, names, rows, and that `active` is closed."""
    values = load_yaml(path)
    if not isinstance(values, dict):
        raise UserError("must be a mapping of sections", path)
    params: Params = validated(Params, values, str(path))
    _check_references(params)
    for name in params.experiments:
        resolve(params, name)
    _check_active(params)
    return params


def validated(model: type[Strict], values: Any, where: str) -> Any:
    """An object of `model`; the first thing wrong becomes a UserError that names its key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt key is unknown, and the right one missing: the first of the two says what happened.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        path = tuple(str(part) for part in first["loc"] if part != "[key]")
        raise _explained(model, first, path, where) from None


def _explained(model: type[Strict], problem: Mapping[str, Any], path: tuple[str, ...], where: str) -> UserError:
    place = f"{where}{'.' if ': ' in where else ': '}{'.'.join(path)}"
    if problem["type"] == "extra_forbidden":
        return UserError("unknown key", place, suggestion(path[-1], _keys_at(model, path[:-1])))
    if problem["type"] == "string_pattern_mismatch":
        return UserError("names are made of a-z, 0-9 and - only", place)
    value = "" if isinstance(problem.get("input"), (dict, list)) else f", not {problem.get('input')!r}"
    return UserError(f"{problem['msg'].lower()}{value}", place)


def _keys_at(model: Any, path: tuple[str, ...]) -> list[str]:
    """The keys that are known at a place inside a settings class."""
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[part].annotation
        else:  # dict[Slug, Thing] or Thing | None
            model = get_args(model)[-1]
        options = [kind for kind in get_args(model) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if options and not str(model).startswith("dict"):
            model = options[0]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def lookup(table: Mapping[str, Any], name: str, where: str, kind: str) -> Any:
    """`table[name]`, or a UserError that says which names there are."""
    if name not in table:
        raise UserError(f'unknown {kind} "{name}"', where, suggestion(name, table))
    return table[name]


def _check_references(params: Params) -> None:
    for name, task in params.tasks.items():
        where = f"{PARAMS}: tasks.{name}"
        lookup(params.sources, task.source, f"{where}.source", "source")
        for modality in task.inputs:
            lookup(dict.fromkeys(task.modalities), modality, f"{where}.inputs", "modality")
        if task.stride > task.tile:
            raise UserError(f"stride {task.stride} leaves gaps between tiles of {task.tile}", f"{where}.stride")
        if task.split.rule == "blocks" and None in (task.split.block, task.split.fractions, task.split.seed):
            raise UserError("rule blocks needs block, fractions and seed", f"{where}.split")


def lineage(params: Params, name: str) -> list[Experiment]:
    """The row and its ancestors by `like`, eldest first."""
    chain: list[str] = []
    current: str | None = name
    while current is not None:
        where = f"{PARAMS}: experiments.{chain[-1]}.like" if chain else f"{PARAMS}: experiments"
        if current in chain:
            raise UserError(f"`like` runs in a circle: {' -> '.join([*chain, current])}", where, "let one of them stand alone")
        row = lookup(params.experiments, current, where, "experiment")
        chain.append(current)
        current = row.like
    return [params.experiments[link] for link in reversed(chain)]


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `change` laid over it, mappings merged key by key."""
    result = dict(base)
    for key, value in change.items():
        inner = base.get(key)
        result[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return result


def resolve(params: Params, name: str) -> Row:
    """One experiment with defaults, ancestors and `set` merged, every value checked."""
    chain = lineage(params, name)
    where = f"{PARAMS}: experiments.{name}"
    facts: dict[str, Any] = {"set": {}}
    for link in chain:
        facts["set"] = merged(facts["set"], link.set)
        facts |= {key: getattr(link, key) for key in ("study", "method", "task") if getattr(link, key) is not None}
    for key in ("study", "method", "task"):
        if key not in facts:
            raise UserError(f"{key} is missing", where, f"give `{key}`, or `like` a row that has it")
    entry = lookup(METHODS, facts["method"], f"{where}.method", "method")
    task = lookup(params.tasks, facts["task"], f"{where}.task", "task")
    values = {key: getattr(task, key) for key in TASK_KEYS} | {key: facts["set"][key] for key in TASK_KEYS if key in facts["set"]}
    groups = {key: _group(params, key, facts["set"], where) for key in GROUPS}
    options = _options(params, facts["method"], entry.settings, facts["set"], where)
    row = {"name": name, "parent": chain[-1].like, "why": chain[-1].why, "core": chain[-1].core, "options": options}
    resolved: Row = validated(Row, {**row, **values, **groups, **{k: facts[k] for k in ("study", "method", "task")}}, where)
    for modality in resolved.inputs:
        lookup(dict.fromkeys(task.modalities), modality, f"{where}.set.inputs", "modality")
    return resolved


def _group(params: Params, key: str, changes: Mapping[str, Any], where: str) -> Any:
    change = changes.get(key, {})
    if not isinstance(change, Mapping):
        raise UserError("must be a mapping", f"{where}.set.{key}")
    return validated(GROUPS[key], merged(getattr(params.defaults, key).model_dump(), change), f"{where}.set.{key}")


def _options(params: Params, method: str, settings: Any, changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The method's own settings: whatever `set` holds beside the shared groups and task keys."""
    own = {key: value for key, value in changes.items() if key not in GROUPS and key not in TASK_KEYS}
    for key in own:
        if key not in settings.model_fields:
            known = [*settings.model_fields, *GROUPS, *TASK_KEYS]
            raise UserError(f"not a setting of method {method}", f"{where}.set.{key}", suggestion(key, known))
    defaults = lookup(params.defaults.methods, method, f"{PARAMS}: defaults.methods", "method")
    dumped: dict[str, Any] = validated(settings, merged(defaults, own), f"{where}.set").model_dump(mode="json")
    return dumped


def rows(params: Params, study: str | None = None, active: bool = True) -> list[Row]:
    """Resolved rows in the order of params.yaml: the active ones, or all; of one study, or of all."""
    names = [name for name in params.experiments if not active or name in params.active.experiments]
    found = [resolve(params, name) for name in names]
    return [row for row in found if study is None or row.study == study]


def studies(params: Params) -> dict[str, list[str]]:
    """Every study with the names of its rows, active or not."""
    table: dict[str, list[str]] = {}
    for row in rows(params, active=False):
        table.setdefault(row.study, []).append(row.name)
    return table


def _check_active(params: Params) -> None:
    """Everything an active row stands on must be active, and every list must name known things."""
    where = f"{PARAMS}: active"
    tables: dict[str, Mapping[str, Any]] = {
        "sources": params.sources,
        "tasks": params.tasks,
        "experiments": params.experiments,
        "studies": studies(params),
    }
    for key, table in tables.items():
        for name in getattr(params.active, key):
            lookup(table, name, f"{where}.{key}", key.rstrip("s") if key != "studies" else "study")
    for row in (resolve(params, name) for name in params.active.experiments):
        needs = {"tasks": row.task, "studies": row.study, "sources": params.tasks[row.task].source}
        if row.parent is not None:
            needs["experiments"] = row.parent
        for key, name in needs.items():
            if name not in getattr(params.active, key):
                raise UserError(f'{row.name} needs "{name}"', f"{where}.{key}", f"add {name} to active.{key}")
