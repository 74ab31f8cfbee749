"""What a folder holds, as far as names and a sample tell: which files belong together, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from georelay.errors import UserError
from georelay.geo.grid import SAME_SCENE
from georelay.geo.vector import read_columns, read_shapes
from georelay.sources.layout import (
    IMAGE,
    LABEL,
    VECTORS,
    Key,
    Sheaf,
    Walk,
    domain_values,
    sheaves,
    split_of,
    split_values,
    walk,
)
from georelay.sources.listed import read_table, scene_key, slug
from georelay.sources.sampled import Facts, chosen, sample_images, sample_labels

MOST_TABLES = 10
MOST_WORDS = 32  # of a column that tells classes
ENOUGH = 0.9  # of the scenes must be in a table that is taken for their list
DOMAIN_COLUMNS = ("domain", "city", "country", "region", "site", "area")
CLASS_COLUMNS = ("class", "class_id", "label", "category", "type", "landuse", "landcover")


@dataclass(frozen=True)
class Table:
    """A CSV that tells the splits."""

    name: str
    scene: str
    split: str
    domain: str | None
    values: Mapping[str, str | None]
    domains: Mapping[str, str]
    counts: Mapping[str, int]


@dataclass
class Findings:
    """Everything that the report and the settings are made of."""

    folder: Path
    walk: Walk
    images: dict[str, Sheaf] = field(default_factory=dict)
    labels: Sheaf | None = None
    unused: list[Sheaf] = field(default_factory=list)
    scenes: list[Key] = field(default_factory=list)
    table: Table | None = None
    facts: dict[str, Facts] = field(default_factory=dict)
    label_facts: Facts | None = None
    attribute: str | None = None
    words: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def polygons(self) -> bool:
        """Whether labels are vector files."""
        return self.labels is not None and self.labels.suffix.lower() in VECTORS

    @property
    def whole(self) -> bool:
        """Whether one vector file has the labels of all scenes."""
        return self.polygons and self.labels is not None and not self.labels.scenes & set(self.scenes)

    @property
    def label_pattern(self) -> str:
        """As settings have it."""
        assert self.labels is not None
        return next(iter(self.labels.files.values())) if self.whole else self.labels.pattern

    @property
    def splits(self) -> dict[str, str | None]:
        """What folders or a table call the splits; empty where nothing tells them."""
        return dict(self.table.values) if self.table else split_values(self.scenes)

    @property
    def domains(self) -> dict[str, str]:
        """What folders call the domains."""
        return domain_values(self.scenes)


def find(folder: Path, sample: int) -> Findings:
    """Look at all names below a folder, and into a sample of the files."""
    if not folder.is_dir():
        raise UserError("folder is missing", folder, "give the folder that holds your images and labels")
    found = Findings(folder, walk(folder))
    _choose(found, sheaves(found.walk.names))
    if not found.images:
        raise UserError("holds no images", folder, "GeoTIFF, PNG, JPEG and the like are looked for in all folders below")
    found.table = _table(found)
    taken = chosen(found.scenes, sample)
    found.facts = {name: sample_images(folder, sheaf, taken) for name, sheaf in found.images.items()}
    if broken := next((sheaf for name, sheaf in found.images.items() if not found.facts[name].grids), None):
        raise UserError("no file of the sample can be read as a raster", folder / broken.pattern)
    if found.polygons:
        _look_at_columns(found, taken)
    elif found.labels:
        found.label_facts = sample_labels(folder, found.labels, [key for key in taken if key in found.labels.files])
    found.problems += _problems(found)
    return found


def _choose(found: Findings, sheaves: Sequence[Sheaf]) -> None:
    """The sheaves that belong together: labels, and the images that most of them are of."""
    images = [sheaf for sheaf in sheaves if sheaf.role == IMAGE]
    every = {key for sheaf in images for key in sheaf.scenes}
    labels = [sheaf for sheaf in sheaves if sheaf.role == LABEL]
    found.labels = max(labels, key=lambda sheaf: (len(sheaf.scenes & every), len(sheaf.files)), default=None)
    base = found.labels.scenes & every if found.labels else frozenset()
    base = base or (images[0].scenes if images else frozenset())
    mine = [sheaf for sheaf in images if 2 * len(sheaf.scenes & base) >= len(base)]
    for sheaf in sorted(mine, key=lambda sheaf: sheaf.sensor == "sar"):
        found.images[_name(sheaf, found.images)] = sheaf
    found.scenes = sorted(frozenset.intersection(*(sheaf.scenes for sheaf in mine))) if mine else []
    found.unused = [sheaf for sheaf in sheaves if sheaf not in mine and sheaf is not found.labels]


def _name(sheaf: Sheaf, taken: Collection[str]) -> str:
    """What a modality is called: by its sensor, or by its folder where the sensor is there already."""
    place = " ".join(part for part in (*sheaf.place, sheaf.before, sheaf.after) if "{" not in part)
    for name in (sheaf.sensor or "optical", slug(place)):
        if name not in taken:
            return name
    return f"{slug(place)}-{len(taken)}"


def _table(found: Findings) -> Table | None:
    """The first CSV whose rows are the scenes, with a column of splits."""
    if split_values(found.scenes):
        return None
    for name in [name for name in found.walk.names if name.lower().endswith(".csv")][:MOST_TABLES]:
        try:
            rows = read_table(found.folder / name)
        except UserError:
            continue
        if table := _as_table(found, name, {column: [row[column] for row in rows] for column in rows[0]}):
            return table
    return None


def _as_table(found: Findings, name: str, columns: Mapping[str, Sequence[str]]) -> Table | None:
    keys, names = {key for _, _, key in found.scenes}, [PurePosixPath(sheaf.pattern).name for sheaf in found.images.values()]
    known = {column: len({scene_key(value, names) for value in values} & keys) for column, values in columns.items()}
    scene = max(known, key=lambda column: known[column])
    splits = [column for column, values in columns.items() if all(map(split_of, values))]
    if known[scene] < ENOUGH * len(keys) or not splits:
        return None
    counts = Counter(columns[splits[0]])
    values = split_values([(value, "", "") for value in counts])
    folders = set(found.domains.values())
    fits = folders.__eq__ if folders else lambda told: 2 <= len(told) <= MOST_WORDS
    named = [column for column in columns if folders or column.lower() in DOMAIN_COLUMNS]
    domain = next((column for column in named if fits(set(columns[column]))), None)
    domains = {slug(value): value for value in dict.fromkeys(columns[domain])} if domain else {}
    return Table(name, scene, splits[0], domain, values, domains, counts) if values else None


def _look_at_columns(found: Findings, taken: Sequence[Key]) -> None:
    """A column that tells classes, if one is called so and holds few words."""
    assert found.labels is not None
    names = (
        list(found.labels.files.values()) if found.whole else [found.labels.files[k] for k in taken if k in found.labels.files]
    )
    paths = [found.folder / name for name in names]
    columns = next((columns for path in paths if (columns := read_columns(path))), [])
    for column in [column for column in columns if column.lower() in CLASS_COLUMNS]:
        shapes = [read_shapes(path, column) for path in paths if column in read_columns(path)]
        words = {str(value) for one in shapes for value in one.values if value is not None and value == value}
        if 1 <= len(words) <= MOST_WORDS:
            found.attribute, found.words = column, sorted(words)
            return


def _problems(found: Findings) -> Iterator[str]:
    """Everything that `fetch` would stop at, or that a person should look at."""
    yield from _missing(found)
    for name, facts in found.facts.items():
        yield from _problems_of_images(name, facts)
        for other, others in found.facts.items():
            if other > name:
                yield from _differences(found.images[name], facts, found.images[other], others)
        if found.labels and found.label_facts:
            yield from _differences(found.labels, found.label_facts, found.images[name], facts)
    if found.polygons and any(None in facts.systems for facts in found.facts.values()):
        yield "images without a CRS cannot have polygons as labels: georeference them, or give labels as rasters"
    if found.label_facts:
        yield from _problems_of_labels(found, found.label_facts)


def _missing(found: Findings) -> Iterator[str]:
    if found.labels is None:
        yield "no labels are found: their folder or the end of their names should say masks, labels, gt or annotations"
    kinds = {f"{name} image" if len(found.images) > 1 else "image": sheaf for name, sheaf in found.images.items()}
    if found.labels and not found.whole:
        kinds["label"] = found.labels
    every = frozenset().union(*(sheaf.scenes for sheaf in kinds.values()))
    for word, sheaf in kinds.items():
        if lacking := sorted(every - sheaf.scenes):
            yield f"{len(lacking)} scenes have no {word}, {' '.join(filter(None, lacking[0]))} for instance"
    if other := next((sheaf for sheaf in found.unused if sheaf.role == IMAGE and sheaf.sensor), None):
        one, two = (next(iter(sheaf.files.values())) for sheaf in (other, next(iter(found.images.values()))))
        yield f"{one} is not of the same scenes as {two}: files of a scene need the same name beside the sensor's"
    folders: Counter[str] = Counter(place for sheaf in found.images.values() for place in sheaf.place[-1:])
    if len(found.unused) > MOST_WORDS and sum(folders.values()) < len(found.unused):
        yield "it seems that every scene has a folder of its own: patterns tell scenes by the names of files; rename them"


def _problems_of_images(name: str, facts: Facts) -> Iterator[str]:
    if facts.unreadable:
        yield f"{name}: {len(facts.unreadable)} files of the sample cannot be read, {facts.unreadable[0]} for instance"
    for word in ("count", "dtype", "nodata"):
        kinds = Counter(str(getattr(grid, word)) for grid in facts.grids.values())
        if len(kinds) > 1:
            yield f"{name}: files differ in {'number of bands' if word == 'count' else word}: {', '.join(kinds)}"
    if facts.grids and len(facts.systems) > 1:
        systems = ", ".join(map(str, facts.systems[:4]))
        yield f"{name}: files are in {len(facts.systems)} CRS ({systems}); one domain has one, unless `gsd` is given"
    if facts.pixels and facts.blank / facts.pixels > 0.01:
        yield f"{name}: {facts.blank / facts.pixels:.0%} of the pixels are 0 in all bands; if these are margins, say `blank: 0.0`"


def _differences(sheaf: Sheaf, facts: Facts, other: Sheaf, others: Facts) -> Iterator[str]:
    for key in facts.grids.keys() & others.grids.keys():
        one, two = facts.grids[key], others.grids[key]
        sizes = (one.height, one.width) != (two.height, two.width)
        if sizes or (one.crs and two.crs and one.difference(two, SAME_SCENE)):
            yield f"{sheaf.files[key]} does not lie on the grid of {other.files[key]}: {one.difference(two, SAME_SCENE)}"
            return


def _problems_of_labels(found: Findings, facts: Facts) -> Iterator[str]:
    if facts.unreadable:
        yield f"labels: {len(facts.unreadable)} files of the sample cannot be read, {facts.unreadable[0]} for instance"
    if facts.fractions or len(facts.values) > MOST_WORDS * 2:
        yield f"labels: {len(facts.values)} values or more, fractions among them: {facts.fractions}; are these classes?"
    if facts.grids and facts.first.count not in (1, 3):
        yield f"labels: {facts.first.count} bands; one of numbers or three of colours are read (`labels_band` chooses one)"
    if found.labels and found.labels.suffix.lower() in (".jpg", ".jpeg"):
        yield "labels: JPEG invents values along borders; save them as PNG from what they were before"
