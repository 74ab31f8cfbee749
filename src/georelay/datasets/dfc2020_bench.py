"""DFC2020's larger part as Copernicus-Bench has it: 5128 scenes, open to all without a log-in."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import Dataset, Download, Rng
from georelay.datasets.dfc2020 import DATASET as CONTEST

URL = "https://hf.co/datasets/wangyi111/Copernicus-Bench/resolve/9d252acd3aa0e3da3128e05c6f028647f0e48e5f/l2_dfc2020_s1s2/dfc2020.zip"
SENSORS = {"sar": "s1", "eo": "s2"}
BELOW, PART = "dfc2020_s1s2", "ROIs0000_test"

DATASET = Dataset(
    title="DFC2020 (Copernicus-Bench)",
    source={
        **CONTEST.source,
        "path": "data/dfc2020-bench",
        "modalities": {
            name: {**CONTEST.source["modalities"][name], "images": f"{BELOW}/{kind}/{PART}_{kind}_*.tif"}
            for name, kind in SENSORS.items()
        },
        "labels": f"{BELOW}/dfc/{PART}_dfc_*.tif",
        "labels_band": None,
        "splits": None,
        "url": URL,
    },
    accept=False,
    licence_url=CONTEST.licence_url,
    downloads=(Download("dfc2020.zip", urls=(URL,), md5="f10ba017dab6f38b7a6857b169ea924b", unpack=""),),
    notes="Its lists (dfc-train-new.csv and so on: 3156 train, 986 validate, 986 test) are not used: one pool.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Four scenes in two CRS, and the lists."""
    from georelay.datasets.making import backscatter, mixed, save_raster, sensed, values_of

    patches = (3, 12, 609, 700)
    for number, patch in enumerate(patches):
        label = mixed(rng, (0, *values_of(DATASET.source)), (16, 16)).astype("uint8")
        files = {"s1": backscatter(rng, 2, label.shape), "s2": sensed(rng, 13, label.shape), "dfc": label[None]}
        for kind, pixels in files.items():
            place = f"EPSG:3263{1 + number % 2}"
            save_raster(folder / f"{BELOW}/{kind}/{PART}_{kind}_0_p{patch}.tif", pixels, number, place)
    for part, listed in (("train", patches[:2]), ("val", patches[2:3]), ("test", patches[3:])):
        (folder / f"{BELOW}/dfc-{part}-new.csv").write_text("".join(f"{PART}_dfc_0_p{patch}.tif\n" for patch in listed))
