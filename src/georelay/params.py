"""params.yaml read and checked as a whole: types, names, references, and that `active` is closed.

Light on purpose (pydantic and PyYAML only): the Snakefile and every command load it first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from georelay.datasets import dataset
from georelay.domains import MAIN, of_domain, require_each
from georelay.errors import UserError
from georelay.reading import PARAMS, load_yaml, lookup, validated
from georelay.reference import ENDING, plain_name
from georelay.rows import features_name, merged, resolve, teacher_row
from georelay.settings import Params, Row
from georelay.settings.data import Described, Files, Folder, Paired, Split

ROUNDING = 1e-6  # fractions such as thirds never add up to 1 exactly


def load_params(path: Path = PARAMS) -> Params:
    """params.yaml, checked as a whole: types, names, rows, and that `active` is closed."""
    params: Params = validated(Params, _written_out(_whole(path), path), str(path))
    for name, source in params.sources.items():
        if isinstance(source, Folder | Paired):
            _check_folder(source, f"{PARAMS}: sources.{name}")
    _check_references(params)
    _check_endings(params)
    studies: dict[str, dict[str, None]] = {}
    for name in params.experiments:
        studies.setdefault(resolve(params, name).study, {})[name] = None
    for name in params.teachers:
        teacher_row(params, name)
    for name in params.reference.studies:
        lookup(studies, name, f"{PARAMS}: reference.studies", "study")
    _check_gaps(params, studies)
    _check_active(params, studies)
    return params


def _whole(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's sections, laid over those of the file that it is `like`; what is active is its own."""
    values = load_yaml(path)
    if not isinstance(values, dict):
        raise UserError("must be a mapping of sections", path)
    if (base := values.get("like")) is None:
        return values
    where, found = f"{path}: like", (path.parent / str(base)).resolve()
    if not found.is_file():
        raise UserError(f"{found} is missing", where, "name the params.yaml to start from, relative to this one")
    if found in (*below, path.resolve()):
        raise UserError(f"{found} is like this file in turn", where, "end the circle")
    inherited = _whole(found, (*below, path.resolve()))
    return merged({key: value for key, value in inherited.items() if key != "active"}, values)


