"""A student sees scenes of both looks from one side; its maps lie where the scenes do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from georelay.batches.modality import modalities_of
from georelay.evaluate.predict import Mapper
from georelay.geo.raster import open_grid, read_window, write_raster
from georelay.sources.receipt import Scene
from invented import MODALITIES, make_plan

PLACE: dict[str, Any] = {"transform": (0.5, 0.0, 500000.0, 0.0, -0.5, 4100000.0), "crs": "EPSG:32631"}
SIZE = (70, 53)


class Reader:
    """Tells each pixel's class from its first band, and puts it `moved` pixels to the right, as layover does."""

    stride = 1

    def __init__(self, moved: int) -> None:
        self.moved = moved

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        values = image[:, :1].roll(self.moved, dims=-1)
        return -((values - torch.arange(4.0).view(1, 4, 1, 1)) ** 2) * 100


def write_scene(folder: Path, look: int) -> tuple[Scene, np.ndarray]:
    """A SAR image whose first band holds the classes, and a corner without data; the classes [y, x]."""
    label = np.random.default_rng(3).integers(0, 4, SIZE).astype(np.uint8)
    vv = np.array(MODALITIES["sar"]["mean"][0] + MODALITIES["sar"]["std"][0] * label)
    image = np.stack([vv, vv]).astype(np.float32)
    image[:, :5, :9] = np.nan
    label[:5, :9] = 255
    write_raster(folder / "sar.tif", image, **PLACE, nodata=None)
    return Scene("s", "test", "main", {"sar": "sar.tif"}, "label.tif", look), label


def predicted(folder: Path, look: int, moved: int, aligned: bool, **predict: Any) -> tuple[np.ndarray, np.ndarray]:
    """The map of a scene, and its classes."""
    scene, label = write_scene(folder, look)
    plan = make_plan(inputs=["sar"], predict={"window": 32, "overlap": 8, **predict})
    plan["source"] |= {"align_look": True} if aligned else {}
    Mapper(plan, Reader(moved), modalities_of(plan, ["sar"]), torch.device("cpu")).write(scene, folder, folder / "map.tif")
    assert open_grid(folder / "map.tif").difference(open_grid(folder / "sar.tif")) == ""
    return read_window(folder / "map.tif", 0, 0, *SIZE)[0], label


@pytest.mark.parametrize("look", [0, 1])
@pytest.mark.parametrize("predict", [{}, {"window": 70, "overlap": 0, "scales": [1.0]}])
def test_what_the_student_reads_comes_back_in_its_place(tmp_path: Path, look: int, predict: dict[str, Any]) -> None:
    labels, truth = predicted(tmp_path, look, 0, True, **predict)
    assert np.array_equal(labels, truth)


@pytest.mark.parametrize(("look", "aligned", "moved"), [(0, True, 1), (1, True, -1), (1, False, 1)])
def test_the_student_is_shown_the_turned_scene(tmp_path: Path, look: int, aligned: bool, moved: int) -> None:
    labels, truth = predicted(tmp_path, look, 1, aligned, window=70, overlap=0, blend="uniform")
    inside = np.s_[10:-10, 10:-10]
    assert np.array_equal(labels[inside], np.roll(truth, moved, axis=1)[inside])
    assert ((labels == 255) == (truth == 255)).all()
