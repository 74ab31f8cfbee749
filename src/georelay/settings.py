"""The settings classes: what params.yaml may hold, with types, bounds and a line on each key.

The JSON schema in workflow/schemas is made from them. Reading and merging live in params.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Slug = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
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


class Source(Strict):
    """Where rasters come from. `synthetic` draws worlds; nothing is downloaded."""

    kind: Literal["synthetic"] = Field(description="how the rasters are made")
    scenery: Literal["clouds", "grass", "landcover", "crosscity", "allweather"]
    scenes: SceneCounts
    size: Positive = Field(description="side of a scene in pixels")
    gsd: float = Field(gt=0, description="ground sampling distance in metres")
    seed: Count


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
    labels: Positive | None = Field(description="labelled training tiles; null is all of them")
    train_domain: str
    test_domain: str


class Tiling(Strict):
    """Bounds of the tile stage; they change its speed, never its bytes."""

    memory_mb: Positive
    workers: Positive


class Model(Strict):
    """The student network."""

    backbone: str = Field(description="a timm model name")
    stages: list[Count] = Field(min_length=1, description="which feature stages the decoder reads (timm out_indices)")
    decoder: Literal["fpn", "segformer"]
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


class Predict(Strict):
    """Whole-scene inference with overlapping, blended windows."""

    window: Positive
    overlap: Count
    batch: Positive


class Defaults(Strict):
    """What every row starts from; `set` in a row changes it."""

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


class Experiment(Strict):
    """One row: a method on a task, or `like` another row with something `set` differently, and why."""

    why: str = Field(min_length=1)
    study: Slug | None = None
    method: str | None = None
    task: Slug | None = None
    like: Slug | None = None
    core: bool = Field(default=False, description="part of the short default comparison")
    set: dict[str, Any] = Field(default_factory=dict)


class Active(Strict):
    """What a bare `snakemake` or `dvc repro` runs; DVC can only expand plain lists, hence so many."""

    sources: list[Slug]
    tasks: list[Slug]
    studies: list[Slug]
    experiments: list[Slug]
    seeds: list[Count] = Field(min_length=1)


class Params(Strict):
    """The whole of params.yaml."""

    active: Active
    sources: dict[Slug, Source]
    tasks: dict[Slug, Task]
    tiling: Tiling
    defaults: Defaults
    compare: Compare
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
    inputs: list[str]
    labels: int | None
    train_domain: str
    test_domain: str
    model: Model
    train: Train
    augment: Augment
    predict: Predict
    options: dict[str, Any]


TASK_KEYS = ("inputs", "labels", "train_domain", "test_domain")
GROUPS: dict[str, type[Strict]] = {"model": Model, "train": Train, "augment": Augment, "predict": Predict}
