"""Splits that keep apart, bad input, killed runs and bounded memory, through the whole tile stage."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tile_sources import Source, make_task

from georelay.errors import UserError
from georelay.tiles.read import TileStore

HERE = Path(__file__).parent


def buffered(buffer: float, **changes: Any) -> SimpleNamespace:
    return make_task(split=SimpleNamespace(**vars(make_task().split) | {"buffer": buffer} | changes))


def gaps(store: TileStore, one: str, other: str) -> np.ndarray:
    """Ground distance between every tile of one split and every tile of another, from transforms alone."""
    side = store.attrs["tile"]
    a, _, left, _, e, top = (store.coordinate("transform")[:, k] for k in range(6))
    boxes = np.stack([left, top + e * side, left + a * side, top], axis=1)
    first, second = boxes[store.select(one)][:, None], boxes[store.select(other)][None]
    apart = np.maximum(first[..., :2] - second[..., 2:], second[..., :2] - first[..., 2:]).clip(0)
    distance: np.ndarray = np.hypot(apart[..., 0], apart[..., 1])
    return distance


@pytest.mark.parametrize("buffer", [100.0, 160.0, 170.0])
def test_adjoining_scenes_do_not_meet(source: Source, tile: Any, buffer: float, capsys: pytest.CaptureFixture[str]) -> None:
    for index, split in enumerate(("train", "test", "val")):  # side by side: 4 columns of 160 m each
        source.add(split, split, (64, 64), at=(500000.0 + 640 * index, 4000000.0))
    path, card = tile(source, buffered(buffer))
    store = TileStore(path)
    assert min(gaps(store, s, "test").min() for s in ("train", "val")) >= buffer
    assert gaps(store, "train", "val").min() >= buffer
    columns = 1 if buffer <= 160 else 2  # a column is as wide as 160 m
    assert card["dropped"]["buffer"] == {"train": 4 * columns, "val": 4 * columns, "test": 0}
    assert f"{4 * columns} train tiles dropped" in capsys.readouterr().err


def test_blocks_of_one_scene_do_not_meet(source: Source, tile: Any) -> None:
    source.add("only", "train", (256, 256))
    fractions = SimpleNamespace(train=0.5, val=0.25, test=0.25)
    path, card = tile(source, buffered(50.0, rule="blocks", block=640.0, fractions=fractions, seed=1))
    store = TileStore(path)
    assert all(card["splits"][split]["count"] for split in ("train", "val", "test"))
    assert min(gaps(store, *pair).min() for pair in (("train", "test"), ("val", "test"), ("train", "val"))) >= 50
    assert card["tiles"] + sum(card["dropped"]["buffer"].values()) == 256


@pytest.mark.parametrize("edges", ["shift", "pad", "drop"])
@pytest.mark.parametrize("rule", ["scene", "blocks", "scenes", "tiles"])
def test_no_pixel_is_in_two_splits(source: Source, tile: Any, rule: str, edges: str) -> None:
    """Whatever the rule: tiles painted into their scenes never paint over those of another split."""
    for index, split in enumerate(("train", "val", "test", "train", "train")):
        source.add(f"s{index}", split, (72, 40), at=(500000.0 + 400 * index, 4e6))  # side by side, no multiples of 16
    task = buffered(0.0, rule=rule, block=160.0, fractions=SimpleNamespace(train=0.6, val=0.2, test=0.2), seed=1)
    task.edges = edges
    path, card = tile(source, task)
    store, ground = TileStore(path), np.full((80, 216), 255)
    left = (store.coordinate("transform")[:, 2] - 500000).astype(int) // 10
    where = zip(store.coordinate("row").tolist(), left.tolist(), store.coordinate("scene").tolist(), strict=True)
    for (row, column, scene), code in zip(where, store.coordinate("split").tolist(), strict=True):
        piece = ground[row : min(row + 16, 72), column : min(column + 16, 40 * (scene + 1))]
        assert set(np.unique(piece)) <= {255, code}
        piece[:] = code
    assert all(card["splits"][split]["count"] for split in ("train", "val", "test"))
    if edges != "shift":
        count = {"pad": 5 * 3, "drop": 4 * 2}[edges]
        assert sum(card["dropped"]["buffer"].values()) == 0 and card["tiles"] == 5 * count, "nothing overlaps"


def refused(source: Source, tile: Any, task: SimpleNamespace | None = None) -> str:
    """The message of the UserError that tiling ends in; nothing may be left behind."""
    with pytest.raises(UserError) as caught:
        tile(source, task)
    left = list((source.folder.parent / "tiles").glob("*")) if (source.folder.parent / "tiles").exists() else []
    assert not left
    return str(caught.value)


def test_label_outside_the_class_list(three_scenes: Source, tile: Any) -> None:
    label = np.zeros((1, 48, 32), np.uint8)
    label[0, 20, 20] = 7
    three_scenes.add("bad", "train", at=(800000.0, 4e6), label=label)
    message = refused(three_scenes, tile)
    assert "bad/label.tif: label value 7 is not in the class list: 3 classes" in message


def test_labels_of_floats(three_scenes: Source, tile: Any) -> None:
    three_scenes.add("bad", "train", label=np.zeros((1, 48, 32), np.float32))
    assert "bad/label.tif: labels must be one band of integers" in refused(three_scenes, tile)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sar": np.zeros((1, 48, 31), np.float32)}, "size 31 x 48 against 32 x 48"),
        ({"sar_transform": (10.0, 0.0, 500010.0, 0.0, -10.0, 4e6)}, "transform"),
        ({"sar": np.zeros((2, 48, 32), np.float32)}, "has 2 bands of float32, the receipt says 1 bands of float32"),
        ({"sar": np.zeros((1, 48, 32), np.int16)}, "has 1 bands of int16"),
    ],
)
def test_rasters_that_do_not_fit_their_labels(
    three_scenes: Source, tile: Any, changes: dict[str, Any], what: str, monkeypatch: Any
) -> None:
    three_scenes.add("bad", "train", **changes)
    monkeypatch.setattr("georelay.tiles.survey.read_window", None)  # headers are enough to know
    message = refused(three_scenes, tile)
    assert "bad/sar.tif" in message and what in message
    assert "has" in what or "bad/label.tif" in message


def test_rasters_of_another_crs(three_scenes: Source, tile: Any) -> None:
    three_scenes.crs = "EPSG:32632"
    three_scenes.add("bad", "train")
    message = refused(three_scenes, tile)
    assert "bad/label.tif" in message and "EPSG:32632 against EPSG:32631" in message and "train-000/label.tif" in message


def test_a_modality_that_the_source_does_not_have(three_scenes: Source, tile: Any) -> None:
    message = refused(three_scenes, tile, make_task(modalities=["optica"]))
    assert 'receipt.json: has no modality "optica"' in message and 'did you mean "optical"?' in message


def test_a_truncated_raster(three_scenes: Source, tile: Any) -> None:
    path = three_scenes.folder / "val-000/optical.tif"
    path.write_bytes(path.read_bytes()[:700])
    assert "val-000/optical.tif" in refused(three_scenes, tile)


def test_a_missing_raster(three_scenes: Source, tile: Any) -> None:
    receipt = three_scenes.receipt
    (three_scenes.folder / "val-000/optical.tif").unlink()
    from georelay.tiles.write import write_tiles

    with pytest.raises(UserError, match="georelay fetch made"):
        write_tiles(receipt, three_scenes.folder, "made", make_task(), three_scenes.folder / "x.zarr.zip", memory_mb=8, workers=1)


def test_empty_splits(source: Source, tile: Any) -> None:
    source.add("a", "train")
    assert "tasks.made: split test is empty" in refused(source, tile)
    source.scenes.clear()
    source.add("a", "test")
    assert "tasks.made: split train is empty" in refused(source, tile)


def test_a_buffer_that_leaves_no_training_tile(source: Source, tile: Any) -> None:
    source.add("a", "train")
    source.add("b", "test", at=(500320.0, 4e6))
    assert "split train is empty" in refused(source, tile, buffered(5000.0))


def test_nothing_but_nodata(source: Source, tile: Any) -> None:
    for split in ("train", "test"):
        source.add(split, split, optical=np.zeros((2, 48, 32), np.uint16))
    assert "tasks.made: every tile holds nothing but nodata" in refused(source, tile)


def test_a_scene_smaller_than_a_tile(three_scenes: Source, tile: Any) -> None:
    three_scenes.add("small", "train", (10, 40))
    assert "small/label.tif: has 40 x 10 pixels, less than one tile of 16" in refused(three_scenes, tile)


def test_no_disk_space(three_scenes: Source, tile: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    monkeypatch.setattr("georelay.tiles.survey.read_window", None)
    assert "tiling made needs about" in refused(three_scenes, tile)


def test_a_disk_that_fills_up_leaves_nothing(three_scenes: Source, tile: Any, monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("georelay.tiles.pack.Run.write", full)
    with pytest.raises(OSError, match="No space"):
        tile(three_scenes)
    assert not list((three_scenes.folder.parent / "tiles").iterdir())


KILLED = """
import os, signal, sys
sys.path[:0] = [{here!r}]
from pathlib import Path
from tile_sources import make_task
from georelay.sources.receipt import Receipt
from georelay.tiles import pack, write
calls, real = [], pack.Run.write
def dying(run, first, chunks):
    if len(run.names) > 1:  # among the tiles
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
    return real(run, first, chunks)
