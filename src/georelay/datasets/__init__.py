"""Public data sets, one file each: a description, and `fake`, which writes a tiny set in the published layout.

A source of params.yaml names one: `loveda: {kind: dataset, dataset: loveda, path: data/loveda}`. The name is the file's, with
hyphens. Nothing else lists them.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

from georelay.reading import lookup

if TYPE_CHECKING:
    from georelay.datasets.base import Dataset, Rng

TOOLS = ("base", "making")  # the files here that are no data set


@cache
def names() -> tuple[str, ...]:
    """All data sets there are."""
    return tuple(sorted(entry.name.replace("_", "-") for entry in iter_modules(__path__) if entry.name not in TOOLS))


def dataset(name: str, where: str = "") -> Dataset:
    """The description of a data set; `where` is what a message names when there is none."""
    found: Dataset = _module(name, where).DATASET
    return found


def fake(name: str, folder: Path, rng: Rng) -> None:
    """Write a few small made-up files as the data set has them, so that its source can be fetched with `folder` as `path`."""
    _module(name, "").fake(folder, rng)


def _module(name: str, where: str) -> ModuleType:
    lookup(dict.fromkeys(names()), name, where, "data set")
    return import_module(f"{__name__}.{name.replace('-', '_')}")
