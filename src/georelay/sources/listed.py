"""Splits that a table tells: a CSV with a row for each scene becomes lists of scenes, and the domains it has."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from georelay.domains import MAIN, of_domain
from georelay.errors import UserError, suggestion

DELIMITERS = ",;\t"
Rows = Sequence[Mapping[str, str]]
Lists = Mapping[str, Mapping[str, list[str]] | None]


def listed(source: Any) -> tuple[Any, frozenset[str] | None]:
    """A source with lists of scenes in the place of its table, and every scene of the table; as it is if it has none."""
    splits = source.splits
    if splits is None or splits.csv is None:
        return source, None
    path = Path(source.path) / splits.csv
    rows = read_table(path)
    for column in filter(None, (splits.scene, splits.split, splits.domain)):
        if column not in rows[0]:
            raise UserError(f'has no column "{column}"', path, suggestion(column, rows[0]) or f"it has {', '.join(rows[0])}")
    domains = _domains(source, rows)
    scenes = {domain: _scenes(source, value, rows) for domain, value in domains.items()}
    lists = _lists(splits, scenes, path)
    changes = {"splits": splits.model_copy(update={**lists, "csv": None}), "domains": domains if splits.domain else None}
    return source.model_copy(update=changes), frozenset(key for pairs in scenes.values() for key, _ in pairs)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV, by the columns that its first line names; commas, semicolons or tabs stand between."""
    if not path.is_file():
        raise UserError("table is missing", path, "`splits.csv` names a file under `path`")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"is no text ({error})", path, "save it as CSV in UTF-8") from None
    delimiter = max(DELIMITERS, key=lines[0].count) if lines else ","
    rows = [{name: value or "" for name, value in row.items() if name} for row in csv.DictReader(lines, delimiter=delimiter)]
    if not rows:
        raise UserError("has no rows", path, "one line of column names, then one line a scene")
    return rows


def slug(word: str) -> str:
    """A name as settings take it: a-z, 0-9 and -."""
    return re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") or MAIN


def key_of(path: Path, pattern: str) -> str:
    """A file's name without ending, and without what its pattern has before and after a `*`."""
    before, star, after = Path(pattern).stem.partition("*")
    return path.stem.removeprefix(before).removesuffix(after) if star else path.stem


def _domains(source: Any, rows: Rows) -> dict[str, str]:
    """The values of the domains' column by the domains' names."""
    if not source.splits.domain:
        return {MAIN: ""}
    if source.domains:
        return dict(source.domains)
    return {slug(value): value for value in dict.fromkeys(row[source.splits.domain] for row in rows)}


def _scenes(source: Any, domain: str, rows: Rows) -> list[tuple[str, str]]:
    """Scenes of a domain, and what the table says of the split of each."""
    splits = source.splits
    mine = [row for row in rows if not splits.domain or row[splits.domain] == domain]
    patterns = [*(sheet.images for sheet in source.imagery.values()), source.labels]
    every = [one for pattern in patterns for one in (pattern.values() if isinstance(pattern, Mapping) else (pattern,))]
    names = [PurePosixPath(pattern.replace("{domain}", domain)).name for pattern in every]
    return [(scene_key(row[splits.scene], names), row[splits.split]) for row in mine]


def scene_key(value: str, names: Sequence[str]) -> str:
    """What the `*` of a pattern stands for: the value, or what is left of a path that the pattern fits."""
    name = PurePosixPath(value.strip().replace("\\", "/")).name
    fitting = next((pattern for pattern in names if "*" in pattern and fnmatchcase(name, pattern)), None)
    return key_of(Path(name), fitting) if fitting else name


def _lists(splits: Any, scenes: Mapping[str, list[tuple[str, str]]], path: Path) -> Lists:
    """The scenes of each split, by domain."""
    found = {said for pairs in scenes.values() for _, said in pairs}
    lists: dict[str, Mapping[str, list[str]] | None] = {}
    for split, values in splits.parts.items():
        wanted = {domain: _values(values, domain) for domain in scenes}
        if missing := [value for chosen in wanted.values() for value in chosen if value not in found]:
            hint = f"the column holds {', '.join(sorted(found)[:8])}"
            raise UserError(f'no row has "{missing[0]}" in column "{splits.split}", as splits.{split} says', path, hint)
        chosen = {domain: [key for key, said in pairs if said in wanted[domain]] for domain, pairs in scenes.items()}
        lists[split] = None if values is None else {domain: list(dict.fromkeys(keys)) for domain, keys in chosen.items()}
    for domain in scenes:
        _require_one_split([(key, split) for split, part in lists.items() for key in (part or {}).get(domain, ())], path)
    return lists


def _values(values: Any, domain: str) -> list[str]:
    given = of_domain(values, domain)
    return [given] if isinstance(given, str) else list(given or ())


def _require_one_split(given: Sequence[tuple[str, str]], path: Path) -> None:
    seen: dict[str, str] = {}
    for key, split in given:
        if seen.setdefault(key, split) != split:
            raise UserError(f'scene "{key}" is for {seen[key]} and for {split}', path, "one row a scene")
