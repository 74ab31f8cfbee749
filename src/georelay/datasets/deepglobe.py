"""DeepGlobe land cover: 803 scenes of 2448 x 2448 pixels with public labels."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import RGB_8_BIT, Dataset, Download, Rng

URL = "https://www.kaggle.com/datasets/geoap96/deepglobe2018-landcover-segmentation-traindataset"

DATASET = Dataset(
    title="DeepGlobe land cover",
    source={
        "kind": "folder",
        "path": "data/deepglobe",
        "images": "data/*/images/*_sat.jpg",  # training_data and test_data, both from the part with public labels
        "labels": "data/*/masks/*_mask.png",
        "labels_as": "colour",
        "splits": None,
        **RGB_8_BIT,
        "gsd": 0.5,
        "classes": [
            {"name": "urban", "colour": [0, 255, 255]},
            {"name": "agriculture", "colour": [255, 255, 0]},
            {"name": "rangeland", "colour": [255, 0, 255]},
            {"name": "forest", "colour": [0, 255, 0]},
            {"name": "water", "colour": [0, 0, 255]},
            {"name": "barren", "colour": [255, 255, 255]},
            {"name": "unknown", "colour": [0, 0, 0]},
        ],
        "ignore": 255,
        "licence": "DeepGlobe challenge, no open licence",
        "url": URL,
    },
    accept=True,
    licence_url=URL,
    downloads=(
        Download(
            "data.zip",
            md5="f32684b0b2bf6f8d604cd359a399c061",
            unpack="",
            manual=f"Log in to Kaggle, accept the terms at {URL}, and download the data set as data.zip.",
        ),
    ),
)


def fake(folder: Path, rng: Rng) -> None:
    """Three scenes of 70 x 70 in one part, one in the other."""
    from georelay.datasets.making import colours_of, mixed, picture, save_picture

    colours = colours_of(DATASET.source)
    for part, scene in (("training_data", 119), ("training_data", 606), ("training_data", 2334), ("test_data", 855)):
        label = mixed(rng, range(len(colours)), (70, 70))
        save_picture(folder / f"data/{part}/images/{scene}_sat.jpg", picture(rng, label.shape))
        save_picture(folder / f"data/{part}/masks/{scene}_mask.png", colours[label])
