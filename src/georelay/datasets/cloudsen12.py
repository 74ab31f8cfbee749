"""CloudSEN12+ as Copernicus-Bench has it: 2817 scenes of Sentinel-2 with clouds and shadows marked by experts."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import SENTINEL_2, Dataset, Download, Rng

URL = (
    "https://hf.co/datasets/wangyi111/Copernicus-Bench/resolve/9d252acd3aa0e3da3128e05c6f028647f0e48e5f/l1_cloud_s2/cloud_s2.zip"
)

DATASET = Dataset(
    title="CloudSEN12+ (Copernicus-Bench)",
    source={
        "kind": "folder",
        "path": "data/cloudsen12",
        "images": "cloud_s2/s2_toa/ROI_*.tif",
        "labels": "cloud_s2/cloud/ROI_*.tif",
        "splits": None,
        "modality": "optical",
        "bands": SENTINEL_2,
        "unit": "reflectance",  # top of the atmosphere
        "scale": 0.0001,
        "nodata": None,
        "gsd": 10.0,
        "classes": [
            {"name": "clear", "colour": [79, 253, 199]},
            {"name": "thick cloud", "colour": [77, 2, 115]},
            {"name": "thin cloud", "colour": [251, 255, 41]},
            {"name": "cloud shadow", "colour": [221, 53, 223]},
        ],
        "ignore": 255,
        "licence": "CC0-1.0",
        "url": URL,
    },
    accept=False,
    licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
    downloads=(Download("cloud_s2.zip", urls=(URL,), md5="39a1f966e76455549a3e6c209ba751c1", unpack=""),),
    notes="Its lists (CSV files beside the scenes: 1699 train, 567 validate, 551 test) are not used: one pool. "
    "The licence is that of CloudSEN12+; older releases of CloudSEN12 are CC-BY-NC.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Four scenes in two CRS, and the lists."""
    from georelay.datasets.making import mixed, save_raster, sensed, values_of

    scenes = [f"ROI_{number:04d}__20200{number}12T102021" for number in range(1, 5)]
    for number, scene in enumerate(scenes):
        label = mixed(rng, values_of(DATASET.source), (32, 32)).astype("uint8")
        for kind, pixels in (("s2_toa", sensed(rng, 13, label.shape)), ("cloud", label[None])):
            save_raster(folder / f"cloud_s2/{kind}/{scene}.tif", pixels, number, f"EPSG:3263{1 + number % 2}")
    for part, listed in (("train", scenes[:2]), ("val", scenes[2:3]), ("test", scenes[3:])):
        (folder / f"cloud_s2/{part}.csv").write_text("".join(f"{scene}\n" for scene in listed))
