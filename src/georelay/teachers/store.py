"""A teacher's maps of all tiles in one Zarr store that is a memory map; writing it may be cut short and picked up again.

One array per tap, one tile a chunk, plain half-precision numbers. Zarr 3 has no core type for bfloat16: such numbers
are stored as the uint16 of the same bits, and the attribute `georelay_dtype` says so.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from georelay.errors import UserError
from georelay.files import canonical_json, digest, remove, replacing, require_space
from georelay.progress import Progress
from georelay.tiles.mapped import MappedStore
from georelay.tiles.pack import AlignedZip, Run

FEATURE_SCHEMA = 1  # raise when a reader of older stores would misunderstand newer ones
SCHEMA_KEY = "georelay_features"  # not that of tiles: neither reader opens the other's files
SAVE_SECONDS = 5.0  # the most work that a kill may cost
ITEM_BYTES = 2
MEMBER_BYTES = 256  # at most: a member's two headers, its name twice, and the gap that alignment needs

_TORCH = {"fp16": torch.float16, "bf16": torch.bfloat16}
_ZARR = {"fp16": {"data_type": "float16", "fill_value": 0.0}, "bf16": {"data_type": "uint16", "fill_value": 0}}
_ATTRIBUTES = {"fp16": {}, "bf16": {"georelay_dtype": "bfloat16"}}


class FeatureStore(MappedStore):
    """A teacher's maps of a task's tiles, as a `TileStore` serves the tiles."""

    kind: ClassVar[str] = "feature store"
    schema: ClassVar[tuple[str, int]] = (SCHEMA_KEY, FEATURE_SCHEMA)

    def __len__(self) -> int:
        return int(self.array(array_name(self.taps[0]["tap"])).shape[0])

    @property
    def taps(self) -> list[dict[str, Any]]:
        """Of each tap its name, channels, cells (side of the map) and span (pixels that the side covers)."""
        return list(self.attrs["taps"])

    @property
    def dtype(self) -> str:
        """What the maps are stored as: fp16 or bf16."""
        return str(self.attrs["dtype"])

    def read(self, ids: np.ndarray) -> list[Tensor]:
        """The maps of some tiles, one tensor a tap; a copy of just these."""
        arrays = (self.array(array_name(tap["tap"])) for tap in self.taps)
        # By way of int16: torch takes the bits as they are, numpy has no bfloat16.
        kind = _TORCH[self.dtype]
        return [torch.from_numpy(array[ids].view(np.int16)).view(kind) for array in arrays]


def array_name(tap: int | str) -> str:
    """The name of a tap's array."""
    return f"tap-{tap}"


def estimate_bytes(tiles: int, layout: Sequence[tuple[int, int, int]]) -> int:
    """Bytes of a store of so many tiles, a little above the truth."""
    return tiles * sum(channels * cells * cells * ITEM_BYTES + MEMBER_BYTES for channels, cells, _ in layout)


def write_features(
    target: Path,
    resume: Path,
    attrs: Mapping[str, Any],
    taps: Sequence[int | str],
    layout: Sequence[tuple[int, int, int]],
    tiles: int,
    dtype: str,
    batch: int,
    compute: Callable[[np.ndarray], list[Tensor]],
) -> None:
    """Write the maps that `compute` answers for all tiles to `target`; unfinished work is kept in the folder `resume`."""
    label = f"features {target.name.split('.')[0]}"
    described = [_described(tap, *facts) for tap, facts in zip(taps, layout, strict=True)]
    work = _Unfinished(resume, label, _metadata(attrs, described, tiles, dtype), tiles, batch)
    require_space(resume, estimate_bytes(tiles, layout) - work.used(), label)
    work.begin([array_name(tap) for tap in taps], [channels * cells * cells * ITEM_BYTES for channels, cells, _ in layout])
    with Progress(label, tiles - work.done, "tiles") as bar, work.kept():
        for first in range(work.done, tiles, batch):
            ids = np.arange(first, min(first + batch, tiles))
            maps = zip(compute(ids), described, strict=True)
            work.write([_encoded(values, facts, ids, dtype, target) for values, facts in maps])
            bar.advance(len(ids))
    work.move(target)


