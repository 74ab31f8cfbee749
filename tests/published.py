"""Data sets in the layouts in which they were published, with made-up pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from georelay.reading import load_yaml, validated
from georelay.settings.data import Folder

REPOSITORY = Path(__file__).parents[1]
SIDE = 32


def published(name: str) -> dict[str, Any]:
    """A folder source's settings as params.yaml has them."""
    return dict(load_yaml(REPOSITORY / "params.yaml")["sources"][name])


def settings(name: str, folder: Path, **changes: Any) -> Folder:
    """The same as an object, with its files in `folder`."""
    checked: Folder = validated(Folder, published(name) | {"path": str(folder)} | changes, name)
    return checked


def write_pair(folder: Path, source: dict[str, Any], split: str, stem: str, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """An image and its palette label as published; their pixels [y, x, band] and [y, x]. Bright means a high class."""
    rng = np.random.default_rng([ord(letter) for letter in f"{split}/{stem}"])
    count = len(source["classes"])
    label = np.repeat(np.repeat(rng.integers(0, count, (side // 8, side // 8)), 8, 0), 8, 1).astype(np.uint8)
    image = (label[..., None] * (200 // count) + rng.integers(0, 40, (side, side, 3))).astype(np.uint8)
    names = [source[kind].replace("{split}", split).replace("*", stem) for kind in ("images", "labels")]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / names[0])
    save_label(folder / names[1], label, source)
    return image, label


def save_label(path: Path, label: np.ndarray, source: dict[str, Any]) -> None:
    """A palette PNG, whose pixels are numbers of colours."""
    picture = Image.fromarray(label)
    picture.putpalette([level for entry in source["classes"] for level in entry["colour"]])
    picture.save(path)


def write_layout(folder: Path, name: str, counts: dict[str, int]) -> dict[str, Any]:
    """Pairs for each folder of a published data set; its settings."""
    source = published(name)
    for split, count in counts.items():
        for index in range(count):
            write_pair(folder, source, split, f"piece_{index:02d}")
    return source
