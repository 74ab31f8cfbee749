"""KTDA's cloud: patches of L8 Biome, Landsat 8, bands 4, 3 and 2, each patch stretched by itself."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import RGB_8_BIT, Dataset, Download, Rng

URL = "https://huggingface.co/datasets/XavierJiezou/ktda-datasets/resolve/main/cloud.zip"

DATASET = Dataset(
    title="KTDA cloud (patches of L8 Biome)",
    source={
        "kind": "folder",
        "path": "data/ktda/l8_biome",
        "images": "img_dir/{split}/*.png",
        "labels": "ann_dir/{split}/*.png",
        "splits": {"train": "train", "val": "val", "test": "test"},
        **RGB_8_BIT,
        "gsd": 30.0,
        "classes": [
            {"name": "clear", "colour": [79, 253, 199]},  # holds the fill beside the swath, too
            {"name": "cloud shadow", "colour": [221, 53, 223]},
            {"name": "thin cloud", "colour": [251, 255, 41]},
            {"name": "cloud", "colour": [77, 2, 115]},
        ],
        "ignore": 255,
        "licence": "CC-BY-NC-4.0",
        "url": URL,
    },
    accept=True,
    licence_url="https://creativecommons.org/licenses/by-nc/4.0/",
    downloads=(Download("cloud.zip", urls=(URL,), unpack=""),),
    notes="No checksum is published. The archive is taken to hold img_dir and ann_dir themselves; that was not seen. "
    "The scenes that the patches are cut from are `l8-biome`.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Two tiles, one and two."""
    from georelay.datasets.making import save_palette_pair

    for split, count in (("train", 2), ("val", 1), ("test", 2)):
        for number in range(count):
            save_palette_pair(folder, DATASET.source, split, f"piece_{number:02d}", rng)