def _written_out(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The same with sources of kind dataset as what they stand for, so that nothing else needs to know of them."""
    sources = values.get("sources")
    if not isinstance(sources, dict):
        return values
    return values | {"sources": {name: _source(entry, f"{path}: sources.{name}") for name, entry in sources.items()}}


def _source(entry: Any, where: str) -> Any:
    """An entry of `sources`; of kind dataset the description, and over it what the entry says."""
    if not isinstance(entry, dict) or entry.get("kind") != "dataset":
        return entry
    given: Described = validated(Described, entry, where)
    changes = {key: value for key, value in entry.items() if key not in ("kind", "dataset")}
    description = dataset(given.dataset, f"{where}.dataset").settings
    whole = {key: changes[key] for key in ("splits",) if key in changes}  # one kind of splits has no keys of another
    return merged(description, changes) | whole


def _domains(source: Files) -> list[str]:
    return list(source.domains or [MAIN])


def _check_folder(source: Folder | Paired, where: str) -> None:
    """What differs by domain has every domain, and no scene is in two lists."""
    _check_table(source, where)
    splits = source.splits.parts if source.splits else {}
    lists = {f"splits.{split}": scenes for split, scenes in splits.items() if scenes is not None}
    alone = source.kind == "folder"
    images = {"images" if alone else f"modalities.{name}.images": sheet.images for name, sheet in source.imagery.items()}
    for key, setting in {**images, "labels": source.labels, "gsd": source.gsd, "left_out": source.left_out, **lists}.items():
        require_each(setting, _domains(source), f"{where}.{key}")
    for domain in _domains(source):
        seen: dict[str, str] = {}
        for key, setting in lists.items():
            scenes = of_domain(setting, domain)
            for scene in scenes if isinstance(scenes, list) else ():
                if scene in seen:
                    what = f'scene "{scene}" of domain {domain} is listed in {seen[scene]} already'
                    raise UserError(what, f"{where}.{key}", "keep it in one of them, once")
                seen[scene] = key


def _check_table(source: Folder | Paired, where: str) -> None:
    """A table has a column of scenes and one of splits; without it no column is of any use."""
    splits = source.splits
    if splits is None:
        return
    if splits.csv is None and (stray := [key for key in ("scene", "split", "domain") if getattr(splits, key) is not None]):
        raise UserError("is a column, but there is no table", f"{where}.splits.{stray[0]}", "name the file: `csv: tiles.csv`")
    needed = ("scene", "split", "domain") if source.domains else ("scene", "split")
    if splits.csv is not None and (lacking := [key for key in needed if getattr(splits, key) is None]):
        raise UserError("is missing", f"{where}.splits.{lacking[0]}", "it is the name of a column of the table")


def _check_references(params: Params) -> None:
    for name, task in params.tasks.items():
        where = f"{PARAMS}: tasks.{name}"
        lookup(params.sources, task.source, f"{where}.source", "source")
        for key in ("inputs", "pair"):
            for modality in getattr(task, key):
                lookup(dict.fromkeys(task.modalities), modality, f"{where}.{key}", "modality")
        source = params.sources[task.source]
        if isinstance(source, Folder | Paired):  # which domains a synthetic one has is known when it is drawn
            require_each(task.stride, _domains(source), f"{where}.stride")
        for stride in task.stride.values() if isinstance(task.stride, dict) else (task.stride,):
            if stride > task.tile:
                raise UserError(f"stride {stride} leaves gaps between tiles of {task.tile}", f"{where}.stride")
        if task.align_look and getattr(source, "looks", None) is None:
            raise UserError(f"source {task.source} does not tell looks", f"{where}.align_look", "give it a list, `looks`")
        _check_split(task.split, source, f"{where}.split")


DRAWN = {
    "blocks": ("block", "fractions", "seed"),
    "scenes": ("fractions", "seed"),
    "tiles": ("fractions", "seed"),
    "eastings": ("bins",),
}


def _check_split(split: Split, source: Any, where: str) -> None:
    """The rule has what it needs, of the settings and of the source."""
    if lacking := [key for key in DRAWN.get(split.rule, ()) if getattr(split, key) is None]:
        raise UserError(f"rule {split.rule} needs {' and '.join(lacking)}", where)
    if split.fold and split.fold >= (split.bins or 1):
        raise UserError(f"fold {split.fold} of {split.bins or 'no'} bins", f"{where}.fold", "folds count from 0")
    if split.fractions and abs((total := sum(split.fractions.model_dump().values())) - 1) > ROUNDING:
        raise UserError(f"fractions add up to {total:g}, not 1", f"{where}.fractions")
    if split.rule == "tiles" and split.buffer:
        hint = "set it to 0, or use rule scenes or blocks"
        raise UserError("rule tiles puts neighbours into different splits and keeps none of them apart", f"{where}.buffer", hint)
    if (split.rule == "scene" or split.of == "held-out") and source.kind != "synthetic" and source.splits is None:
        hint = "draw with rule scenes, blocks, eastings or tiles, `of: all`"
        raise UserError("the source has no splits: `splits` is null", where, hint)


def _check_endings(params: Params) -> None:
    """The ending of the reference's rows and studies belongs to them alone."""
    for name, experiment in params.experiments.items():
        for key, given in (("", name), (".study", experiment.study or "")):
            if plain_name(given) != given:
                hint = "choose another: that is what the published form of a row or study is called"
                raise UserError(f"no name of yours may end in {ENDING}", f"{PARAMS}: experiments.{name}{key}", hint)


def _check_gaps(params: Params, studies: Mapping[str, Mapping[str, Any]]) -> None:
    """The bounds of a study are two of its rows."""
    for study, gap in params.compare.gaps.items():
        where = f"{PARAMS}: compare.gaps.{study}"
        members = lookup(studies, study, where, "study")
        for key, name in (("lower", gap.lower), ("upper", gap.upper)):
            if name in params.experiments and name not in members:
                hint = f"name one of {', '.join(members)}"
                raise UserError(f"{name} stands in study {resolve(params, name).study}", f"{where}.{key}", hint)
            lookup(members, name, f"{where}.{key}", "experiment")
        if gap.lower == gap.upper:
            raise UserError(f"{gap.lower} is the lower bound already", f"{where}.upper", "name the row that it is held against")


def _check_active(params: Params, studies: Mapping[str, Any]) -> None:
    """Everything an active row stands on must be active, and every list must name known things."""
    where = f"{PARAMS}: active"
    tables: dict[str, Mapping[str, Any]] = {
        "sources": params.sources,
        "tasks": params.tasks,
        "teachers": params.teachers,
        "experiments": params.experiments,
        "studies": studies,
    }
    for key, table in tables.items():
        for name in getattr(params.active, key):
            lookup(table, name, f"{where}.{key}", key.rstrip("s") if key != "studies" else "study")
    _check_features(params, f"{where}.features")
    for teacher in params.active.teachers:
        if row := teacher_row(params, teacher):
            _require_active(params, f"teacher {teacher}", {"tasks": [row.task], "sources": [params.tasks[row.task].source]})
    for name in params.active.experiments:
        _require_active(params, name, _needs(params, resolve(params, name)))


def _check_features(params: Params, where: str) -> None:
    for name, pairing in params.active.features.items():
        lookup(params.tasks, pairing.task, f"{where}.{name}.task", "task")
        lookup(params.teachers, pairing.teacher, f"{where}.{name}.teacher", "teacher")
        if name != features_name(pairing.task, pairing.teacher):
            raise UserError("must be named <task>--<teacher>", f"{where}.{name}", f"{pairing.task}--{pairing.teacher}")
        _require_active(params, name, {"tasks": [pairing.task], "teachers": [pairing.teacher]})


def _needs(params: Params, row: Row) -> dict[str, list[str]]:
    """What an active row stands on, by the list of `active` that must hold it."""
    needs = {"tasks": [row.task], "studies": [row.study], "sources": [params.tasks[row.task].source], "teachers": row.teachers}
    if row.parent is not None:
        needs["experiments"] = [row.parent]
    if row.teacher_view == "cached":
        needs["features"] = [features_name(row.task, teacher) for teacher in row.teachers]
    return needs


def _require_active(params: Params, what: str, needs: Mapping[str, list[str]]) -> None:
    for key, names in needs.items():
        for name in names:
            if name not in getattr(params.active, key):
                raise UserError(f'{what} needs "{name}"', f"{PARAMS}: active.{key}", f"add {name} to active.{key}")
