"""ISPRS Potsdam: 38 scenes of 6000 x 6000 pixels in red, green and blue, with whole labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from georelay.datasets.base import RGB_8_BIT, Dataset, Download, Rng

PAGE = "https://www.isprs.org/education/benchmarks/UrbanSemLab/default.aspx"
TERMS = "ISPRS benchmark, on request, for research"
CLASSES: list[dict[str, Any]] = [
    {"name": "impervious surface", "colour": [255, 255, 255]},
    {"name": "building", "colour": [0, 0, 255]},
    {"name": "low vegetation", "colour": [0, 255, 255]},
    {"name": "tree", "colour": [0, 255, 0]},
    {"name": "car", "colour": [255, 255, 0]},
    {"name": "clutter", "colour": [255, 0, 0]},
]


def on_request(name: str, unpack: str, md5: str | None = None) -> Download:
    """An archive that ISPRS gives to whoever asks."""
    return Download(name, md5=md5, unpack=unpack, manual=f"Ask ISPRS for access at {PAGE} and download {name} from there.")


DATASET = Dataset(
    title="ISPRS Potsdam",
    source={
        "kind": "folder",
        "path": "data/potsdam",
        "images": "2_Ortho_RGB/top_potsdam_*_RGB.tif",
        "labels": "5_Labels_all/top_potsdam_*_label.tif",
        "labels_as": "colour",
        "splits": None,
        **RGB_8_BIT,
        "gsd": 0.05,
        "classes": CLASSES,
        "ignore": 255,
        "licence": TERMS,
        "url": PAGE,
    },
    accept=True,
    licence_url=PAGE,
    downloads=(on_request("2_Ortho_RGB.zip", ""), on_request("5_Labels_all.zip", "5_Labels_all")),
    notes="No whole checksum of these two archives is known. That of the images holds its folder, that of the labels none.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Five scenes of 80 x 80."""
    from georelay.datasets.making import colours_of, mixed, picture, save_picture

    colours = colours_of(DATASET.source)
    for scene in ("2_10", "2_11", "3_10", "3_11", "7_13"):
        label = mixed(rng, range(len(colours)), (80, 80))
        save_picture(folder / f"2_Ortho_RGB/top_potsdam_{scene}_RGB.tif", picture(rng, label.shape))
        save_picture(folder / f"5_Labels_all/top_potsdam_{scene}_label.tif", colours[label])
