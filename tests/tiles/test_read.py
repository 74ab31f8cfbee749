"""What TileStore serves is what the rasters hold; a damaged store says so and says what to do."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tile_sources import Made, Source

from georelay.errors import UserError
from georelay.tiles.pack import AlignedZip
from georelay.tiles.read import TileStore


@pytest.fixture
def store(made: Made) -> TileStore:
    return TileStore(made.path)


@pytest.fixture
def damaged(made: Made, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copy(made.path, tmp_path))


def test_tiles_equal_the_rasters(store: TileStore, made: Made) -> None:
    assert len(store) == 18 and store.modalities == ["optical", "sar"]
    scenes, rows, cols = (store.coordinate(name) for name in ("scene", "row", "col"))
    for index in range(18):
        pixels = made.source.pixels[store.attrs["scenes"][scenes[index]]]
        window = (slice(rows[index], rows[index] + 16), slice(cols[index], cols[index] + 16))
        for name in ("optical", "sar"):
            assert np.array_equal(store.array(name)[index], pixels[name][:, *window])
        assert np.array_equal(store.array("label")[index], pixels["label"][0][window])
    assert store.array("valid").all() and store.array("sar").dtype == np.float32


def test_a_batch_is_a_copy_of_a_read_only_array(store: TileStore) -> None:
    batch = store.array("optical")[np.array([3, 1])]
    batch[:] = 0
    assert store.array("optical")[3].any()
    with pytest.raises(ValueError, match="read-only"):
        store.array("optical")[0] = 0


def test_verify_accepts_a_sound_store(store: TileStore) -> None:
    store.verify()
    assert len(store) == len(store.array("optical"))


def test_it_travels_to_other_processes(store: TileStore) -> None:
    expected = int(store.array("optical").sum())
    pickled = pickle.dumps(store)
    assert len(pickled) < 500
    assert int(pickle.loads(pickled).array("optical").sum()) == expected
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(int(store.array("optical").sum())))
    child.start()
    assert queue.get(timeout=30) == expected
    child.join()


def test_the_plain_store_is_a_view_of_the_file(store: TileStore, made: Made) -> None:
    array = store.array("optical")
    if store.attrs["compression"] == "zstd":
        pytest.skip("a compressed store has to be unpacked")
    assert not array.flags.owndata and array.strides[0] % 64 == 0 and array.ctypes.data % 64 == 0


def test_select(store: TileStore) -> None:
    train, test = store.select("train"), store.select("test")
    assert train.tolist() == list(range(6)) and test.tolist() == list(range(12, 18))
    budgets = [store.select("train", "main", n).tolist() for n in range(7)]
    assert all(larger[: len(smaller)] == smaller for smaller, larger in pairwise(budgets))
    assert sorted(budgets[6]) == train.tolist()
    with pytest.raises(UserError, match="7 labelled tiles are wanted, split train has 6"):
        store.select("train", budget=7)
    with pytest.raises(UserError, match='no domain "moon"'):
        store.select("train", "moon")


def test_select_by_domain(source: Source, tile: Any) -> None:
    for index, (split, domain) in enumerate([("train", "source"), ("train", "target"), ("test", "source"), ("test", "target")]):
        source.add(f"s{index}", split, at=(500000.0 + 10000 * index, 4e6), domain=domain)
    store = TileStore(tile(source)[0])
    assert store.select("train", "target").tolist() == list(range(6, 12))
    assert set(store.select("train", "target", 4)) <= set(range(6, 12))
    each = store.select("train", budget={"target": 2, "source": 3}).tolist()
    assert each == [*store.select("train", "target", 2), *store.select("train", "source", 3)]
    with pytest.raises(UserError, match="needs a domain"):
        store.select("train", budget=4)


def test_a_missing_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\n  run `georelay tile clouds`"):
        len(TileStore(tmp_path / "clouds.zarr.zip"))


def test_a_truncated_store(damaged: Path) -> None:
    content = damaged.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        damaged.write_bytes(content[:length])
        with pytest.raises(UserError, match="georelay tile made` again"):
            len(TileStore(damaged))


def test_flipped_bytes_in_the_directory(damaged: Path) -> None:
    content = damaged.read_bytes()
    with zipfile.ZipFile(damaged) as archive:
        start = archive.start_dir
    for place in range(start, len(content), max(1, (len(content) - start) // 60)):
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with pytest.raises(UserError, match="delete it"):
            len(TileStore(damaged))


def test_flipped_pixels_are_found_by_verify(damaged: Path) -> None:
    with zipfile.ZipFile(damaged) as archive:
        chunk = archive.getinfo("optical/c/4/0/0/0")
        place = damaged.read_bytes().index(archive.read(chunk), chunk.header_offset)
    content = bytearray(damaged.read_bytes())
    content[place + 5] ^= 1
    damaged.write_bytes(bytes(content))
    len(TileStore(damaged))  # opening reads no pixels
    with pytest.raises(UserError, match='checksum of "optical/c/4/0/0/0"'):
        TileStore(damaged).verify()


def test_an_unknown_array_and_a_foreign_zip(store: TileStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='has no array "thermal"'):
        store.array("thermal")
    with zipfile.ZipFile(tmp_path / "made.zarr.zip", "w") as archive:
        archive.writestr("hello.txt", "not tiles")
    with pytest.raises(UserError, match="not a whole tile store"):
        len(TileStore(tmp_path / "made.zarr.zip"))


def test_a_store_of_another_layout(tmp_path: Path) -> None:
    archive = AlignedZip(tmp_path / "made.zarr.zip")
    archive.add("zarr.json", b'{"attributes": {"georelay_schema": 99}}')
    archive.finish()
    with pytest.raises(UserError, match=r"has layout 99, this version reads 1\n  delete it and run `georelay tile made` again"):
        len(TileStore(archive.path))


def test_reading_imports_nothing_heavy() -> None:
    heavy = ("zarr", "xarray", "dask", "rasterio", "torch", "pandas", "scipy")
    code = f"import sys, georelay.tiles.read; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