pack.Run.write = dying
folder = Path({folder!r})
write.write_tiles(Receipt.read(folder), folder, "made", make_task(), Path({target!r}), memory_mb=64, workers=1)
"""


def test_a_killed_run_leaves_no_store_and_the_next_cleans_up(three_scenes: Source, tile: Any, tmp_path: Path) -> None:
    undisturbed = tile(three_scenes)[0].read_bytes()
    folder = tmp_path / "tiles"
    (folder / "made.zarr.zip").unlink()
    three_scenes.receipt.write(three_scenes.folder)
    code = KILLED.format(here=str(HERE), folder=str(three_scenes.folder), target=str(folder / "made.zarr.zip"))
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(list(folder.iterdir())) == 2 and not (folder / "made.zarr.zip").exists()
    (folder / f".made-{os.getppid()}.partial.zarr.zip").write_bytes(b"another process at work")
    (folder / ".made-two-99999999.partial.zarr.zip").write_bytes(b"another task's leftover")
    assert tile(three_scenes)[0].read_bytes() == undisturbed
    names = {f".made-{os.getppid()}.partial.zarr.zip", ".made-two-99999999.partial.zarr.zip", "made.zarr.zip"}
    assert {path.name for path in folder.iterdir()} == names


MEASURED = """
import resource, sys
sys.path[:0] = [{here!r}]
from pathlib import Path
from tile_sources import make_task
from georelay.sources.receipt import Receipt
from georelay.tiles.write import write_tiles
folder = Path({folder!r})
def tile(name):
    receipt, task = Receipt.read(folder / name), make_task(tile=256, stride=256, modalities=["optical"])
    write_tiles(receipt, folder / name, name, task, folder / (name + ".zarr.zip"), memory_mb=24, workers=2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
before = tile("small")  # brings in every import
print(before, tile("large"))
"""


def test_memory_is_bounded_by_blocks_not_by_the_scene(tmp_path: Path) -> None:
    import rasterio
    from rasterio.transform import Affine

    for name, side in (("small", 256), ("large", 5632)):
        source = Source(tmp_path / name)
        source.add("test", "test", (256, 256), at=(900000.0, 4e6))
        source.add("scene", "train", (256, 256))
        profile = {"driver": "GTiff", "width": side, "height": side, "crs": "EPSG:32631", "sparse_ok": True, "tiled": True}
        profile |= {"transform": Affine(10, 0, 500000, 0, -10, 4e6), "blockxsize": 256, "blockysize": 256}
        for key, bands, dtype in (("optical", 2, "uint16"), ("label", 1, "uint8")):
            with rasterio.open(source.folder / f"scene/{key}.tif", "w", **profile, count=bands, dtype=dtype) as raster:
                raster.write(np.ones((bands, 256, 256), dtype), window=rasterio.windows.Window(0, 0, 256, 256))
        receipt = source.receipt
        receipt.modalities["optical"]["nodata"] = None  # the holes of the file count as pixels
        receipt.write(source.folder)
    code = MEASURED.format(here=str(HERE), folder=str(tmp_path))
    before, after = map(
        float, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    raster_mb = 5632 * 5632 * 5 / 1e6
    assert (tmp_path / "large.zarr.zip").stat().st_size > raster_mb * 1e6
    assert after - before < 40 < raster_mb / 3, (before, after)
