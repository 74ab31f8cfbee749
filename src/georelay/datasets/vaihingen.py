"""ISPRS Vaihingen: 33 areas in infrared, red and green, with whole labels and the contest's parts."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import RGB_8_BIT, Dataset, Rng
from georelay.datasets.potsdam import CLASSES, PAGE, TERMS, on_request

TRAIN = ["1", "3", "5", "7", "11", "13", "15", "17", "21", "23", "26", "28", "30", "32", "34", "37"]
TEST = ["2", "4", "6", "8", "10", "12", "14", "16", "20", "22", "24", "27", "29", "31", "33", "35", "38"]

DATASET = Dataset(
    title="ISPRS Vaihingen",
    source={
        "kind": "folder",
        "path": "data/vaihingen",
        "images": "top/top_mosaic_09cm_area*.tif",
        "labels": "ground_truth/top_mosaic_09cm_area*.tif",
        "labels_as": "colour",
        "splits": {"train": TRAIN, "val": None, "test": TEST},  # the contest's
        **RGB_8_BIT,
        "bands": ["nir", "red", "green"],
        "gsd": 0.09,
        "classes": CLASSES,
        "ignore": 255,
        "licence": TERMS,
        "url": PAGE,
    },
    accept=True,
    licence_url=PAGE,
    downloads=(
        on_request("ISPRS_semantic_labeling_Vaihingen.zip", "", "462b8dca7b6fa9eaf729840f0cdfc7f3"),
        on_request(
            "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE.zip", "ground_truth", "4802dd6326e2727a352fb735be450277"
        ),
    ),
    notes="The archive of all labels holds no folder, hence one of its own.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Every area, small and of several sizes."""
    from georelay.datasets.making import colours_of, mixed, picture, save_picture

    colours = colours_of(DATASET.source)
    for area in (*TRAIN, *TEST):
        label = mixed(rng, range(len(colours)), (16 + int(area) % 5, 20))
        save_picture(folder / f"top/top_mosaic_09cm_area{area}.tif", picture(rng, label.shape))
        save_picture(folder / f"ground_truth/top_mosaic_09cm_area{area}.tif", colours[label])
