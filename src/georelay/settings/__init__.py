"""The settings classes: what params.yaml may hold, with types, bounds and a line on each key.

The JSON schema in workflow/schemas is made from them. Reading and merging live in params.py.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from georelay.settings.augment import Augment
from georelay.settings.base import Count, Positive, Slug, Strict
from georelay.settings.data import Downloading, LabelBudget, Source, Task, Tiling
from georelay.settings.student import Model, Predict, Train
from georelay.settings.teacher import Pairing


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


class Gap(Strict):
    """Two rows between which the others of a study are expected, e.g. source only and the target's own labels."""

    lower: Slug
    upper: Slug


class Evaluate(Strict):
    """How maps are judged beyond which class a pixel has; no run depends on it."""

    boundary: Count = Field(description="boundary F1: pixels that a boundary may be off")
    bins: Positive = Field(description="calibration: bins of equal width")


class Compare(Strict):
    """The statistics of the tables."""

    resamples: Positive
    seed: Count
    scenes: Positive = Field(description="test scenes in the map panel")
    gaps: dict[Slug, Gap] = Field(
        default_factory=dict, description="by study: its bounds; its rows are judged by the share of the gap that they close"
    )


class Reference(Strict):
    """What is published: every row of these studies, trained longer, on more seeds."""

    studies: list[Slug]
    seeds: list[Count] = Field(min_length=1)
    times: float = Field(ge=1, description="as many steps as the row says, times this; warm-up and poly_begin too")


class Track(Strict):
    """What MLflow is told."""

    live_every: Positive = Field(description="steps between the points of live curves, which a tracking server is sent")


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
    together: bool = Field(
        default=False, description="the seeds of a row share a process, which starts torch once; not for a cluster's many nodes"
    )
    set: dict[str, Any] = Field(
        default_factory=dict, description="laid over every active row, as a smaller budget; rows of the reference go without it"
    )
    times: float = Field(
        default=1.0, gt=0, description="as many steps as an active row says, times this; warm-up and poly_begin too"
    )


class Params(Strict):
    """The whole of params.yaml."""

    like: str | None = Field(default=None, description="another params.yaml, relative to this one, that this one is laid over")
    active: Active
    sources: dict[Slug, Source]
    tasks: dict[Slug, Task]
    download: Downloading
    tiling: Tiling
    teachers: dict[Slug, dict[str, Any]]
    defaults: Defaults
    evaluate: Evaluate
    compare: Compare
    reference: Reference
    track: Track
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
    labels: LabelBudget
    train_domain: str | None
    test_domain: str | None
    unscored: list[str]
    model: Model
    train: Train
    augment: Augment
    predict: Predict
    options: dict[str, Any]


TASK_KEYS = ("inputs", "pair", "labels", "train_domain", "test_domain", "unscored")
GROUPS: dict[str, type[Strict]] = {"model": Model, "train": Train, "augment": Augment, "predict": Predict}
