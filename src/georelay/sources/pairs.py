"""Which files of a folder belong together: images and labels of one name, split by folders or by lists, or in one pool."""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import Any

from georelay.domains import MAIN, of_domain
from georelay.errors import UserError
from georelay.sources.listed import key_of, listed

REST = "*"  # in a list of scenes: what the domain's other lists do not name


@dataclass(frozen=True)
class Names:
    """Entries of a list: scenes, or what the names of several are like."""

    entries: frozenset[str]

    def __contains__(self, key: str) -> bool:
        return key in self.entries or any(fnmatchcase(key, pattern) for pattern in self._patterns)

    @cached_property
    def _patterns(self) -> list[str]:
        return [entry for entry in self.entries if "*" in entry and entry != REST]

    @property
    def rest(self) -> bool:
        """Whether it takes what the domain's other lists leave."""
        return REST in self.entries

    def missing(self, keys: Collection[str]) -> list[str]:
        """Entries that name none of the scenes."""
        alike = (entry for entry in self.entries if entry not in keys)
        return sorted(entry for entry in alike if "*" not in entry or not any(fnmatchcase(key, entry) for key in keys))


@dataclass(frozen=True)
class Part:
    """A split and a domain of a source, and how its patterns are filled for them; None where the source does not tell any."""

    split: str | None
    domain: str | None
    filled: Mapping[str, str]
    scenes: Names | None  # None: whatever is found
    elsewhere: Names  # what the domain's other lists name
    left_out: Names
    known: frozenset[str] | None  # every scene of a table; None: there is no table

    def chosen(self, found: Mapping[str, Path]) -> dict[str, Path]:
        """Those of the files, by their keys, that belong here."""
        return {key: path for key, path in found.items() if self._holds(key)}

    def _holds(self, key: str) -> bool:
        if key in self.left_out or self.left_out.rest:
            return False
        if self.scenes is None or key in self.scenes:
            return True
        return self.scenes.rest and key not in self.elsewhere

    @property
    def place(self) -> str:
        """The domain's name in settings that differ by domain, and in the receipt."""
        return self.domain or MAIN

    def __str__(self) -> str:
        return " ".join(filter(None, (self.split, self.domain)))

    def fill(self, patterns: str | Mapping[str, str]) -> str:
        """The pattern of this part's domain, with its folders."""
        pattern: str = of_domain(patterns, self.place)
        for key, inner in self.filled.items():
            pattern = pattern.replace(f"{{{key}}}", inner)
        return pattern


@dataclass(frozen=True)
class Pair:
    """An image of each modality, their label, what tells them from others, and what they are for."""

    part: Part
    key: str
    images: Mapping[str, Path]
    label: Path

    @property
    def image(self) -> Path:
        """The first modality's."""
        return next(iter(self.images.values()))

    @property
    def name(self) -> str:
        """What the scene is called."""
        return "-".join(filter(None, (self.part.split, self.part.domain, self.key)))


def find_pairs(source: Any) -> list[Pair]:
    """Every image with its label, part by part and by name; what is missing or there twice is a UserError."""
    if not Path(source.path).is_dir():
        raise UserError("folder is missing", source.path, _remedy(source, _parts(source, None)[0]))
    source, known = listed(source)
    pairs = [pair for part in _parts(source, known) for pair in _pairs_of(source, part)]
    seen: dict[Path, Part] = {}
    for part, image in ((pair.part, image) for pair in pairs for image in pair.images.values()):
        if seen.setdefault(image, part) != part:
            what = f"is for {seen[image]} and for {part}"
            hint = "give each a folder of its own in `splits` or `domains`, and `{split}` or `{domain}` in `images`"
            raise UserError(what, image, hint)
    return pairs


def _parts(source: Any, known: frozenset[str] | None) -> list[Part]:
    """Every split that there is, with every domain."""
    splits = source.splits.parts if source.splits else {None: ""}
    domains = source.domains or {None: ""}
    return [
        _part(source, split, domain, of_domain(inner, domain or MAIN), place, known)
        for split, inner in splits.items()
        for domain, place in domains.items()
        if inner is not None
    ]


def _part(
    source: Any, split: str | None, domain: str | None, given: str | Sequence[str], place: str, known: frozenset[str] | None
) -> Part:
    """`given` is a folder, or a list of scenes."""
    left_out = _names(of_domain(source.left_out, domain or MAIN) or ())
    if isinstance(given, str):
        return Part(split, domain, {"split": given, "domain": place}, None, _names(()), left_out, known)
    parts = source.splits.parts.items()
    lists = [of_domain(inner, domain or MAIN) for name, inner in parts if name != split and inner is not None]
    elsewhere = _names(entry for inner in lists if not isinstance(inner, str) for entry in inner)
    return Part(split, domain, {"domain": place}, _names(given), elsewhere, left_out, known)


