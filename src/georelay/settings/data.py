"""Settings of sources and tasks: where rasters come from, what is segmented, how it is cut and split."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from georelay.settings.base import Byte, Count, NonNegative, Positive, Share, Slug, Strict


class SceneCounts(Strict):
    """How many scenes of each split a synthetic source draws (per city where there are two)."""

    train: Positive
    val: Count
    test: Positive


class Synthetic(Strict):
    """A source that draws worlds; nothing is downloaded."""

    module: ClassVar[str] = "georelay.sources.synthetic.scenes"
    kind: Literal["synthetic"] = Field(description="the rasters are drawn")
    scenery: Literal["clouds", "grass", "landcover", "crosscity", "allweather", "corpus"]
    scenes: SceneCounts
    size: Positive = Field(description="side of a scene in pixels")
    gsd: float = Field(gt=0, description="ground sampling distance in metres")
    seed: Count


class ClassEntry(Strict):
    """A class and the colour it has in maps."""

    name: str = Field(min_length=1)
    colour: list[Byte] = Field(min_length=3, max_length=3, description="red, green, blue")


class SplitFolders(Strict):
    """What `{split}` stands for in the patterns of a folder source."""

    train: str
    val: str | None = Field(description="null: there is none")
    test: str


class Folder(Strict):
    """A source that lies unpacked in a folder: images and labels in pairs of one name, a folder for each split."""

    module: ClassVar[str] = "georelay.sources.folder"
    kind: Literal["folder"] = Field(description="the rasters are files of yours")
    path: str = Field(min_length=1, description="where they lie; relative to params.yaml")
    images: str = Field(description="glob under path, with {split}")
    labels: str = Field(description="glob under path, with {split}; a label has its image's name but for the ending")
    splits: SplitFolders
    modality: str
    bands: list[str] = Field(min_length=1, description="of the images, in their order")
    unit: Literal["reflectance", "dB"]
    scale: float = Field(gt=0, description="a raster value times this is the physical value")
    nodata: float | None
    gsd: float | None = Field(gt=0, description="metres a pixel, of images that lie nowhere; null: not known")
    classes: list[ClassEntry] = Field(min_length=2, description="in the order of the label values 0, 1, ...")
    ignore: Byte = Field(description="label value that is no class")
    licence: str = Field(min_length=1)
    url: str | None = Field(description="where it is downloaded from")
    download: str | None = Field(description="what is downloaded there, and how large it is")


Source = Annotated[Synthetic | Folder, Field(discriminator="kind")]


class Fractions(Strict):
    """Shares of the ground blocks that go to each split."""

    train: Share
    val: Share
    test: Share


class Split(Strict):
    """Which tile belongs to train, val or test; tiles nearer than `buffer` to another split are dropped."""

    rule: Literal["scene", "blocks"]
    buffer: NonNegative = Field(description="metres kept free between train and test")
    block: float | None = Field(default=None, gt=0, description="side of a ground block in metres (rule blocks)")
    fractions: Fractions | None = None
    seed: Count | None = None


class Task(Strict):
    """What is segmented: the rasters, how they are cut, and what a student sees by default."""

    source: Slug
    modalities: list[str] = Field(min_length=1, description="kept in the tile store")
    tile: Positive
    stride: Positive
    split: Split
    compression: Literal["none", "zstd"] = Field(description="none keeps the store a memory map")
    inputs: list[str] = Field(min_length=1, description="modalities the student sees")
    pair: list[str] = Field(default_factory=list, description="modalities that are there while it trains, never at test")
    labels: Positive | None = Field(description="labelled training tiles; null is all of them")
    train_domain: str | None = Field(description="null is all of them")
    test_domain: str | None
    unscored: list[str] = Field(default_factory=list, description="classes that are trained, and left out of every score")


class Tiling(Strict):
    """Bounds of the tile stage; they change its speed, never its bytes."""

    memory_mb: Positive
    workers: Positive
