"""A source of the user's own: images, masks and a table of both, country by country."""

from __future__ import annotations

from typing import Any

TABLE: dict[str, Any] = {"csv": "tiles.csv", "scene": "image", "split": "part", "train": "train", "val": None, "test": "test"}
SOURCE: dict[str, Any] = {
    "kind": "folder",
    "images": "images/{domain}/*.jpg",
    "labels": "masks/{domain}/*.png",
    "splits": TABLE | {"domain": "country"},
    "modality": "optical",
    "bands": ["red", "green", "blue"],
    "unit": "reflectance",
    "scale": 1 / 255,
    "nodata": None,
    "gsd": None,
    "classes": [{"name": "ground", "colour": [0, 0, 0]}, {"name": "house", "colour": [255, 0, 0]}],
    "ignore": 255,
    "licence": "none",
    "url": None,
}
