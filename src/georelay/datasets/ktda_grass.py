"""KTDA's grass: cover in five grades."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import RGB_8_BIT, Dataset, Download, Rng

URL = "https://huggingface.co/datasets/XavierJiezou/ktda-datasets/resolve/main/grass.zip"

DATASET = Dataset(
    title="KTDA grass",
    source={
        "kind": "folder",
        "path": "data/ktda/grass",
        "images": "img_dir/{split}/*.tif",
        "labels": "ann_dir/{split}/*.png",
        "splits": {"train": "train", "val": None, "test": "val"},  # published with one held-out part
        **RGB_8_BIT,
        "gsd": None,  # neither sensor nor place was published
        "classes": [  # in the order of the label values 0, 1, ...
            {"name": "low", "colour": [185, 101, 71]},  # holds what nobody labelled, too
            {"name": "middle-low", "colour": [248, 202, 155]},
            {"name": "middle", "colour": [211, 232, 158]},
            {"name": "middle-high", "colour": [138, 191, 104]},
            {"name": "high", "colour": [92, 144, 77]},
        ],
        "ignore": 255,
        "licence": "CC-BY-NC-4.0",
        "url": URL,
    },
    accept=True,
    licence_url="https://creativecommons.org/licenses/by-nc/4.0/",
    downloads=(Download("grass.zip", urls=(URL,), unpack=""),),
    notes="No checksum is published. The archive is taken to hold img_dir and ann_dir themselves; that was not seen.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Four tiles and two."""
    from georelay.datasets.making import save_palette_pair

    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            save_palette_pair(folder, DATASET.source, split, f"piece_{number:02d}", rng)
