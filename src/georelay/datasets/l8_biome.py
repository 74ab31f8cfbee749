"""L8 Biome: 96 whole scenes of Landsat 8 from eight biomes, with clouds, thin clouds and shadows marked by hand."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets.base import Dataset, Download, Rng

FILES = "https://hf.co/datasets/torchgeo/l8biome/resolve/f76df19accce34d2acc1878d88b9491bc81f94c8/{}"
DIGESTS = {
    "barren": "0eb691822d03dabd4f5ea8aadd0b41c3",
    "forest": "4a5645596f6bb8cea44677f746ec676e",
    "grass_crops": "a69ed5d6cb227c5783f026b9303cdd3c",
    "shrubland": "19df1d0a604faf6aab46d6a7a5e6da6a",
    "snow_ice": "af8b189996cf3f578e40ee12e1f8d0c9",
    "urban": "5450195ed95ee225934b9827bea1e8b0",
    "water": "a81153415eb662c9e6812c2a8e38c743",
    "wetlands": "1f86cc354631ca9a50ce54b7cab3f557",
}

DATASET = Dataset(
    title="L8 Biome",
    source={
        "kind": "folder",
        "path": "data/l8-biome",
        "images": "**/LC8*/LC8*[0-9].TIF",  # one file of all bands a scene; what ends in a word is its mask
        "labels": "**/LC8*/LC8*_fixedmask.TIF",
        "splits": None,
        "modality": "optical",
        "bands": ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9", "b10", "b11"],
        "unit": "reflectance",  # as near as digital numbers come to it; b10 and b11 are thermal
        "scale": 0.00002,  # of the reflective bands; the offset of -0.1 is left out
        "nodata": 0.0,  # fill beside the swath
        "gsd": 30.0,
        "classes": [
            {"name": "clear", "colour": [79, 253, 199], "value": 128},
            {"name": "cloud shadow", "colour": [221, 53, 223], "value": 64},
            {"name": "thin cloud", "colour": [251, 255, 41], "value": 192},
            {"name": "cloud", "colour": [77, 2, 115], "value": 255},
        ],
        "ignore": 254,  # 255 is a class
        "ignored": [0],  # fill
        "licence": "CC0-1.0",
        "url": "https://hf.co/datasets/torchgeo/l8biome",
    },
    accept=False,
    licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
    downloads=tuple(
        Download(f"{biome}.tar.gz", urls=(FILES.format(f"{biome}.tar.gz"),), md5=md5, unpack="", sample=biome == "barren")
        for biome, md5 in DIGESTS.items()
    ),
    notes="The redistribution with georeferenced masks: its images hold all bands. The Geological Survey's own archives have "
    "one file a band and are not read. To take biomes for domains say `domains: {barren: barren, ...}` with "
    "`{domain}` in both patterns.",
)


def fake(folder: Path, rng: Rng) -> None:
    """Three scenes of two biomes in two CRS, with fill at the left."""
    from georelay.datasets.making import mixed, save_raster, sensed, values_of

    scenes = ("barren/LC81390292014135LGN00", "barren/LC81570452014213LGN00", "water/LC81910182013240LGN00")
    for number, scene in enumerate(scenes):
        path = folder / scene / Path(scene).name
        label, image = mixed(rng, values_of(DATASET.source), (32, 32)).astype("uint8"), sensed(rng, 11, (32, 32))
        label[:, :2], image[:, :, :2] = 0, 0
        place = (f"EPSG:3263{1 + number % 2}", 30.0)
        save_raster(path.with_name(f"{path.name}.TIF"), image, number, *place)
        save_raster(path.with_name(f"{path.name}_fixedmask.TIF"), label[None], number, *place)
