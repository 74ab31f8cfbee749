"""Random batches of tiles: TileStore and zarr-python against numpy.memmap of the same bytes.

Prints ratios, not seconds: they take turns in every round of one run, so a busy machine slows all of them. The
baseline holds each array's tiles one behind the other in a file of its own, which is the fastest thing that a
memory map can be. The last line is one JSON object.

    python benchmarks/store.py [--tiles 2048] [--batch 32] [--batches 400] [--rounds 15]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tiles"))

from tile_sources import Source, make_task, run_tiling

from georelay.tiles.read import TileStore

ARRAYS = ("optical", "label")
SIDE, SCENE = 64, 1024  # pixels
ZARR_BATCHES = 4  # zarr-python is slow enough that a few are plenty

Reader = Callable[[str, np.ndarray], np.ndarray]


def make_store(folder: Path, tiles: int) -> Path:
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


def readers(path: Path, folder: Path) -> dict[str, Reader]:
    """The ways to the same tiles; `again` is a second memmap and shows how far apart equal things come out."""
    store = TileStore(path)
    plain, again = ({name: _contiguous(store.array(name), folder / f"{name}-{copy}.bin") for name in ARRAYS} for copy in "ab")
    group = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
    lazy = {name: group[name] for name in ARRAYS}
    return {
        "memmap": lambda name, tiles: plain[name][tiles],
        "again": lambda name, tiles: again[name][tiles],
        "store": lambda name, tiles: store.array(name)[tiles],
        "zarr": lambda name, tiles: lazy[name].oindex[tiles],
    }


def _contiguous(array: np.ndarray, path: Path) -> np.ndarray:
    np.ascontiguousarray(array).tofile(path)
    return np.memmap(path, array.dtype, "r", shape=array.shape)


def speed(read: Reader, batches: list[np.ndarray]) -> float:
    """Tiles per second over batches of image and label."""
    start = time.perf_counter()
    for tiles in batches:
        for name in ARRAYS:
            read(name, tiles)
    return sum(map(len, batches)) / (time.perf_counter() - start)


def measure(ways: dict[str, Reader], count: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Speeds round by round; every way starts a round once, so none always comes first."""
    rng = np.random.default_rng(1)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.rounds + 1):
        batches = [rng.choice(count, options.batch, replace=False) for _ in range(options.batches)]
        names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for name in names:
            found = speed(ways[name], batches[:ZARR_BATCHES] if name == "zarr" else batches)
            if turn:  # the first round warms the page cache
                speeds[name].append(found)
    return speeds


def check(ways: dict[str, Reader]) -> None:
    """All ways must give the same tiles before any of them is timed."""
    tiles = np.array([7, 3, 11])
    for name in ARRAYS:
        assert all(np.array_equal(ways["memmap"](name, tiles), read(name, tiles)) for read in ways.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("tiles", 2048), ("batch", 32), ("batches", 400), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = make_store(Path(folder), options.tiles)
        ways = readers(path, Path(folder))
        check(ways)
        speeds = measure(ways, len(TileStore(path)), options)
    ratios = {name: [a / b for a, b in zip(speeds[name], speeds["memmap"], strict=True)] for name in ("store", "again", "zarr")}
    for name, values in ratios.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:6s} {middle:.3f} of numpy.memmap (rounds: {low:.3f} to {high:.3f})")
    medians = {f"{name}_to_memmap": round(statistics.median(values), 4) for name, values in ratios.items()}
    facts = {"benchmark": "store", "n": options.rounds, "goal": {"store_to_memmap": 0.8}, "batch": options.batch}
    print(json.dumps(facts | medians | {"memmap_tiles_per_second": round(statistics.median(speeds["memmap"]))}))


if __name__ == "__main__":
    main()
