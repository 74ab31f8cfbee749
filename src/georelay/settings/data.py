"""Settings of sources and tasks: where rasters come from, what is segmented, how it is cut and split."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from georelay.settings.base import Byte, Count, NonNegative, Positive, Share, Slug, Strict

T = TypeVar("T")


def _by_type(kind: type) -> Discriminator:
    """Tells `kind` from anything else, so that a wrong value is one complaint; its tag is in no message."""
    return Discriminator(lambda value: "[many]" if isinstance(value, kind) else "[one]")


ByDomain = Annotated[Annotated[T, Tag("[one]")] | Annotated[dict[Slug, T], Tag("[many]")], _by_type(dict)]
OneOrText = Annotated[Annotated[T, Tag("[one]")] | Annotated[str, Tag("[many]")], _by_type(str)]


class SceneCounts(Strict):
    """How many scenes of each split a synthetic source draws (per city where there are two)."""

    train: Positive
    val: Count
    test: Positive


class Synthetic(Strict):
    """A source that draws worlds; nothing is downloaded."""

    module: ClassVar[str] = "georelay.sources.synthetic.scenes"
    kind: Literal["synthetic"] = Field(description="the rasters are drawn")
    scenery: Literal["clouds", "grass", "landcover", "crosscity", "crosscity-mild", "allweather", "corpus"]
    scenes: SceneCounts
    size: Positive = Field(description="side of a scene in pixels")
    gsd: float = Field(gt=0, description="ground sampling distance in metres")
    seed: Count


Colour = Annotated[list[Byte], Field(min_length=3, max_length=3)]


class ClassEntry(Strict):
    """A class and the colour it has in maps; what stands for it in the label files may be another number than its place."""

    name: str = Field(min_length=1)
    colour: Colour = Field(description="red, green, blue")
    value: OneOrText[Count] | None = Field(
        default=None, description="in the label files, or in their `attribute`; null: the class's place in the list, 0, 1, ..."
    )
    also: list[Count] | list[Colour] | list[str] = Field(
        default_factory=list, description="other numbers, colours or words of the class there"
    )


Scenes = Annotated[Annotated[str, Tag("[one]")] | Annotated[list[str], Tag("[many]")], _by_type(list)]


class Splits(Strict):
    """What `{split}` stands for in the patterns of a folder source; or the scenes of each split, by what `*` stands for.

    In a list `12_*` names all scenes that begin so, and `*` alone what the domain's other lists leave. Where a table (`csv`)
    has a row for each scene, they are values of its column `split`; rows with other values are not used.
    """

    train: ByDomain[Scenes]
    val: ByDomain[Scenes] | None = Field(description="null: there is none")
    test: ByDomain[Scenes]
    csv: str | None = Field(default=None, description="table under path, its first line names the columns; null: there is none")
    scene: str | None = Field(default=None, description="column of what the last * stands for, or of a path that ends in it")
    split: str | None = Field(default=None, description="column that train, val and test are values of")
    domain: str | None = Field(
        default=None, description="column of what {domain} stands for; `domains` of the source may give the values other names"
    )

    @property
    def parts(self) -> dict[str, Any]:
        """What each split is said to be."""
        return {"train": self.train, "val": self.val, "test": self.test}


class Imagery(Strict):
    """Images of one sensor."""

    images: ByDomain[str] = Field(description="glob under path, with {split} and {domain}")
    bands: list[str] = Field(min_length=1, description="of the images, in their order")
    unit: Literal["reflectance", "dB", "power"] = Field(description="power: linear intensity of radar, which becomes dB")
    scale: float = Field(gt=0, description="a raster value times this is the physical value")
    nodata: float | None
    blank: float | None = Field(
        default=None,
        description="what all bands are where nothing was measured, as in margins; becomes NaN, and the image float32. "
        "With unit power that is so of 0 anyway",
    )
    floor_db: float | None = Field(default=None, description="unit power: what is weaker, zero too, becomes this")


class Remote(Strict):
    """A file that `fetch` brings: an archive mostly, and where in the source's folder it is unpacked."""

    name: str = Field(min_length=1, description="on the disk, without a folder")
    urls: list[Annotated[str, Field(pattern="^(https?|ftp)://")]] = Field(
        default_factory=list, description="the address and its mirrors, tried in order; none: a person brings it"
    )
    size: Positive | None = Field(default=None, description="in bytes; null: not published")
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = Field(
        default=None, description="without any checksum the first file that comes is the one to trust from then on"
    )
    unpack: str | None = Field(default=None, description='folder under path to unpack into, "" for path; null: kept as it is')
    manual: str | None = Field(default=None, description="where a person gets it, in a sentence")
    sample: bool = Field(default=False, description="part of a small first look, which `subset` asks for")


