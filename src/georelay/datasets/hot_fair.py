"""HOT fAIr: buildings of 25 places all over the world, tiles of 256 x 256 pixels from OpenAerialMap and OpenStreetMap."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import RGB_8_BIT, Dataset, Download, Rng

FILES = "https://fair-dev.hotosm.org/api/v1/workspace/download/training_{}/preprocessed/preprocessed.tar.xz/"
# Kakuma, Denver, Montevideo twice, Kutupalong, Gornja Rijeka, Melbourne, Pemba, Christchurch, Pergamino, Silvania, Desa Kulaba,
# Roseau, Pallabi, Dhaka, Ggaba, Tchiniambi, Bogota, Soudure, Quincy, Dzaleka, Ngaoundere, Inagi, Banyuwangi, Staraya Russa.
TRAININGS: tuple[int, ...] = (364, 370, 372, 373, 391, 394, 397, 398, 399, 456, 459, 462, 463)
TRAININGS += (485, 488, 489, 508, 523, 524, 525, 526, 528, 529, 530, 539)

DATASET = Dataset(
    title="HOT fAIr buildings",
    source={
        "kind": "folder",
        "path": "data/hot-fair",
        "images": "training_*/**/chips/OAM-*.tif",
        "labels": "training_*/**/binarymasks/OAM-*.mask.tif",
        "splits": None,
        **RGB_8_BIT,
        "gsd": None,  # Web Mercator, at zoom levels 19 to 21
        "classes": [
            {"name": "ground", "colour": [60, 60, 60]},
            {"name": "building", "colour": [230, 60, 40], "also": [255]},
        ],
        "ignore": 254,  # building is 1 in some masks, 255 in others
        "licence": "images CC-BY-4.0 (OpenAerialMap), labels ODbL-1.0 (OpenStreetMap)",
        "url": "https://github.com/hotosm/fAIr-utilities/blob/master/docs/sample-benchmark-datasets.md",
    },
    accept=False,
    licence_url="https://opendatacommons.org/licenses/odbl/1-0/",
    downloads=tuple(
        Download(f"training_{at}.tar.xz", urls=(FILES.format(at),), unpack=f"training_{at}", sample=at == TRAININGS[0])
        for at in TRAININGS
    ),
    notes="No checksums are published, and nothing says that the development server stays. Tiles of several zoom levels "
    "show the same ground: split by `blocks`, not by `scenes` or `tiles`. To take places for domains say "
    "`domains: {kakuma: training_364, ...}` with `{domain}` for `training_*` in both patterns.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Two tiles of each of two places; buildings are 1 in the one and 255 in the other."""
    from georelay.datasets.making import mixed, picture, save_raster

    for number, (training, tile) in enumerate(((364, 308300), (364, 308301), (370, 106700), (370, 106701))):
        label = mixed(rng, (0, 1 if training == 364 else 255), (32, 32)).astype("uint8")
        files = {"chips/{}.tif": picture(rng, label.shape).transpose(2, 0, 1), "binarymasks/{}.mask.tif": label[None]}
        for name, pixels in files.items():
            path = folder / f"training_{training}/preprocessed" / name.format(f"OAM-{tile}-257100-19")
            save_raster(path, pixels, number, "EPSG:3857", gsd=0.2986)
