"""The settings classes: what params.yaml may hold, with types, bounds and a line on each key.

The JSON schema in workflow/schemas is made from them. Reading and merging live in params.py.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Slug = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Byte = Annotated[int, Field(ge=0, le=255)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Base of all settings: unknown keys and wrong types are refused, values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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


class Tiling(Strict):
    """Bounds of the tile stage; they change its speed, never its bytes."""

    memory_mb: Positive
    workers: Positive


class Model(Strict):
    """The student network."""

    backbone: str = Field(description="a timm model name")
    arguments: dict[str, Any] = Field(description="more arguments for timm, such as patch_size")
    stages: list[Count] = Field(min_length=1, description="which feature stages the decoder reads (timm out_indices)")
    normed: list[Count] = Field(description="blocks of a transformer whose maps pass its final norm")
    positions: Literal["timm", "exact", "dinov2"] = Field(description="how a transformer's position table is resampled")
    neck: list[Annotated[float, Field(gt=0)]] = Field(description="scales of a neck, one a level; none: no neck")
    decoder: Literal["fpn", "segformer", "uper", "dpt"]
    width: Positive
    dropout: Share
    weights: str | None = Field(description="safetensors file to start from; null is random")


class Train(Strict):
    """Optimisation. `threads` is part of the result: another count gives other bits."""

    steps: Positive
    batch: Positive
    optimizer: Literal["adamw", "sgd"]
    lr: float = Field(gt=0)
    weight_decay: NonNegative
    momentum: Share
    betas: list[Share] = Field(min_length=2, max_length=2)
    schedule: Literal["cosine", "poly", "constant"]
    schedule_count: Literal["mmengine", "mmcv", "late"] = Field(description="whose count of steps: they differ by one")
    power: float = Field(gt=0, description="exponent of the poly schedule")
    poly_begin: Count = Field(description="step at which the poly decay begins")
    warmup_steps: Count
    warmup_start: Share = Field(description="share of lr at the first warm-up step")
    final: Share = Field(description="share of lr at the last step")
    clip: NonNegative = Field(description="gradient norm bound; 0 is off")
    accumulate: Positive
    precision: Literal["fp32", "bf16"]
    channels_last: bool
    ema: Share = Field(description="decay of the averaged student; 0 is off")
    loss_at: Literal["output", "label"] = Field(description="resolution at which the loss is taken")
    threads: Positive
    evaluate_every: Positive
    checkpoint_every: Positive
    device: Literal["auto", "cpu", "cuda"]


class Jitter(Strict):
    """Colour jitter of pictures, each factor from 1 - x to 1 + x (hue: turned by up to x of the circle)."""

    chance: Share
    brightness: NonNegative
    contrast: NonNegative
    saturation: NonNegative
    hue: Annotated[float, Field(ge=0, le=0.5)]


class Photometric(Strict):
    """mmsegmentation's photometric distortion (reflectance)."""

    chance: Share = Field(description="of each part; 0 is off")
    white: float = Field(gt=0, description="physical value that is white")
    brightness: NonNegative = Field(description="added, as a share of white")
    contrast: NonNegative
    saturation: NonNegative
    hue: Annotated[float, Field(ge=0, le=0.5)]


class Blur(Strict):
    """Gaussian blur."""

    chance: Share
    sigma: list[NonNegative] = Field(min_length=2, max_length=2, description="least and most, in pixels")


class Strong(Strict):
    """What is done to a strong view on top of the rest, by methods that learn from their own answers to the weak one."""

    gain: NonNegative = Field(description="this and the next four as in augment")
    offset: NonNegative
    noise: NonNegative
    sar_offset: NonNegative
    speckle_looks: NonNegative
    white: float = Field(gt=0, description="physical value that is white to jitter, grey and blur (reflectance)")
    jitter: Jitter
    grey: Share = Field(description="chance that colours go")
    blur: Blur


class Boxes(Strict):
    """CutMix between the strong views of a batch."""

    chance: Share
    area: list[Share] = Field(min_length=2, max_length=2, description="least and most of the image")
    ratio: list[Annotated[float, Field(gt=0)]] = Field(min_length=2, max_length=2, description="of height to width")


class Augment(Strict):
    """Random changes of training tiles; geometry acts on image and label alike, colour on the image alone."""

    flip: bool
    turn: bool = Field(description="quarter turns")
    crop: Count = Field(description="side in pixels; 0 keeps the tile")
    scale: list[Annotated[float, Field(gt=0)]] = Field(min_length=2, max_length=2)
    gain: NonNegative = Field(description="sd of a per-band factor (reflectance)")
    offset: NonNegative = Field(description="sd of a per-band offset in sds of the band (reflectance)")
    noise: NonNegative = Field(description="sd of pixel noise in sds of the band (reflectance)")
    sar_offset: NonNegative = Field(description="sd of a per-tile offset in dB")
    speckle_looks: NonNegative = Field(description="looks of extra gamma speckle; 0 is off")
    photometric: Photometric
    strong: Strong
    cutmix: Boxes