class Files(Strict, ABC):
    """What is common to sources that are files of yours: split by folders or lists, or one pool.

    Patterns, `gsd` and the lists of `splits` may differ by domain.
    """

    module: ClassVar[str] = "georelay.sources.folder"
    path: str = Field(min_length=1, description="where they lie; relative to params.yaml")
    labels: ByDomain[str] = Field(description="glob of labels; what the last * stands for is the same for image and label")
    labels_as: Literal["index", "colour", "polygons"] = Field(
        default="index",
        description="numbers, or exactly the colours of the classes; or GeoPackage, GeoJSON and the like, burnt onto the images' "
        "pixels: a file for each scene, or without a * one for all; of shapes that overlap the last one counts",
    )
    attribute: str | None = Field(
        default=None, description="polygons: the column that holds the classes' values; null: all are of the class `inside`"
    )
    inside: str | None = Field(default=None, description="polygons without attribute: their class; null: the second one")
    outside: str | None = Field(
        default=None, description="polygons: the class of pixels where there is none, or `ignore`; null: the first class"
    )
    all_touched: bool = Field(default=False, description="polygons: every pixel that is touched; false: whose centre is inside")
    splits: Splits | None = Field(description="null: one pool, which the split rule of a task divides")
    domains: dict[Slug, str] | None = Field(default=None, description="what {domain} stands for; null: one domain, main")
    left_out: ByDomain[list[str]] | None = Field(default=None, description="scenes of no use, in the words of `splits`")
    labels_band: Positive | None = Field(default=None, description="which band of label files with several; null: they have one")
    gsd: ByDomain[Annotated[float, Field(gt=0)]] | None = Field(
        description="metres a pixel, of images that lie nowhere or in several CRS; null: not known"
    )
    classes: list[ClassEntry] = Field(min_length=2, description="in the order of their numbers in everything we write")
    ignore: Byte = Field(description="number that is no class, in the label files and in what we write")
    ignored: list[int] = Field(default_factory=list, description="other numbers of the label files that are no class")
    others: str | None = Field(
        default=None, description="what else is in the label files: a class by its name, or `ignore`; null: refused"
    )
    unpaired: Literal["refuse", "skip"] = Field(
        default="refuse", description="what becomes of images without a label, and of labels without an image"
    )
    looks: str | None = Field(
        default=None, description="text file under path: lines of a strip, which is part of its scenes' names, and 0 or 1"
    )
    licence: str = Field(min_length=1)
    licence_url: str | None = Field(default=None, description="its text")
    licence_accepted: bool | None = Field(
        default=None,
        description="false: nothing is downloaded before this is true or `--accept-licence` was said; null: open",
    )
    url: str | None = Field(description="where the files come from, for people")
    by_hand: str | None = Field(default=None, description="how a person gets them, where no list of downloads says it")
    downloads: list[Remote] = Field(
        default_factory=list, description="fetched and unpacked into `path`, unless other files lie there; none: they lie there"
    )
    subset: bool = Field(default=False, description="a small first look: only the downloads that are a `sample`")

    @property
    @abstractmethod
    def imagery(self) -> dict[str, Imagery]:
        """The images of each modality."""


class Folder(Files, Imagery):
    """A source that lies unpacked in a folder: images and labels in pairs of one name."""

    kind: Literal["folder"] = Field(description="the rasters are files of yours")
    modality: str

    @property
    def imagery(self) -> dict[str, Imagery]:
        """Of the one modality."""
        return {self.modality: self}


class Paired(Files):
    """The same with images of several sensors, on one grid, for each label."""

    kind: Literal["paired"] = Field(description="the rasters are files of yours, of several sensors")
    modalities: dict[Slug, Imagery] = Field(min_length=1)

    @property
    def imagery(self) -> dict[str, Imagery]:
        """As they stand there."""
        return self.modalities


