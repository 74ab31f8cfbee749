"""Sen1Floods11: 446 scenes of 512 x 512 pixels of eleven floods, radar and optical, with water marked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from georelay.datasets.base import SENTINEL_2, Dataset, Rng

BUCKET = "https://storage.googleapis.com/sen1floods11"
BELOW = "v1.1/data/flood_events/HandLabeled"
LISTS = "v1.1/splits/flood_handlabeled"

DATASET = Dataset(
    title="Sen1Floods11",
    source={
        "kind": "paired",
        "path": "data/sen1floods11",
        "modalities": {
            "sar": {
                "images": f"{BELOW}/S1Hand/*_S1Hand.tif",
                "bands": ["vv", "vh"],
                "unit": "dB",
                "scale": 1.0,
                "nodata": None,  # NaN
            },
            "eo": {
                "images": f"{BELOW}/S2Hand/*_S2Hand.tif",
                "bands": SENTINEL_2,
                "unit": "reflectance",  # top of the atmosphere
                "scale": 0.0001,
                "nodata": None,
            },
        },
        "labels": f"{BELOW}/LabelHand/*_LabelHand.tif",
        "splits": None,
        "gsd": 10.0,
        "classes": [
            {"name": "land", "colour": [120, 100, 70]},
            {"name": "water", "colour": [30, 90, 220]},
        ],
        "ignore": 255,
        "ignored": [-1],  # not valid; label files are int16
        "licence": "none stated with the data; its paper asks to be cited",
        "url": f"{BUCKET}/v1.1/Sen1Floods11_Metadata.geojson",
        "by_hand": f"run `gsutil -m rsync -r gs://sen1floods11/{BELOW} DIR/{BELOW}`, DIR being that folder,",
    },
    accept=True,
    licence_url="https://github.com/cloudtostreet/Sen1Floods11",
    notes=f"Thousands of loose files in a bucket, without checksums. Its lists ({LISTS}/flood_train_data.csv, "
    "flood_valid_data.csv, flood_test_data.csv) are not used: one pool. The part with weak labels is left out.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Four scenes of two floods, in degrees, and the lists."""
    from georelay.datasets.making import backscatter, mixed, save_raster, sensed

    scenes = ("Ghana_103272", "Ghana_1078550", "Spain_7370579", "Spain_8199661")
    for number, scene in enumerate(scenes):
        label = mixed(rng, (-1, 0, 1), (32, 32)).astype("int16")
        files = {"S1Hand": backscatter(rng, 2, label.shape), "S2Hand": sensed(rng, 13, label.shape), "LabelHand": label[None]}
        for kind, pixels in files.items():
            place: dict[str, Any] = {"crs": "EPSG:4326", "gsd": 8.983e-05, "origin": (-1.5, 9.0)}
            save_raster(folder / f"{BELOW}/{kind}/{scene}_{kind}.tif", pixels, number, **place)
    (folder / LISTS).mkdir(parents=True)
    for part, listed in (("train", scenes[:2]), ("valid", scenes[2:3]), ("test", scenes[3:])):
        lines = (f"{scene}_S1Hand.tif,{scene}_LabelHand.tif\n" for scene in listed)
        (folder / LISTS / f"flood_{part}_data.csv").write_text("".join(lines))