class _Unfinished:
    """The archive under work, whose layout is known beforehand, and a note of how many tiles it has.

    Batches always begin at the same tiles: a network's last bits may depend on what else is in the batch.
    """

    def __init__(self, folder: Path, label: str, metadata: Mapping[str, Any], tiles: int, batch: int) -> None:
        self.folder, self.label, self.metadata, self.tiles, self.batch = folder, label, metadata, tiles, batch
        self.path, self.note = folder / "features.zarr.zip", folder / "done.json"
        self.identity = digest({"metadata": metadata, "tiles": tiles, "batch": batch})
        self.done, self.saved = self._noted(), time.monotonic()
        self.runs: list[Run] = []

    def used(self) -> int:
        """Bytes that the archive already takes from the disk; what is not written yet is a hole."""
        return self.path.stat().st_blocks * 512 if self.done else 0

    def begin(self, names: Sequence[str], sizes: Sequence[int]) -> None:
        """Lay the archive out, and take over what is whole of an earlier one."""
        if not self.done:
            self._clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        archive = self.archive = AlignedZip(self.path, fresh=not self.done)
        archive.add("zarr.json", canonical_json(self.metadata[""]).encode())
        for name, size in zip(names, sizes, strict=True):
            archive.add(f"{name}/zarr.json", canonical_json(self.metadata[name]).encode())
            self.runs.append(archive.reserve([f"{name}/c/{tile}/0/0/0" for tile in range(self.tiles)], size))
        if self.done:
            self._recover()

    def write(self, maps: Sequence[np.ndarray]) -> None:
        """Put the next batch in its place, and note it now and then."""
        for run, chunks in zip(self.runs, maps, strict=True):
            run.write(self.done, chunks)
        self.done += len(maps[0])
        if time.monotonic() - self.saved >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Make sure of the tiles on the disk, then of the note that counts them."""
        _sync(self.path)
        with replacing(self.note) as temporary:
            temporary.write_text(canonical_json({"identity": self.identity, "done": self.done}))
            _sync(temporary)
        self.saved = time.monotonic()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """However the block ends, what is done is noted; maps that were refused would be so again, and nothing stays."""
        try:
            yield
        except UserError:
            remove(self.folder)
            raise
        except BaseException:
            self.save()
            raise
        self.save()

    def move(self, target: Path) -> None:
        """Finish the archive and put it in its place."""
        self.archive.finish()
        _sync(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.path, target)
        remove(self.folder)

    def _noted(self) -> int:
        try:
            note = json.loads(self.note.read_text())
            done = note["done"] if note["identity"] == self.identity and self.path.is_file() else 0
            return done if isinstance(done, int) and 0 < done <= self.tiles else 0
        except (OSError, ValueError, LookupError, TypeError):
            return 0

    def _clear(self) -> None:
        if self.note.exists():
            self._say(f"{self.folder} is damaged or belongs to other settings, starting afresh")
        remove(self.folder)

    def _recover(self) -> None:
        self._say(f"checking {self.done} tiles of {self.tiles} that are there already")
        whole = min(run.recover(self.done) for run in self.runs)
        self.done = whole if whole == self.tiles else whole // self.batch * self.batch

    def _say(self, text: str) -> None:
        print(f"{self.label}: {text}", file=sys.stderr, flush=True)


def _sync(path: Path) -> None:
    with open(path, "r+b") as stream:
        os.fsync(stream.fileno())


def _metadata(attrs: Mapping[str, Any], taps: Sequence[Mapping[str, Any]], tiles: int, dtype: str) -> dict[str, Any]:
    """The zarr.json of the group, under "", and of every array."""
    attributes = {**attrs, "taps": list(taps), "dtype": dtype, SCHEMA_KEY: FEATURE_SCHEMA}
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return {"": group} | {array_name(tap["tap"]): _array(tap, tiles, dtype) for tap in taps}


def _described(tap: int | str, channels: int, cells: int, span: int) -> dict[str, Any]:
    return {"tap": tap, "channels": channels, "cells": cells, "span": span}


def _array(tap: Mapping[str, Any], tiles: int, dtype: str) -> dict[str, Any]:
    name, shape = array_name(tap["tap"]), (tap["channels"], tap["cells"], tap["cells"])
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [tiles, *shape],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        # Sizes differ between taps, and a dimension has one size, so each tap has its own but for the tiles.
        "dimension_names": ["tile", *(f"{name}_{axis}" for axis in ("channel", "y", "x"))],
        "attributes": {"long_name": f"maps of tap {tap['tap']}", **_ATTRIBUTES[dtype]},
        "storage_transformers": [],
        **_ZARR[dtype],
    }


def _encoded(maps: Tensor, tap: Mapping[str, Any], ids: np.ndarray, dtype: str, target: Path) -> np.ndarray:
    """The bits of a batch's maps as they are stored; a number that the type cannot hold is refused."""
    expected = (len(ids), tap["channels"], tap["cells"], tap["cells"])
    if tuple(maps.shape) != expected:
        raise ValueError(f"maps of tap {tap['tap']} have shape {tuple(maps.shape)}, the layout says {expected}")
    stored = maps.detach().to(_TORCH[dtype])
    # The largest magnitude is NaN or inf where any is, and takes a tenth of the time of asking every number.
    broken = ~stored.abs().flatten(1).amax(1).isfinite()
    if broken.any():
        first = int(broken.nonzero()[0])
        raise _unfit(maps[first], f"tile {ids[first]}, tap {tap['tap']}", dtype, target)
    bits: np.ndarray = stored.contiguous().cpu().view(torch.int16).numpy()
    return bits.astype("<i2", copy=False)


def _unfit(values: Tensor, place: str, dtype: str, target: Path) -> UserError:
    largest = float(values.abs().max())
    if not math.isfinite(largest):
        return UserError(f"{place}: the map holds NaN or inf", target, "check the teacher's weights, `statistics` and `dtype`")
    hint = "set `dtype: bf16` of the teacher" if dtype == "fp16" else "check the teacher's weights and `statistics`"
    return UserError(f"{place}: {largest:.4g} is more than {dtype} can hold", target, hint)
