"""DFC2020: SEN12MS's sensors with labels of 10 m, 5128 scenes of some places and 986 of others."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import SENTINEL_2, Dataset, Download, Rng

PAGE = "https://ieee-dataport.org/competitions/2020-ieee-grss-data-fusion-contest"

DATASET = Dataset(
    title="DFC2020",
    source={
        "kind": "paired",
        "path": "data/dfc2020",
        "modalities": {
            "sar": {
                "images": "{split}/s1_*/{split}_s1_*.tif",
                "bands": ["vv", "vh"],
                "unit": "dB",
                "scale": 1.0,
                "nodata": None,
            },
            "eo": {
                "images": "{split}/s2_*/{split}_s2_*.tif",
                "bands": SENTINEL_2,
                "unit": "reflectance",
                "scale": 0.0001,
                "nodata": None,
            },
        },
        "labels": "{split}/dfc_*/{split}_dfc_*.tif",
        "labels_band": 1,
        # The larger part of the contest trains.
        "splits": {"train": "ROIs0000_test", "val": None, "test": "ROIs0000_validation"},
        "gsd": 10.0,
        "classes": [
            {"name": "forest", "colour": [0, 150, 0], "value": 1},
            {"name": "shrubland", "colour": [198, 176, 68], "value": 2},
            {"name": "savanna", "colour": [251, 255, 19], "value": 3},
            {"name": "grassland", "colour": [182, 255, 5], "value": 4},
            {"name": "wetland", "colour": [39, 255, 135], "value": 5},
            {"name": "cropland", "colour": [194, 79, 68], "value": 6},
            {"name": "urban", "colour": [165, 165, 165], "value": 7},
            {"name": "snow and ice", "colour": [105, 255, 248], "value": 8},
            {"name": "barren", "colour": [249, 255, 164], "value": 9},
            {"name": "water", "colour": [28, 13, 255], "value": 10},
        ],
        "ignore": 255,
        "ignored": [0],
        "licence": "CC-BY-4.0",
        "url": PAGE,
    },
    accept=False,
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    downloads=(
        Download(
            "DFC_Public_Dataset.zip",
            unpack="",
            manual=f"Log in to IEEE DataPort and download it from {PAGE}.",
        ),
    ),
    notes="If the archive holds a folder of its own, say so in `path`. Copernicus-Bench has the 5128 scenes in another layout.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Two scenes of the one part, one of the other, in two CRS; some pixels have no label."""
    from georelay.datasets.making import backscatter, mixed, save_raster, sensed, values_of

    for number, (part, patch) in enumerate((("ROIs0000_test", 609), ("ROIs0000_test", 3), ("ROIs0000_validation", 5))):
        label = mixed(rng, (0, *values_of(DATASET.source)), (16, 16)).astype("uint8")
        files = {"s1": backscatter(rng, 2, label.shape), "s2": sensed(rng, 13, label.shape), "dfc": label[None]}
        for kind, pixels in files.items():
            save_raster(folder / f"{part}/{kind}_0/{part}_{kind}_0_p{patch}.tif", pixels, number, f"EPSG:3263{1 + number % 2}")
