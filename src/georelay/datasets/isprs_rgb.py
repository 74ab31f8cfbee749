"""Potsdam in red, green and blue, Vaihingen in infrared, red and green: the harder half of ST-DASegNet's experiments."""

from __future__ import annotations

from pathlib import Path

from georelay.datasets import isprs_irrg as irrg
from georelay.datasets.base import Dataset, Rng
from georelay.datasets.potsdam import PAGE, on_request

DATASET = Dataset(
    title="ISPRS Potsdam in red, green and blue, and Vaihingen",
    source={  # in Vaihingen the names of the bands stand for infrared, red and green
        **irrg.DATASET.source,
        "images": {**irrg.DATASET.source["images"], "potsdam": "{domain}/2_Ortho_RGB/top_potsdam_*_RGB.tif"},
    },
    accept=True,
    licence_url=PAGE,
    downloads=(on_request("2_Ortho_RGB.zip", "potsdam"), irrg.LABELS, *irrg.VAIHINGEN),
    notes=irrg.DATASET.notes,
)


def fake(folder: Path, rng: Rng) -> None:
    """As the other, with Potsdam's images under their own names."""
    irrg.write_cities(folder, rng, "2_Ortho_RGB", "RGB")
