"""Settings read from YAML: one dialect, wrong values and misspelt keys named with the place they stand in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from georelay.errors import UserError, suggestion
from georelay.settings.base import Strict

PARAMS = Path("params.yaml")


# Every command reads params.yaml first; libyaml is ten times as fast where PyYAML was built with it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
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
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


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


def validated(model: type[Strict], values: Any, where: str) -> Any:
    """An object of `model`; the first thing wrong becomes a UserError that names its key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt key is unknown, and the right one missing: the first of the two says what happened.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        path = tuple(str(part) for part in first["loc"] if not str(part).startswith("["))  # [key] and tags of unions
        raise _explained(model, first, path, where) from None


def _explained(model: type[Strict], problem: Mapping[str, Any], path: tuple[str, ...], where: str) -> UserError:
    shown, parent = _walk(model, path[:-1])
    place = f"{where}{'.' if ': ' in where else ': '}{'.'.join((*shown, *path[-1:]))}"
    if problem["type"] == "extra_forbidden":
        return UserError("unknown key", place, suggestion(path[-1], _keys(parent)))
    if problem["type"] == "string_pattern_mismatch":
        return UserError("names are made of a-z, 0-9 and - only", place)
    value = "" if isinstance(problem.get("input"), (dict, list)) else f", not {problem.get('input')!r}"
    return UserError(f"{problem['msg'].lower()}{value}", place)


def _walk(model: Any, path: tuple[str, ...]) -> tuple[list[str], Any]:
    """A place inside a settings class as YAML has it, and what stands there; pydantic's path also names the kind it tried."""
    shown: list[str] = []
    for part in path:
        kinds = _kinds(model)
        if part in kinds:
            model = kinds[part]
            continue
        shown.append(part)
        if _is_settings(model):
            model = model.model_fields[part].annotation if part in model.model_fields else None
        else:  # dict[Slug, Thing], list[Thing] or Thing | None
            model = (get_args(model) or (None,))[-1]
        options = [kind for kind in get_args(model) if _is_settings(kind)]
        if options and get_origin(model) not in (dict, list):
            model = options[0]
    return shown, model


def _kinds(model: Any) -> dict[str, Any]:
    """The settings classes of a union that `kind` tells apart, by their kind."""
    union = get_args(model)[0] if get_origin(model) is Annotated else None
    options = [option for option in get_args(union) if _is_settings(option) and "kind" in option.model_fields]
    return {get_args(option.model_fields["kind"].annotation)[0]: option for option in options}


def _keys(model: Any) -> list[str]:
    return list(model.model_fields) if _is_settings(model) else []


def _is_settings(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def lookup(table: Mapping[str, Any], name: str, where: str, kind: str) -> Any:
    """`table[name]`, or a UserError that says which names there are."""
    if name not in table:
        raise UserError(f'unknown {kind} "{name}"', where, suggestion(name, table))
    return table[name]