class Predict(Strict):
    """Whole-scene inference with overlapping, blended windows."""

    window: Positive
    overlap: Count
    batch: Positive


class Statistics(Strict):
    """What a teacher takes for a band's mean and spread: v = clip(physical / white, 0, 1) where white is given."""

    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]
    white: float | None = Field(gt=0, description="physical value shown as 1; null: physical values as they are")


class Taught(Strict):
    """How a teacher of our own is made: a method on a task, through the same loop as any row."""

    task: Slug
    method: str
    seed: Count
    set: dict[str, Any] = Field(default_factory=dict)


class Teacher(Strict):
    """A frozen network: where it comes from, what it is shown, and which of its maps are kept."""

    why: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    origin: Literal["taught", "random", "hub", "file"] = Field(description="random: as taught, but untrained (a control)")
    network: str | None = Field(description="a timm model name (hub, file)")
    arguments: dict[str, Any] = Field(description="more arguments for timm")
    file: str | None = Field(description="safetensors, or .pth of plain weights (file)")
    sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    ignored_keys: list[str] = Field(description="patterns of keys in the file that may stay unused")
    taught: Taught | None
    taps: list[Count | Literal["decoder", "logits"]] = Field(min_length=1, description="blocks or stages whose maps are kept")
    normed: list[Count] = Field(description="taps that pass the network's final norm")
    unit: Literal["reflectance", "dB"] = Field(description="of the modality it reads")
    bands: list[str] | Literal["all"] | None = Field(description="in the teacher's order; null: as it was taught")
    missing: Literal["refuse", "mean"] = Field(description="a band that the task lacks: an error, or its mean is shown")
    statistics: Statistics | Literal["task"] | None = Field(description="task: the student's; null: as it was taught")
    size: Positive | None = Field(description="side of its input in pixels; null: the tile's")
    fit: Literal["pad", "resize"] = Field(description="how a tile comes to that size, or to whole patches")
    align_corners: bool
    positions: Literal["timm", "exact", "dinov2"] = Field(description="how its position table is resampled")
    position_grid: Positive | None = Field(description="grid that the table is brought to first")
    dtype: Literal["fp16", "bf16"] = Field(description="of the stored features")
    batch: Positive = Field(description="tiles at a time when features are computed")
    threads: Positive
    device: Literal["auto", "cpu", "cuda"]


class Pairing(Strict):
    """A teacher's features of a task's tiles."""

    task: Slug
    teacher: Slug


class Defaults(Strict):
    """What every row starts from; `set` in a row changes it."""

    teacher: dict[str, Any] = Field(description="what every teacher starts from")
    teacher_view: Literal["cached", "online"] = Field(
        description="stored features of the clean tile, or the teacher in each step"
    )
    model: Model
    train: Train
    augment: Augment
    predict: Predict
    methods: dict[str, dict[str, Any]]


class Compare(Strict):
    """The statistics of the tables."""

    resamples: Positive
    seed: Count
    scenes: Positive = Field(description="test scenes in the map panel")


class Reference(Strict):
    """What is published: every row of these studies, trained longer, on more seeds."""

    studies: list[Slug]
    seeds: list[Count] = Field(min_length=1)
    times: float = Field(ge=1, description="as many steps as the row says, times this; warm-up and poly_begin too")


class Experiment(Strict):
    """One row: a method on a task, or `like` another row with something `set` differently, and why."""

    why: str = Field(min_length=1)
    study: Slug | None = None
    method: str | None = None
    task: Slug | None = None
    teachers: list[Slug] | None = None
    like: Slug | None = None
    core: bool = Field(default=False, description="part of the short default comparison")
    set: dict[str, Any] = Field(default_factory=dict)


class Active(Strict):
    """What a bare `snakemake` or `dvc repro` runs; DVC can only expand plain lists, hence so many."""

    sources: list[Slug]
    tasks: list[Slug]
    teachers: list[Slug]
    features: dict[Slug, Pairing] = Field(description="named <task>--<teacher>")
    studies: list[Slug]
    experiments: list[Slug]
    seeds: list[Count] = Field(min_length=1)


class Params(Strict):
    """The whole of params.yaml."""

    active: Active
    sources: dict[Slug, Source]
    tasks: dict[Slug, Task]
    tiling: Tiling
    teachers: dict[Slug, dict[str, Any]]
    defaults: Defaults
    compare: Compare
    reference: Reference
    experiments: dict[Slug, Experiment]


class Row(Strict):
    """An experiment with everything merged: what `plan` writes and engines expand."""

    name: str
    study: str
    method: str
    task: str
    parent: str | None
    why: str
    core: bool
    teachers: list[str]
    teacher_view: Literal["cached", "online"]
    inputs: list[str]
    pair: list[str]
    labels: int | None
    train_domain: str | None
    test_domain: str | None
    model: Model
    train: Train
    augment: Augment
    predict: Predict
    options: dict[str, Any]


TASK_KEYS = ("inputs", "pair", "labels", "train_domain", "test_domain")
GROUPS: dict[str, type[Strict]] = {"model": Model, "train": Train, "augment": Augment, "predict": Predict}
