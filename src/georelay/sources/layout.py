"""What the names in a folder tell: images, labels, sensors, splits and domains, as patterns; no file is opened."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from georelay.sources.listed import slug
from georelay.sources.receipt import SPLITS

MOST_FILES = 200_000  # names that are looked at; more tell nothing new
MOST_AFFIXES = 8  # of one folder: more are no kinds of files, but parts of names
MOST_DOMAINS = 50
RASTERS = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".img", ".bmp", ".webp", ".gif", ".vrt", ".dat", ".bil", ".asc"}
VECTORS = {".geojson", ".gpkg", ".shp", ".fgb"}
LABEL, ASIDE, IMAGE = "label", "aside", "image"
IMAGE_WORDS = {"images", "image", "img", "imgs"}
LABEL_WORDS = {"mask", "masks", "label", "labels", "gt", "groundtruth", "truth", "ann", "anns", "annot", "annotation"}
LABEL_WORDS |= {"annotations", "target", "targets", "seg", "segmentation"}
OBJECT_WORDS = {"building", "buildings", "road", "roads", "footprint", "footprints"}  # labels, if nothing else is told
ASIDE_WORDS = {"qc", "preview", "previews", "thumb", "thumbs", "thumbnail", "thumbnails", "overview", "quicklook", "visual"}
EO_WORDS = {"s2", "eo", "sentinel2", "optical", "optics", "rgb", "rgbn", "rgbnir", "nrg", "irrg", "ms", "naip", "planet"}
SAR_WORDS = {"s1", "sar", "sentinel1", "radar"}
SENSOR_WORDS = {"sar": SAR_WORDS, "eo": EO_WORDS}
KIND_WORDS = LABEL_WORDS | ASIDE_WORDS | OBJECT_WORDS | EO_WORDS | SAR_WORDS | IMAGE_WORDS
SPLIT_WORDS = {
    "train": frozenset({"train", "training"}),
    "val": frozenset({"val", "valid", "validation", "dev"}),
    "test": frozenset({"test", "testing"}),
}

Key = tuple[str, str, str]  # split and domain as the paths have them, empty where they tell none; and the scene


@dataclass(frozen=True)
class Sheaf:
    """Files of one kind: one pattern fits all of them."""

    place: tuple[str, ...]
    before: str
    after: str
    suffix: str
    files: dict[Key, str] = field(compare=False)

    @property
    def pattern(self) -> str:
        """As settings have it."""
        return "/".join([*self.place, f"{self.before}*{self.after}{self.suffix}"])

    @property
    def scenes(self) -> frozenset[Key]:
        """What its files are of."""
        return frozenset(self.files)

    @property
    def role(self) -> str:
        """What the files are, as far as names tell."""
        affix, place = _words(f"{self.before} {self.after}"), _words(" ".join(self.place))
        if self.suffix.lower() in VECTORS or (LABEL_WORDS & (affix | place) and not ASIDE_WORDS & affix):
            return LABEL
        if ASIDE_WORDS & (affix | place):
            return ASIDE
        return LABEL if OBJECT_WORDS & (affix | place) and not self.sensor else IMAGE

    @property
    def sensor(self) -> str | None:
        """Which sensor the names tell of."""
        found = _words(" ".join([*self.place, self.before, self.after]))
        return next((name for name, known in SENSOR_WORDS.items() if known & found), None)


@dataclass(frozen=True)
class Walk:
    """All files below a folder, and what was left aside."""

    names: Sequence[str]
    hidden: int
    cut: bool


def walk(folder: Path) -> Walk:
    """The names of files below a folder, in order; hidden ones are left aside."""
    names: list[str] = []
    hidden = 0
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = sorted(name for name in files if not name.startswith("."))
        hidden += len(files) - len(shown)
        names += [Path(root, name).relative_to(folder).as_posix() for name in shown]
        if len(names) > MOST_FILES:
            return Walk(names[:MOST_FILES], hidden, True)
    return Walk(names, hidden, False)


def sheaves(names: Iterable[str]) -> list[Sheaf]:
    """Rasters and vector files by their patterns, the largest sheaf first."""
    paths = [path for path in map(PurePosixPath, names) if path.suffix.lower() in RASTERS | VECTORS]
    told = {folder: _without_split(folder.parts) for folder in {path.parent for path in paths}}
    if not split_values([(split, "", "") for _, split in told.values()]):
        told = {folder: (folder.parts, "") for folder in told}
    buckets: dict[tuple[tuple[str, ...], bool], list[tuple[str, PurePosixPath]]] = defaultdict(list)
    for path in paths:
        place, split = told[path.parent]
        buckets[place, path.suffix.lower() in VECTORS].append((split, path))
    found = [sheaf for (place, _), files in buckets.items() for sheaf in _by_affix(place, files)]
    return sorted(_by_domain(found), key=lambda sheaf: (-len(sheaf.files), sheaf.pattern))


def split_values(scenes: Collection[Key]) -> dict[str, str | None]:
    """What {split} stands for; nothing where the paths tell no parts. One held-out part alone is the test."""
    told = {said for said, _, _ in scenes if said}
    values = {split: next((said for said in sorted(told) if said.lower() in SPLIT_WORDS[split]), None) for split in SPLITS}
    if values["train"] is None or (values["val"] is None and values["test"] is None):
        return {}
    return values if values["test"] else values | {"val": None, "test": values["val"]}


def split_of(word: str) -> str | None:
    """The split that a word means."""
    return next((split for split, known in SPLIT_WORDS.items() if word.lower() in known), None)


def domain_values(scenes: Collection[Key]) -> dict[str, str]:
    """What {domain} stands for, by the names that settings take."""
    return {slug(said): said for said in sorted({domain for _, domain, _ in scenes if domain})}


def _words(text: str) -> frozenset[str]:
    """Words of a name, those of CamelCase too; a number belongs to the word before it."""
    return frozenset(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*", text))


def _without_split(parts: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The folders of a file with {split} where one names a split, and that name."""
    pieces = (piece for part in parts for piece in re.split(r"[^A-Za-z]+", part))
    said = next((piece for piece in pieces if split_of(piece)), "")
    if not said:
        return tuple(parts), ""
    whole = re.compile(rf"(?<![A-Za-z]){said}(?![A-Za-z])")
    return tuple(whole.sub("{split}", part) for part in parts), said


