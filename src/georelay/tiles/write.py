"""From rasters to one tile store: survey, select, then cut and write block by block.

Both passes run as dask tasks on threads, a block of tiles each, so memory is bounded by the blocks in work and not
by the scenes. Pixels go straight to their final place in the archive; a compressed store takes the way over a
folder. What is written depends on the rasters and the task, never on the number of workers or the memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from dask.base import compute
from dask.callbacks import Callback
from dask.delayed import delayed
from dask.threaded import get as get_threaded

from georelay.domains import of_domain, require_each
from georelay.files import remove, replacing, require_space, sha256_file
from georelay.progress import Progress
from georelay.sources.receipt import Receipt
from georelay.tiles.dataset import define, write_metadata
from georelay.tiles.pack import AlignedZip, Run
from georelay.tiles.schema import SCHEMA
from georelay.tiles.selection import Selection, select_tiles
from georelay.tiles.split import TEST, ranked_lists, split_lists
from georelay.tiles.statistics import class_counts, with_statistics
from georelay.tiles.survey import Facts, Rasters, joined, open_rasters, read_block, survey_block
from georelay.tiles.windows import Block, Places, cut, tiles_per_block

OVERHEAD = 1.05  # headers and directory of the archive, above the pixels


def write_tiles(
    receipt: Receipt, folder: Path, task_name: str, task: Any, target: Path, *, memory_mb: int, workers: int
) -> dict[str, Any]:
    """Cut a task's scenes into tiles, write them to `target`, and return the store's card."""
    folder, target = Path(folder), Path(target)
    receipt.require(folder)
    require_each(task.stride, receipt.domains, f"params.yaml: tasks.{task_name}.stride")
    rasters = open_rasters(receipt, folder, task.modalities, task.tile, task.align_look)
    per_block = tiles_per_block(memory_mb, workers, rasters.tile_bytes)
    strides = [of_domain(task.stride, scene.domain) for scene in receipt.scenes]
    places, blocks = cut(rasters.grids, task.tile, strides, per_block, task.edges)
    copies = 1 if task.compression == "none" else 2
    require_space(target.parent, int(len(places) * rasters.tile_bytes * OVERHEAD * copies), f"tiling {task_name}")
    remove_leftovers(target)
    facts = _survey(rasters, places, blocks, task_name, workers)
    selection = select_tiles(rasters, task_name, task, places, facts)
    attrs = _attributes(rasters, selection, task_name, task)
    layers = _lazy_layers(rasters, places, blocks, selection.keep)
    dataset = define(rasters, selection, layers, attrs)
    with replacing(target) as temporary:
        _write(dataset, list(layers), temporary, task, len(blocks), task_name, workers)
    _say_dropped(task_name, selection)
    return _card(rasters, attrs, selection, target) | _drawn_lists(selection, attrs, task)


def remove_leftovers(target: Path) -> None:
    """Delete what a killed run left beside the target; another process that still lives keeps its own."""
    start = f".{target.name.split('.')[0]}-"
    for path in target.parent.glob(f"{start}*.partial*"):
        pid = path.name.removeprefix(start).split(".")[0]
        if pid.isdigit() and (int(pid) == os.getpid() or not _lives(int(pid))):
            remove(path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _survey(rasters: Rasters, places: Places, blocks: Sequence[Block], name: str, workers: int) -> Facts:
    tasks = [_task(survey_block, rasters, places, block) for block in blocks]
    return joined(_compute(tasks, f"survey {name}", len(blocks), workers))


def _task(function: Callable[..., Any], rasters: Rasters, places: Places, block: Block) -> Any:
    """A dask task for one block; its key is what progress counts."""
    # As a partial the arguments stay out of dask's sight, which would search them for more tasks.
    return delayed(partial(function, rasters, places, block), pure=False)(dask_key_name=f"block-{block.first}")


def _compute(tasks: Sequence[Any], label: str, blocks: int, workers: int) -> tuple[Any, ...]:
    with Progress(label, blocks, "blocks") as bar:

        def count(key: Any, *_: Any) -> None:
            if str(key).startswith("block-"):
                bar.advance()

        with Callback(posttask=count):
            done: tuple[Any, ...] = compute(*tasks, scheduler=get_threaded, num_workers=workers)
    return done


def _lazy_layers(rasters: Rasters, places: Places, blocks: Sequence[Block], keep: np.ndarray) -> dict[str, da.Array]:
    """The large arrays of the store over kept tiles; one read serves all arrays of a block."""
    parts: dict[str, list[da.Array]] = {name: [] for name in rasters.shapes}
    for block in blocks:
        kept = keep[block.first : block.last]
        if not kept.any():
            continue
        read = _task(partial(_read_kept, kept), rasters, places, block)
        for name, (shape, dtype) in rasters.shapes.items():
            parts[name].append(da.from_delayed(read[name], (int(kept.sum()), *shape), dtype))
    return {name: da.concatenate(arrays) for name, arrays in parts.items()}


def _read_kept(kept: np.ndarray, rasters: Rasters, places: Places, block: Block) -> dict[str, np.ndarray]:
    layers = read_block(rasters, places, block)
    return layers if kept.all() else {name: layer[kept] for name, layer in layers.items()}


def _write(dataset: xr.Dataset, large: list[str], path: Path, task: Any, blocks: int, name: str, workers: int) -> None:
    """Write the archive: metadata through xarray, then the large arrays, then the directory."""
    folder = path.with_name(path.name.split(".zarr")[0] + ".folder")
    try:
        write_metadata(dataset, folder, task.compression)
        archive = AlignedZip(path)
        sources = [dataset[variable].data for variable in large]
        if task.compression == "none":
            runs = _lay_out(folder, archive, dataset, large)
            targets: list[Any] = [_Chunks(runs[variable]) for variable in large]
        else:
            # A chunk is one tile and a block is whole tiles, so no two tasks ever write to the same chunk.
            with zarr.config.set({"array.write_empty_chunks": True}):
                targets = [zarr.open_array(folder / variable, mode="r+") for variable in large]
        with zarr.config.set({"async.concurrency": 2}):  # it multiplies with our threads
            stored = da.store(sources, targets, lock=False, compute=False)
            _compute([stored], f"tile {name}", blocks, workers)
        if task.compression != "none":
            _lay_out(folder, archive, dataset, [])
        archive.finish()
    finally:
        remove(folder)


class _Chunks:
    """Lets dask store an array's tiles as members of the archive: the bytes of Zarr's plain codec."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __setitem__(self, index: tuple[slice, ...], tiles: np.ndarray) -> None:
        little = np.ascontiguousarray(tiles, tiles.dtype.newbyteorder("<"))
        self.run.write(index[0].start or 0, little)


