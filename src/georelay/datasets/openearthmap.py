"""OpenEarthMap: land cover of 97 regions in 44 countries, scenes of 1024 x 1024 pixels of 0.25 to 0.5 m."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import RGB_8_BIT, Dataset, Download, Rng

DATASET = Dataset(
    title="OpenEarthMap",
    source={
        "kind": "folder",
        "path": "data/openearthmap",
        "images": "**/*/images/*.tif",
        "labels": "**/*/labels/*.tif",
        "splits": None,
        **RGB_8_BIT,
        "gsd": 0.5,  # at most; regions have CRS of their own, so scenes are laid side by side
        "classes": [
            {"name": "bareland", "colour": [128, 0, 0], "value": 1},
            {"name": "rangeland", "colour": [0, 255, 36], "value": 2},
            {"name": "developed space", "colour": [148, 148, 148], "value": 3},
            {"name": "road", "colour": [255, 255, 255], "value": 4},
            {"name": "tree", "colour": [34, 97, 38], "value": 5},
            {"name": "water", "colour": [0, 69, 255], "value": 6},
            {"name": "agriculture", "colour": [75, 181, 73], "value": 7},
            {"name": "building", "colour": [222, 31, 7], "value": 8},
        ],
        "ignore": 255,
        "ignored": [0],
        "unpaired": "skip",
        "licence": "CC-BY-NC-SA-4.0, or that of the region's images",
        "url": "https://zenodo.org/record/7223446",
    },
    accept=True,
    licence_url="https://open-earth-map.org/attribution.html",
    downloads=(
        Download(
            "OpenEarthMap.zip",
            urls=("https://zenodo.org/records/7223446/files/OpenEarthMap.zip?download=1",),
            md5="64155d1dc9d3b68536063f79878e1a67",
            unpack="",
        ),
    ),
    notes="Images from xBD are not in the archive but their labels are, and images of the test part have no labels: both are "
    "passed over. Its lists (3000 train, 500 validate) are not used: one pool.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Two scenes of each of two regions, in two CRS; some pixels have no label."""
    from georelay.datasets.making import mixed, picture, save_raster, values_of

    for number, (region, scene) in enumerate((("aachen", 1), ("aachen", 12), ("kagera", 3), ("kagera", 40))):
        label = mixed(rng, (0, *values_of(DATASET.source)), (32, 32)).astype("uint8")
        files = {"images": picture(rng, label.shape).transpose(2, 0, 1), "labels": label[None]}
        for kind, pixels in files.items():
            crs = {"aachen": "EPSG:32632", "kagera": "EPSG:32736"}[region]
            path = folder / f"OpenEarthMap_wo_xBD/{region}/{kind}/{region}_{scene}.tif"
            save_raster(path, pixels, number, crs, gsd=0.5)