def _any_key(schema: dict[str, Any]) -> None:
    """The keys that a description may be changed in; what they must be is checked when they are laid over it."""
    fields = {**Folder.model_fields, **Paired.model_fields}
    free = {key: {"description": field.description or "as the description has it"} for key, field in fields.items()}
    schema |= {"properties": free | schema["properties"], "additionalProperties": False}


class Described(Strict):
    """A public data set by its name; other keys change its description. Reading params.yaml puts a source of files here."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_any_key)
    module: ClassVar[str] = ""  # none: such an entry never gets that far
    kind: Literal["dataset"] = Field(description="a public data set that georelay knows")
    dataset: Slug = Field(description="its name: a file of georelay/datasets, with hyphens")
    path: str = Field(default="", min_length=1, description="where its files lie; without it where the description says")


Source = Annotated[Synthetic | Folder | Paired | Described, Field(discriminator="kind")]


class Fractions(Strict):
    """Shares of what is divided (blocks of ground, scenes or tiles) that go to each split."""

    train: Share
    val: Share
    test: Share


class Split(Strict):
    """Which tile belongs to train, val or test; tiles nearer than `buffer` to another split are dropped.

    Rule `scene` takes what the source says. Three draw, domain by domain: square `blocks` of ground, whole `scenes`, or
    `tiles` one by one. The last is how some papers split, and it leaks: neighbours, and tiles of one scene, stand in train
    and in test, so scores are too good for any other place. No pixel is in two splits all the same. Rule `eastings` puts
    scenes into `bins` of equal number from west to east: the last one tests, the last but one validates, and a `fold` moves
    both westwards.
    """

    rule: Literal["scene", "scenes", "blocks", "tiles", "eastings"]
    buffer: NonNegative = Field(description="metres kept free between train and test; rule tiles keeps none")
    block: float | None = Field(default=None, gt=0, description="side of a ground block in metres (rule blocks)")
    fractions: Fractions | None = Field(default=None, description="of what is drawn (rules blocks, scenes and tiles)")
    seed: Count | None = None
    bins: Annotated[int, Field(ge=3)] | None = Field(default=None, description="rule eastings: one tests, one validates")
    fold: Count = Field(default=0, description="rule eastings: so many bins west of the last is the one that tests")
    of: Literal["all", "held-out"] = Field(
        default="all", description="draw among everything, or only among what the source does not give to train"
    )


SHARE = r"^[0-9]+(\.[0-9]+)?%$"


def _label_budget(value: Any) -> Any:
    """One complaint in the place of one for each member of the union."""
    share = isinstance(value, str) and re.fullmatch(SHARE, value) and 0 < Decimal(value[:-1]) <= 100
    if share or value is None or (type(value) is int and value > 0):
        return value
    raise ValueError('must be a count, a share such as "5%", or null')


LabelBudget = Annotated[Positive | Annotated[str, Field(pattern=SHARE)] | None, BeforeValidator(_label_budget)]


class Task(Strict):
    """What is segmented: the rasters, how they are cut, and what a student sees by default."""

    source: Slug
    modalities: list[str] = Field(min_length=1, description="kept in the tile store")
    tile: Positive
    stride: ByDomain[Positive] = Field(description="between the first pixels of neighbours; of all domains or of each")
    edges: Literal["shift", "pad", "drop"] = Field(
        default="shift",
        description="the last tiles of a scene: moved inwards, filled up with pixels that are not valid, or dropped "
        "with what no whole stride reaches",
    )
    align_look: bool = Field(
        default=False, description="turn tiles of look 1 by 180 degrees, so that radar looks from one side; maps are turned back"
    )
    split: Split
    compression: Literal["none", "zstd"] = Field(description="none keeps the store a memory map")
    inputs: list[str] = Field(min_length=1, description="modalities the student sees")
    pair: list[str] = Field(default_factory=list, description="modalities that are there while it trains, never at test")
    labels: LabelBudget = Field(description="labelled training tiles: a count, a share of them such as 5%; null is all of them")
    train_domain: str | None = Field(description="null is all of them")
    test_domain: str | None
    unscored: list[str] = Field(default_factory=list, description="classes that are trained, and left out of every score")


class Downloading(Strict):
    """How archives are fetched."""

    workers: Positive = Field(description="files at a time")
    keep_archives: bool = Field(description="false: what was downloaded goes once it is unpacked")


class Tiling(Strict):
    """Bounds of the tile stage; they change its speed, never its bytes."""

    memory_mb: Positive
    workers: Positive
