"""Potsdam and Vaihingen as two domains, both in infrared, red and green: what ST-DASegNet was published with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from georelay.datasets.base import RGB_8_BIT, Dataset, Rng
from georelay.datasets.potsdam import CLASSES, PAGE, TERMS, on_request

# The lists of the public code, by what * stands for; val there is what was tested on.
SPLITS: dict[str, Any] = {
    "train": {  # 24 scenes of Potsdam, 25 of Vaihingen, whose area 9 is in no list
        "potsdam": [
            *("2_10", "2_11", "2_12", "3_10", "3_11", "3_12", "4_10", "4_11", "4_12", "5_10", "5_11", "5_12"),
            *("6_7", "6_8", "6_9", "6_10", "6_11", "6_12", "7_7", "7_8", "7_9", "7_10", "7_11", "7_12"),
        ],
        "vaihingen": [
            *("1", "3", "4", "6", "10", "11", "12", "14", "15", "16", "17", "21", "23"),
            *("26", "27", "28", "29", "30", "31", "32", "33", "34", "35", "37", "38"),
        ],
    },
    "val": None,
    "test": {  # 14 and 8; area 13 is here alone
        "potsdam": [
            *("2_13", "2_14", "3_13", "3_14", "4_13", "4_14", "4_15"),
            *("5_13", "5_14", "5_15", "6_13", "6_14", "6_15", "7_13"),
        ],
        "vaihingen": ["2", "5", "7", "8", "13", "20", "22", "24"],
    },
}
VAIHINGEN = (
    on_request("ISPRS_semantic_labeling_Vaihingen.zip", "vaihingen", "462b8dca7b6fa9eaf729840f0cdfc7f3"),
    on_request("ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip", "vaihingen/gts_eroded_for_participants"),
)
LABELS = on_request("5_Labels_all_noBoundary.zip", "potsdam/5_Labels_all_noBoundary")

DATASET = Dataset(
    title="ISPRS Potsdam and Vaihingen, infrared, red and green",
    source={
        "kind": "folder",
        "path": "data/isprs",
        "images": {
            "potsdam": "{domain}/3_Ortho_IRRG/top_potsdam_*_IRRG.tif",
            "vaihingen": "{domain}/top/top_mosaic_09cm_area*.tif",
        },
        "labels": {  # eroded: pixels on the border of two classes are black
            "potsdam": "{domain}/5_Labels_all_noBoundary/top_potsdam_*_label_noBoundary.tif",
            "vaihingen": "{domain}/gts_eroded_for_participants/top_mosaic_09cm_area*_noBoundary.tif",
        },
        "labels_as": "colour",
        "splits": SPLITS,
        "domains": {"potsdam": "potsdam", "vaihingen": "vaihingen"},
        **RGB_8_BIT,  # the names stand for infrared, red and green, as for the paper's statistics and weights
        "gsd": {"potsdam": 0.05, "vaihingen": 0.09},
        "classes": CLASSES,
        "ignore": 255,
        "others": "ignore",
        "licence": TERMS,
        "url": PAGE,
    },
    accept=True,
    licence_url=PAGE,
    downloads=(on_request("3_Ortho_IRRG.zip", "potsdam"), LABELS, *VAIHINGEN),
    notes="The archives of labels are taken to hold no folder, as those of the whole labels do.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Every listed scene, small, and area 9, which is in no list and has no label."""
    write_cities(folder, rng, "3_Ortho_IRRG", "IRRG")


def write_cities(folder: Path, rng: Rng, images: str, bands: str) -> None:
    """Both cities, with Potsdam's images in a folder of that name."""
    for part in ("train", "test"):
        for city, scenes in SPLITS[part].items():
            for scene in scenes:
                write_scene(folder, rng, city, scene, images, bands)
    write_scene(folder, rng, "vaihingen", "9", images, bands)[1].unlink()


def write_scene(
    folder: Path, rng: Rng, city: str, scene: str, images: str = "3_Ortho_IRRG", bands: str = "IRRG"
) -> tuple[Path, Path]:
    """An image and its label, a tenth of which is black; Potsdam's are of one size, and no side is a whole number of tiles."""
    from georelay.datasets.making import colours_of, mixed, picture, save_picture

    size = (44, 44) if city == "potsdam" else (18 + int(scene) % 7, 30 - int(scene) % 5)
    label = mixed(rng, range(len(CLASSES)), size)
    pixels = colours_of(DATASET.source)[label]
    pixels[rng.random(size) < 0.1] = 0
    names = {
        "potsdam": (f"{images}/top_potsdam_{scene}_{bands}", f"5_Labels_all_noBoundary/top_potsdam_{scene}_label_noBoundary"),
        "vaihingen": (
            f"top/top_mosaic_09cm_area{scene}",
            f"gts_eroded_for_participants/top_mosaic_09cm_area{scene}_noBoundary",
        ),
    }
    image, truth = (folder / city / f"{name}.tif" for name in names[city])
    save_picture(image, picture(rng, size))
    save_picture(truth, pixels)
    return image, truth