def _names(entries: Iterable[str]) -> Names:
    return Names(frozenset(entries))


def _remedy(source: Any, part: Part) -> str:
    """How to get the files and where to put them, in words."""
    get = source.by_hand or (f"download {source.url}, and unpack it" if source.url else "put your files there")
    *first, last = [str(_at(source, pattern, part)) for pattern in (*_patterns(source).values(), source.labels)]
    return f"{get} so that {', '.join(first)} and {last} are found"


def _at(source: Any, patterns: str | Mapping[str, str], part: Part) -> Path:
    return Path(source.path) / part.fill(patterns)


def _patterns(source: Any) -> dict[str, str | Mapping[str, str]]:
    """Where images are, by what messages call them."""
    several = len(source.imagery) > 1
    return {f"{name} image" if several else "image": sheet.images for name, sheet in source.imagery.items()}


def _pairs_of(source: Any, part: Part) -> list[Pair]:
    patterns = _patterns(source) | {"label": source.labels}
    files = {word: _files(source, part.fill(pattern)) for word, pattern in patterns.items()}
    *images, label = patterns
    for word in images:
        if not files[word]:
            what = f"no {word} for {'split ' if part.split else ''}{part}" if str(part) else f"no {word}"
            raise UserError(what, _at(source, patterns[word], part), _remedy(source, part))
    _require_listed(source, part, files[images[0]], patterns[images[0]])
    _require_known(source, part, files[images[0]])
    if source.labels_as == "polygons" and "*" not in of_domain(source.labels, part.place):
        files[label] = dict.fromkeys(files[images[0]], _one(source, part))
    files = {word: part.chosen(found) for word, found in files.items()}
    shared = set.intersection(*(set(found) for found in files.values()))
    if source.unpaired == "refuse" or not shared:
        _require_partners(source, part, files, patterns)
    names = dict(zip(source.imagery, images, strict=True))
    return [
        Pair(part, key, {name: files[word][key] for name, word in names.items()}, files[label][key]) for key in sorted(shared)
    ]


def _require_partners(
    source: Any, part: Part, files: Mapping[str, Mapping[str, Path]], patterns: Mapping[str, str | Mapping[str, str]]
) -> None:
    for (_, have), (word, lack) in permutations(files.items(), 2):
        if alone := sorted(have.keys() - lack.keys()):
            more = f", nor have {len(alone) - 1} others" if len(alone) > 1 else ""
            hint = f"a {word} of the same name is expected at {_at(source, patterns[word], part)}"
            raise UserError(f"has no {word}{more}", have[alone[0]], hint)


def _require_listed(source: Any, part: Part, images: Mapping[str, Path], pattern: str | Mapping[str, str]) -> None:
    missing = [entry for entry in part.scenes.missing(images.keys()) if entry not in part.left_out] if part.scenes else []
    if missing:
        more = f", nor of {len(missing) - 1} others" if len(missing) > 1 else ""
        what = f'no image of scene "{missing[0]}"{more}, listed in splits.{part.split} of domain {part.place}'
        raise UserError(what, _at(source, pattern, part), _remedy(source, part))


def _require_known(source: Any, part: Part, images: Mapping[str, Path]) -> None:
    """Where a table tells the splits, no image is passed over in silence."""
    if part.known is None:
        return
    if strange := [key for key in images if key not in part.known and key not in part.left_out]:
        more = f", nor are {len(strange) - 1} others" if len(strange) > 1 else ""
        hint = f'add rows, or say `left_out: ["{strange[0]}"]`; {REST} may stand for a part of the names'
        raise UserError(f"is in no row of the table{more}", images[strange[0]], hint)


def _one(source: Any, part: Part) -> Path:
    """The one file that has the labels of all scenes."""
    path = _at(source, source.labels, part)
    if not path.is_file():
        raise UserError("label file is missing", path, _remedy(source, part))
    return path


def _files(source: Any, pattern: str) -> dict[str, Path]:
    """Files of a pattern by their keys; hidden ones, as some archives hold, are none."""
    found: dict[str, Path] = {}
    for name in sorted(glob.iglob(pattern, root_dir=source.path, recursive=True)):
        path = Path(source.path) / name
        if found.setdefault(key := key_of(path, pattern), path) != path:
            raise UserError(f"has the same name as {found[key]}", path, "scenes are told apart by the names of their images")
    return found