def _by_affix(place: tuple[str, ...], files: Sequence[tuple[str, PurePosixPath]]) -> list[Sheaf]:
    """The files of one folder, apart where a word of their names says what they are, or where endings alone differ."""
    affixes = {path.stem: _affix(path.stem) for _, path in files}
    if len(set(affixes.values())) > MOST_AFFIXES:
        affixes = dict.fromkeys(affixes, ("", ""))
    apart: dict[tuple[str, str], dict[str, dict[Key, str]]] = defaultdict(lambda: defaultdict(dict))
    for split, path in files:
        before, after = affixes[path.stem]
        key = path.stem.removeprefix(before).removesuffix(after)
        apart[before, after][path.suffix][split, "", key] = path.as_posix()
    found = []
    for affix, endings in apart.items():
        together: dict[Key, str] = {key: path for part in endings.values() for key, path in part.items()}
        mixed = len(together) == sum(map(len, endings.values()))
        found += [Sheaf(place, *affix, _ending(part), part) for part in ([together] if mixed else endings.values())]
    return found


def _ending(files: Mapping[Key, str]) -> str:
    """A pattern of all endings: of .jpg and .png it is .[jp][pn]g."""
    endings = sorted({PurePosixPath(path).suffix for path in files.values()})
    if len({len(ending) for ending in endings}) > 1:
        return ".*"
    letters = ("".join(dict.fromkeys(place)) for place in zip(*endings, strict=True))
    return "".join(place if len(place) == 1 else f"[{place}]" for place in letters)


def _affix(stem: str) -> tuple[str, str]:
    """What stands before and after a scene's name: the part up to a word that tells a kind of file, or from it on."""
    pieces = [(match.start(), match.end(), match.group()) for match in re.finditer(r"[^_. ]+", stem)]
    for start, end, piece in reversed(pieces):
        if KIND_WORDS & _words(piece):
            if end == len(stem):
                return ("", stem[start - 1 :]) if start else ("", "")
            return stem[: end + 1], ""
    return "", ""


def _by_domain(found: Sequence[Sheaf]) -> list[Sheaf]:
    """Sheaves whose folders differ in one name alone become one, with {domain} there."""
    alike: dict[tuple[object, ...], list[Sheaf]] = defaultdict(list)
    counts = Counter((sheaf.place, sheaf.before, sheaf.after) for sheaf in found)
    crowded = {(before, after) for (_, before, after), count in counts.items() if count > 1}
    for sheaf in found:
        suffix = sheaf.suffix if (sheaf.before, sheaf.after) in crowded else ""
        alike[len(sheaf.place), sheaf.before, sheaf.after, suffix].append(sheaf)
    return [whole for group in alike.values() for whole in _merged(group)]


def _merged(group: Sequence[Sheaf]) -> list[Sheaf]:
    families: dict[tuple[int, tuple[str, ...]], list[Sheaf]] = defaultdict(list)
    for sheaf in group:
        for at, part in enumerate(sheaf.place):
            if not (KIND_WORDS & _words(part) or "{split}" in part):
                families[at, (*sheaf.place[:at], "{domain}", *sheaf.place[at + 1 :])].append(sheaf)
    sizes = Counter({key: len(family) for key, family in families.items() if 2 <= len(family) <= MOST_DOMAINS})
    done: set[tuple[str, ...]] = set()
    whole: list[Sheaf] = []
    for (at, place), _ in sizes.most_common():
        family = [sheaf for sheaf in families[at, place] if sheaf.place not in done]
        if len(family) > 1:
            files = {(s, sheaf.place[at], key): path for sheaf in family for (s, _, key), path in sheaf.files.items()}
            whole.append(replace(family[0], place=place, suffix=_ending(files), files=files))
            done |= {sheaf.place for sheaf in family}
    return whole + [sheaf for sheaf in group if sheaf.place not in done]
