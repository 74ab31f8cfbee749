"""LoveDA: land cover of rural and urban places in China."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import RGB_8_BIT, Dataset, Download, Rng

FILES = "https://zenodo.org/records/5706578/files/{}?download=1"

DATASET = Dataset(
    title="LoveDA",
    source={
        "kind": "folder",
        "path": "data/loveda",
        "images": "{split}/{domain}/images_png/*.png",
        "labels": "{split}/{domain}/masks_png/*.png",
        "splits": {"train": "Train", "val": None, "test": "Val"},
        "domains": {"rural": "Rural", "urban": "Urban"},
        **RGB_8_BIT,
        "gsd": 0.3,
        "classes": [  # value: the number in the label files
            {"name": "background", "colour": [255, 255, 255], "value": 1},
            {"name": "building", "colour": [255, 0, 0], "value": 2},
            {"name": "road", "colour": [255, 255, 0], "value": 3},
            {"name": "water", "colour": [0, 0, 255], "value": 4},
            {"name": "barren", "colour": [159, 129, 183], "value": 5},
            {"name": "forest", "colour": [0, 255, 0], "value": 6},
            {"name": "agriculture", "colour": [255, 195, 128], "value": 7},
        ],
        "ignore": 255,
        "ignored": [0],  # no data
        "licence": "CC-BY-NC-SA-4.0",
        "url": "https://zenodo.org/records/5706578",
    },
    accept=True,
    licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
    downloads=(
        Download("Train.zip", urls=(FILES.format("Train.zip"),), md5="de2b196043ed9b4af1690b3f9a7d558f", unpack=""),
        Download("Val.zip", urls=(FILES.format("Val.zip"),), md5="84cae2577468ff0b5386758bb386d31d", unpack=""),
    ),
    notes="The published test part has no labels and is left out, so tasks test on Val, or divide it.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Twelve scenes of 64 x 64, in both domains and parts; the first rows have no label."""
    from georelay.datasets.making import mixed, picture, save_picture, values_of

    training = {"Train/Rural": range(3), "Train/Urban": range(1366, 1368)}
    parts = training | {"Val/Rural": range(2522, 2526), "Val/Urban": range(3514, 3517)}
    for part, numbers in parts.items():
        for number in numbers:
            label = mixed(rng, values_of(DATASET.source), (64, 64)).astype("uint8")
            label[:3] = 0
            save_picture(folder / f"{part}/images_png/{number}.png", picture(rng, label.shape))
            save_picture(folder / f"{part}/masks_png/{number}.png", label)