def _lay_out(folder: Path, archive: AlignedZip, dataset: xr.Dataset, reserved: Sequence[str]) -> dict[str, Run]:
    """Add the folder's files in one fixed order; chunks of reserved arrays get room in place of content."""
    archive.add("zarr.json", (folder / "zarr.json").read_bytes())
    runs = {}
    for name in sorted(map(str, dataset.variables)):
        archive.add(f"{name}/zarr.json", (folder / name / "zarr.json").read_bytes())
        if name in reserved:
            array = dataset[name]
            tail = "/0" * (array.ndim - 1)
            keys = [f"{name}/c/{tile}{tail}" for tile in range(len(array))]
            runs[name] = archive.reserve(keys, array[0].nbytes)
            continue
        for path in sorted(_chunk_files(folder / name), key=_chunk_index):
            archive.add(path.relative_to(folder).as_posix(), path.read_bytes())
    return runs


def _chunk_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json"]


def _chunk_index(path: Path) -> list[int]:
    return [int(part) for part in path.parts if part.isdigit()]


def _attributes(rasters: Rasters, selection: Selection, task_name: str, task: Any) -> dict[str, Any]:
    """What a reader must know of the store as a whole."""
    receipt, domains = rasters.receipt, rasters.receipt.domains
    modalities = with_statistics(rasters.modalities, selection.facts, selection.split, selection.domain, domains)
    names = [scene.name for scene in receipt.scenes]
    return {
        "Conventions": "CF-1.11",
        "georelay_schema": SCHEMA,
        "task": task_name,
        "source": receipt.source,
        "licence": receipt.licence,
        "classes": [{"name": entry["name"], "colour": list(entry["colour"])} for entry in receipt.classes],
        "ignore": receipt.ignore,
        "modalities": modalities,
        "class_counts": class_counts(selection.facts, selection.split),
        "splits": split_lists(selection.split, selection.places, names),
        "dropped": selection.dropped,
        "domains": domains,
        "scenes": names,
        "tile": task.tile,
        "stride": task.stride,
        "compression": task.compression,
        "buffer": task.split.buffer,
        "crs": rasters.grids[0].crs,
        **({"brought": dict(receipt.brought)} if receipt.brought else {}),
    } | ({"turned": [name for name, back in zip(names, rasters.turned, strict=True) if back]} if task.align_look else {})


def _card(rasters: Rasters, attrs: dict[str, Any], selection: Selection, target: Path) -> dict[str, Any]:
    """The store in one page: its attributes with lists of tiles left out, its size and its digest."""
    hidden = ("Conventions", "georelay_schema", "splits")
    splits = {name: {key: part[key] for key in ("count", "digest")} for name, part in attrs["splits"].items()}
    facts = {"sha256": sha256_file(target), "size": target.stat().st_size, "tiles": len(selection), "splits": splits}
    return {key: value for key, value in attrs.items() if key not in hidden} | facts


def _drawn_lists(selection: Selection, attrs: dict[str, Any], task: Any) -> dict[str, Any]:
    """What plans need beside: the labelled training tiles in their order, and what is tested if the source does not say."""
    places, names = selection.places, attrs["scenes"]
    ranked = ranked_lists(selection.rank, selection.domain, attrs["domains"], places, names)
    if task.split.rule == "scene":
        return {"labelled": ranked}
    tested: dict[str, list[list[int]]] = {}
    for scene, row, col in places.chosen(selection.split == TEST).triples:
        tested.setdefault(names[scene], []).append([row, col])
    return {"labelled": ranked, "tested": {"tile": task.tile, "scenes": tested}}


def _say_dropped(task_name: str, selection: Selection) -> None:
    near = {name: count for name, count in selection.dropped["buffer"].items() if count}
    for name, count in near.items():
        print(f"{task_name}: {count} {name} tiles dropped, too close to another split", file=sys.stderr)
    if selection.dropped["nodata"]:
        print(f"{task_name}: {selection.dropped['nodata']} tiles dropped, no valid pixel", file=sys.stderr)
