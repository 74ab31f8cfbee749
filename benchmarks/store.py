"""Random batches of image, label and two taps of features: our stores against numpy.memmap of the same bytes.

Prints ratios, not seconds: they take turns in every round of one run, so a busy machine slows all of them. The
baseline holds each array's tiles one behind the other in a file of its own, which is the fastest thing that a
memory map can be. zarr-python and, where it is installed, tensorstore read our files too. All files are read
anew from the disk first: what was just written lies in the page cache in pieces that depend on how it was written,
and that alone is worth a tenth. The last line is one JSON object.

    python benchmarks/store.py [--tiles 2048] [--batch 32] [--batches 100] [--rounds 15] [--dtype fp16]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import zarr
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tiles"))

from tile_sources import Source, make_task, run_tiling

from georelay.teachers.store import FeatureStore, write_features
from georelay.tiles.mapped import MappedStore
from georelay.tiles.read import TileStore

LAYERS = ("optical", "label")
TAPS = {1: (192, 16, 64), "decoder": (128, 16, 64)}  # channels, cells, span: a CNN stage and a decoder at a quarter
SIDE, SCENE = 64, 1024  # pixels
SLOW = {"zarr": 4, "tensorstore": 20}  # batches; slow enough that a few are plenty

Reader = Callable[[np.ndarray], list[np.ndarray]]


def make_tiles(folder: Path, tiles: int) -> Path:
    """A store of noise, written by the tile stage."""
    source = Source(folder / "raw")
    rng = np.random.default_rng(0)
    per_scene = (SCENE // SIDE) ** 2
    for index in range(-(-tiles // per_scene)):
        optical = rng.integers(1, 9000, (2, SCENE, SCENE)).astype(np.uint16)
        sar = np.zeros((1, SCENE, SCENE), np.float32)
        split, at = ("test" if index == 0 else "train"), (500000.0 + 20000 * index, 4e6)
        source.add(f"scene-{index}", split, (SCENE, SCENE), at=at, optical=optical, sar=sar)
    target = folder / "bench.zarr.zip"
    run_tiling(source, make_task(tile=SIDE, stride=SIDE), target, memory_mb=256)
    return target


def make_features(folder: Path, tiles: int, dtype: str) -> Path:
    """Maps of noise for as many tiles, written as a teacher's are."""
    target, generator = folder / "features.zarr.zip", torch.Generator().manual_seed(0)

    def compute(ids: np.ndarray) -> list[Tensor]:
        return [torch.randn(len(ids), channels, cells, cells, generator=generator) for channels, cells, _ in TAPS.values()]

    write_features(target, folder / "resume", {}, list(TAPS), list(TAPS.values()), tiles, dtype, 64, compute)
    return target


def parts_of(tiles: MappedStore, features: MappedStore) -> list[tuple[MappedStore, str]]:
    """What a batch consists of: stores and names of their arrays."""
    return [(tiles, name) for name in LAYERS] + [(features, f"tap-{tap}") for tap in TAPS]


def write_copies(folder: Path, tiles: Path, features: Path) -> None:
    """Every array twice, its tiles one behind the other."""
    for store, name in parts_of(TileStore(tiles), FeatureStore(features)):
        for copy in "ab":
            np.ascontiguousarray(store.array(name)).tofile(folder / f"{name}-{copy}.bin")


def readers(tiles: TileStore, features: FeatureStore, folder: Path) -> dict[str, Reader]:
    """The ways to the same tiles; `again` is a second memmap and shows how far apart equal things come out."""
    parts = parts_of(tiles, features)
    plain, again = ([_mapped(store.array(name), folder / f"{name}-{copy}.bin") for store, name in parts] for copy in "ab")
    lazy = [zarr.open_group(zarr.storage.ZipStore(store.path, mode="r"), mode="r")[name] for store, name in parts]
    ways: dict[str, Reader] = {
        "memmap": lambda ids: [array[ids] for array in plain],
        "again": lambda ids: [array[ids] for array in again],
        "store": lambda ids: [*(tiles.array(name)[ids] for name in LAYERS), *map(_bits, features.read(ids))],
        "zarr": lambda ids: [array.oindex[ids] for array in lazy],
    }
    return ways | _tensorstore(parts)


def forget(folder: Path) -> None:
    """Drop what the page cache holds of a folder's files, and read them anew."""
    for path in folder.iterdir():
        if path.is_file():
            with open(path, "r+b") as stream:
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while stream.read(1 << 24):
                    pass


def _bits(maps: Tensor) -> np.ndarray:
    return maps.view(torch.int16).numpy()


def _mapped(array: np.ndarray, path: Path) -> np.ndarray:
    return np.memmap(path, array.dtype, "r", shape=array.shape)


def _tensorstore(parts: list[tuple[MappedStore, str]]) -> dict[str, Reader]:
    try:
        import tensorstore
    except ImportError:
        print("tensorstore: not installed")
        return {}

    def lazy(store: MappedStore, name: str) -> tensorstore.TensorStore:
        archive = {"driver": "zip", "base": {"driver": "file", "path": str(store.path)}, "path": f"{name}/"}
        return tensorstore.open({"driver": "zarr3", "kvstore": archive}, read=True, open=True).result()

    arrays = [lazy(store, name) for store, name in parts]
    return {"tensorstore": lambda ids: [found.result() for found in [array[ids].read() for array in arrays]]}


def speed(read: Reader, batches: list[np.ndarray]) -> float:
    """Tiles per second."""
    start = time.perf_counter()
    for ids in batches:
        read(ids)
    return sum(map(len, batches)) / (time.perf_counter() - start)


def measure(ways: dict[str, Reader], options: argparse.Namespace) -> dict[str, list[float]]:
    """Speeds round by round; every way starts a round once, so none always comes first."""
    rng = np.random.default_rng(1)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.rounds + 1):
        batches = [rng.choice(options.tiles, options.batch, replace=False) for _ in range(options.batches)]
        names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for name in names:
            found = speed(ways[name], batches[: SLOW.get(name)])
            if turn:  # the first round warms the page cache
                speeds[name].append(found)
    return speeds


def check(ways: dict[str, Reader]) -> None:
    """All ways must give the same bytes before any of them is timed."""
    ids = np.array([7, 3, 11])
    expected = [part.tobytes() for part in ways["memmap"](ids)]
    assert all([part.tobytes() for part in read(ids)] == expected for read in ways.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("tiles", 2048), ("batch", 32), ("batches", 100), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dtype", choices=("fp16", "bf16"), default="fp16")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiles = TileStore(make_tiles(folder, options.tiles))
        features = FeatureStore(make_features(folder, options.tiles, options.dtype))
        write_copies(folder, tiles.path, features.path)
        forget(folder)
        ways = readers(tiles, features, folder)
        check(ways)
        speeds = measure(ways, options)
    ratios = {way: [a / b for a, b in zip(speeds[way], speeds["memmap"], strict=True)] for way in ways if way != "memmap"}
    for way, values in ratios.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{way:11s} {middle:.3f} of numpy.memmap (rounds: {low:.3f} to {high:.3f})")
    medians = {f"{way}_to_memmap": round(statistics.median(values), 4) for way, values in ratios.items()}
    facts = {"benchmark": "store", "n": options.rounds, "goal": {"store_to_memmap": 0.8}, "batch": options.batch}
    print(json.dumps(facts | medians | {"memmap_tiles_per_second": round(statistics.median(speeds["memmap"]))}))


if __name__ == "__main__":
    main()
