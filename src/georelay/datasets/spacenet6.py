"""SpaceNet 6: Rotterdam, 3401 scenes of 900 x 900 pixels from 204 strips of radar over one city, and optical images of it."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import Dataset, Download, Rng

ARCHIVE = "SN6_buildings_AOI_11_Rotterdam_train.tar.gz"
BELOW = "train/AOI_11_Rotterdam"
NAME = "SN6_Train_AOI_11_Rotterdam"

DATASET = Dataset(
    title="SpaceNet 6",
    source={
        "kind": "paired",
        "path": "data/spacenet6",
        "modalities": {
            "eo": {  # the pan-sharpened one; RGBNIR itself has pixels of 2 m
                "images": f"{BELOW}/PS-RGBNIR/{NAME}_PS-RGBNIR_*.tif",
                "bands": ["red", "green", "blue", "nir"],
                "unit": "reflectance",
                "scale": 0.0001,  # of no weight here: nothing but the ratio of raster values is used
                "nodata": None,
                "blank": 0.0,
            },
            "sar": {
                "images": f"{BELOW}/SAR-Intensity/{NAME}_SAR-Intensity_*.tif",
                "bands": ["hh", "hv", "vh", "vv"],
                "unit": "dB",  # published as log intensity, not calibrated
                "scale": 1.0,
                "nodata": None,
                "blank": 0.0,  # margins
            },
        },
        "labels": f"{BELOW}/geojson_buildings/{NAME}_Buildings_*.geojson",
        "labels_as": "polygons",
        "splits": None,
        "looks": f"{BELOW}/SummaryData/SAR_orientations.txt",  # 0: seen from the north, 1: from the south
        "gsd": None,
        "classes": [
            {"name": "ground", "colour": [60, 60, 60]},
            {"name": "building", "colour": [230, 60, 40]},
        ],
        "ignore": 255,
        "licence": "CC-BY-SA-4.0",
        "url": f"s3://spacenet-dataset/spacenet/SN6_buildings/tarballs/{ARCHIVE}",
    },
    accept=False,
    licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
    downloads=(
        Download(
            ARCHIVE,
            urls=(f"https://spacenet-dataset.s3.amazonaws.com/spacenet/SN6_buildings/tarballs/{ARCHIVE}",),
            md5="10ca26d2287716e3b6ef0cf0ad9f946e",
            unpack="",
        ),
    ),
    notes="Buildings are polygons, burnt onto the grid of each image. Only the train part has labels and optical images.",
)


def fake(folder: Path, rng: Rng) -> None:
    """A scene of each of two strips, which look from two sides."""
    from georelay.datasets.making import backscatter, save_house, save_raster, sensed

    strips = ("20190804111224_20190804111453", "20190822065725_20190822065959")
    for number, strip in enumerate(strips):
        files = {
            f"{BELOW}/PS-RGBNIR/{NAME}_PS-RGBNIR": sensed(rng, 4, (16, 16)),
            f"{BELOW}/SAR-Intensity/{NAME}_SAR-Intensity": backscatter(rng, 4, (16, 16), margin=0),
        }
        for name, pixels in files.items():
            save_raster(folder / f"{name}_{strip}_tile_{number}.tif", pixels, number, gsd=0.5)
        save_house(folder / f"{BELOW}/geojson_buildings/{NAME}_Buildings_{strip}_tile_{number}.geojson", number, gsd=0.5)
    (folder / f"{BELOW}/SummaryData").mkdir()
    (folder / DATASET.source["looks"]).write_text("".join(f"{strip} {look}\n" for look, strip in enumerate(strips)))
