"""WHU-OPT-SAR: land use of Hubei, 100 scenes of 5556 x 3704 pixels of 5 m, optical (GF-1) and radar (GF-3)."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import Dataset, Rng

DRIVE = "https://drive.google.com/drive/folders/1W3iMpkehng7ADXmhz9pPvmgFQBayq22t"

DATASET = Dataset(
    title="WHU-OPT-SAR",
    source={
        "kind": "paired",
        "path": "data/whu-opt-sar",
        "modalities": {
            "eo": {
                "images": "optical/*.tif",
                "bands": ["red", "green", "blue", "nir"],
                "unit": "reflectance",
                "scale": 0.00392156862745098,
                "nodata": None,
            },
            "sar": {
                "images": "sar/*.tif",
                "bands": ["intensity"],
                "unit": "dB",  # grey values of 8 bits, not calibrated
                "scale": 1.0,
                "nodata": None,
            },
        },
        "labels": "lbl/*.tif",
        "splits": None,
        "gsd": 5.0,
        "classes": [
            {"name": "farmland", "colour": [204, 102, 0], "value": 10},
            {"name": "city", "colour": [255, 0, 0], "value": 20},
            {"name": "village", "colour": [255, 255, 0], "value": 30},
            {"name": "water", "colour": [0, 0, 255], "value": 40},
            {"name": "forest", "colour": [85, 167, 0], "value": 50},
            {"name": "road", "colour": [0, 255, 255], "value": 60},
            {"name": "others", "colour": [153, 102, 153], "value": 70},
        ],
        "ignore": 255,
        "ignored": [0],  # background
        "licence": "none stated",
        "url": DRIVE,
        "by_hand": f"download {DRIVE} (or https://pan.baidu.com/s/1sIGsD3lBEogSCqzbDOaclA, password i51o), and unpack it",
    },
    accept=True,
    licence_url="https://github.com/AmberHen/WHU-OPT-SAR-dataset",
    notes="No licence and no checksum are published. The names of the three folders were not seen; elsewhere they differ.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Three scenes; some pixels are background."""
    from georelay.datasets.making import mixed, picture, save_raster, values_of

    for number, scene in enumerate(("NH49E001013", "NH50E007004", "NI49E024018")):
        label = mixed(rng, (0, *values_of(DATASET.source)), (40, 32)).astype("uint8")
        grey = picture(rng, label.shape).transpose(2, 0, 1)
        files = {"optical": grey[[0, 1, 2, 0]], "sar": grey[1:2], "lbl": label[None]}
        for kind, pixels in files.items():
            save_raster(folder / f"{kind}/{scene}.tif", pixels, number, "EPSG:32649", gsd=5.0)
