"""SEN12MS: 180662 scenes of 256 x 256 pixels all over the world, laid side by side; about 0.5 TB unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from georelay.datasets.base import SENTINEL_2, Dataset, Download, Rng

DOMAINS = {"spring": "ROIs1158_spring", "summer": "ROIs1868_summer", "fall": "ROIs1970_fall", "winter": "ROIs2017_winter"}
DIGESTS = {  # of lc, s1 and s2
    "spring": "6e2e8fa8b8cba77ddab49fd20ff5c37b fba019bb27a08c1db96b31f718c34d79 d58af2c15a16f376eb3308dc9b685af2",
    "summer": "2c5bd80244440b6f9d54957c6b1f23d4 01044b7f58d33570c6b57fec28a3d449 4dbaf72ecb704a4794036fe691427ff3",
    "fall": "9b126a68b0e3af260071b3139cb57cee 19132e0aab9d4d6862fd42e8e6760847 b8f117818878da86b5f5e06400eb1866",
    "winter": "0fa0420ef7bcfe4387c7e6fe226dc728 bb8cbfc16b95a4f054a3d5380e0130ed 3807545661288dcca312c9c538537b63",
}
SERVER = "ftp://dataserv.ub.tum.de"


def _places(words: str) -> list[str]:
    return [f"{place}_p*" for place in words.split()]


# By places: the published hold-out of 26, and the 25 that its authors validate on.
SPLITS: dict[str, Any] = {
    "train": {season: ["*"] for season in DOMAINS},
    "val": {
        "spring": _places("112 113 117 44 45 77"),
        "summer": _places("113 26 36 55 73 89"),
        "fall": _places("1 130 14 142 20 3 57 62 93"),
        "winter": _places("103 144 69 77"),
    },
    "test": {
        "spring": _places("63 146 97 124 15 17"),
        "summer": _places("43 131 19 104 72 15 79"),
        "fall": _places("120 39 144 35 61 47 30 141"),
        "winter": _places("64 146 32 107 135"),
    },
}


def _downloads() -> tuple[Download, ...]:
    pairs = [
        (f"{DOMAINS[season]}_{kind}.tar.gz", md5)
        for season, digests in DIGESTS.items()
        for kind, md5 in zip(("lc", "s1", "s2"), digests.split(), strict=True)
    ]
    how = "Fetch {0}/{1} with the public log-in that the data set's page (https://mediatum.ub.tum.de/1474000) tells."
    return tuple(Download(name, md5=md5, unpack="", manual=how.format(SERVER, name)) for name, md5 in pairs)


DATASET = Dataset(
    title="SEN12MS",
    source={
        "kind": "paired",
        "path": "data/sen12ms",
        "modalities": {
            "sar": {
                "images": "{domain}/s1_*/{domain}_s1_*.tif",
                "bands": ["vv", "vh"],
                "unit": "dB",
                "scale": 1.0,
                "nodata": None,  # NaN
            },
            "eo": {
                "images": "{domain}/s2_*/{domain}_s2_*.tif",
                "bands": SENTINEL_2,
                "unit": "reflectance",
                "scale": 0.0001,
                "nodata": None,
            },
        },
        "labels": "{domain}/lc_*/{domain}_lc_*.tif",
        "labels_band": 1,  # IGBP
        "domains": DOMAINS,
        "splits": SPLITS,
        "left_out": {"spring": [], "summer": ["146_p202"], "fall": [], "winter": []},  # its radar image is damaged
        "gsd": 10.0,
        "classes": [  # ten of the 17 of IGBP
            {"name": "forest", "colour": [0, 150, 0], "value": 1, "also": [2, 3, 4, 5]},
            {"name": "shrubland", "colour": [198, 176, 68], "value": 6, "also": [7]},
            {"name": "savanna", "colour": [251, 255, 19], "value": 8, "also": [9]},
            {"name": "grassland", "colour": [182, 255, 5], "value": 10},
            {"name": "wetland", "colour": [39, 255, 135], "value": 11},
            {"name": "cropland", "colour": [194, 79, 68], "value": 12, "also": [14]},
            {"name": "urban", "colour": [165, 165, 165], "value": 13},
            {"name": "snow and ice", "colour": [105, 255, 248], "value": 15},
            {"name": "barren", "colour": [249, 255, 164], "value": 16},
            {"name": "water", "colour": [28, 13, 255], "value": 17},
        ],
        "ignore": 255,
        "others": "ignore",
        "licence": "CC-BY-4.0",
        "url": SERVER,
    },
    accept=False,
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    downloads=_downloads(),
)


def fake(folder: Path, rng: Rng) -> None:
    """In each season a scene of every listed place, of one that none names, and of 146, whose summer is damaged."""
    import numpy as np

    from georelay.datasets.making import backscatter, mixed, save_raster, sensed, values_of

    for number, (key, season) in enumerate(DOMAINS.items()):
        listed = {entry.removesuffix("_p*") for part in ("val", "test") for entry in SPLITS[part][key]}
        for place in sorted({*listed, "7", "146"}):
            label = mixed(rng, (0, *values_of(DATASET.source)), (16, 16)).astype("uint8")
            files = {
                "s1": backscatter(rng, 2, label.shape),
                "s2": sensed(rng, 13, label.shape),
                "lc": np.stack([label, label + 100]),
            }
            for kind, pixels in files.items():
                path = folder / f"{season}/{kind}_{place}/{season}_{kind}_{place}_p202.tif"
                save_raster(path, pixels, number, f"EPSG:3263{1 + number % 2}")
