"""Data sets in the layouts in which they were published, with made-up pixels."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from georelay.datasets import dataset
from georelay.datasets.making import colours_of, save_palette_pair, save_picture
from georelay.reading import validated
from georelay.settings.data import Folder

REPOSITORY = Path(__file__).parents[1]
SIDE = 32


def published(name: str) -> dict[str, Any]:
    """A data set's source as its description has it, free to be changed."""
    return deepcopy(dict(dataset(name).source))


def settings(name: str, folder: Path, **changes: Any) -> Folder:
    """The same as an object, with its files in `folder`."""
    checked: Folder = validated(Folder, published(name) | {"path": str(folder)} | changes, name)
    return checked


def write_pair(folder: Path, source: dict[str, Any], split: str, stem: str, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """An image and its palette label as published; their pixels, which follow from the names."""
    rng = np.random.default_rng([ord(letter) for letter in f"{split}/{stem}"])
    return save_palette_pair(folder, source, split, stem, rng, side)


def save_label(path: Path, label: np.ndarray, source: dict[str, Any]) -> None:
    """A palette PNG, whose pixels are numbers of colours."""
    save_picture(path, label, colours_of(source))


def write_layout(folder: Path, name: str, counts: dict[str, int]) -> dict[str, Any]:
    """Pairs for each folder of a published data set; its settings."""
    source = published(name)
    for split, count in counts.items():
        for index in range(count):
            write_pair(folder, source, split, f"piece_{index:02d}")
    return source
