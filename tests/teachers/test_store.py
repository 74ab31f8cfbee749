"""What was computed is what is read; a kill costs seconds and leaves no trace; numbers that do not fit are refused."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from georelay.errors import UserError
from georelay.teachers import store as module
from georelay.teachers.store import FeatureStore, estimate_bytes, write_features
from georelay.tiles import pack
from georelay.tiles.read import TileStore

TILES, BATCH = 23, 4
TAPS: list[int | str] = [2, "decoder"]
LAYOUT = [(3, 5, 70), (2, 4, 64)]
ATTRS = {"teacher": {"name": "dino", "settings": {"size": None}}, "task": "clouds"}


def maps_of(ids: np.ndarray) -> list[Tensor]:
    """Maps that follow from the tile's number alone."""
    parts = [
        [torch.randn(*facts[:2], facts[1], generator=torch.Generator().manual_seed(int(i))) for i in ids] for facts in LAYOUT
    ]
    return [torch.stack(part) for part in parts]


def write(folder: Path, dtype: str = "fp16", compute: Callable[..., list[Tensor]] = maps_of, **changes: Any) -> Path:
    options = {"attrs": ATTRS, "taps": TAPS, "layout": LAYOUT, "tiles": TILES, "batch": BATCH} | changes
    target = folder / "features" / "dino.zarr.zip"
    write_features(target, folder / "resume" / "dino", dtype=dtype, compute=compute, **options)
    return target


@pytest.fixture(params=["fp16", "bf16"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a store that nothing interrupted."""
    return write(tmp_path_factory.mktemp("whole")).read_bytes()


def test_what_was_computed_is_what_is_read(tmp_path: Path, dtype: str) -> None:
    store = FeatureStore(write(tmp_path, dtype))
    ids = np.array([22, 0, 7, 7])
    found, expected = store.read(ids), maps_of(ids)
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    assert [maps.dtype for maps in found] == [kind, kind]
    assert all(torch.equal(maps, wanted.to(kind)) for maps, wanted in zip(found, expected, strict=True))
    store.verify()


def test_it_says_what_it_holds(tmp_path: Path, dtype: str) -> None:
    store = FeatureStore(write(tmp_path, dtype))
    assert len(store) == TILES and store.dtype == dtype and store.attrs["teacher"] == ATTRS["teacher"]
    assert store.taps[0] == {"tap": 2, "channels": 3, "cells": 5, "span": 70}
    assert store.taps[1] == {"tap": "decoder", "channels": 2, "cells": 4, "span": 64}


def test_reading_copies_from_aligned_views_of_the_file(tmp_path: Path) -> None:
    store = FeatureStore(write(tmp_path))
    array = store.array("tap-2")
    assert not array.flags.owndata and array.strides[0] % 64 == 0 and array.ctypes.data % 64 == 0
    first = store.read(np.array([3]))[0]
    first.zero_()
    assert store.read(np.array([3]))[0].any()


def test_bytes_do_not_depend_on_the_run(tmp_path: Path, whole: bytes) -> None:
    again = write(tmp_path)
    assert again.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dino.zarr.zip", "features", "resume"]


def test_zarr_and_xarray_open_it(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path, dtype)
    mine = FeatureStore(path)
    with zarr.storage.ZipStore(path, mode="r") as archive:
        group = zarr.open_group(archive, mode="r")
        assert group.attrs["georelay_features"] == 1 and group.attrs["dtype"] == dtype
        assert group["tap-2"].attrs.get("georelay_dtype") == {"fp16": None, "bf16": "bfloat16"}[dtype]
        dataset = xr.open_zarr(archive, consolidated=False, chunks=None)
        assert dict(dataset.sizes)["tile"] == TILES and dataset["tap-2"].dims == ("tile", "tap-2_channel", "tap-2_y", "tap-2_x")
        for name in ("tap-2", "tap-decoder"):
            assert np.array_equal(group[name][...], mine.array(name))
            assert dataset[name].dtype == mine.array(name).dtype  # a fill value of 0 must not make masked floats of it
            assert np.array_equal(dataset[name].values, mine.array(name))


def test_the_metadata_is_what_zarr_itself_would_write(tmp_path: Path, dtype: str) -> None:
    with zipfile.ZipFile(write(tmp_path, dtype)) as archive:
        ours = json.loads(archive.read("tap-2/zarr.json"))
    memory: dict[str, Any] = {}
    zarr.create_array(
        zarr.storage.MemoryStore(memory),
        shape=(TILES, 3, 5, 5),
        chunks=(1, 3, 5, 5),
        dtype={"fp16": "float16", "bf16": "uint16"}[dtype],
        compressors=None,
        fill_value=0,
        dimension_names=ours["dimension_names"],
        attributes=ours["attributes"],
    )
    assert ours == json.loads(memory["zarr.json"].to_bytes())


class Tiles(Dataset[tuple[int, list[Tensor]]]):
    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return TILES

    def __getitem__(self, index: int) -> tuple[int, list[Tensor]]:
        return os.getpid(), [maps[0] for maps in self.store.read(np.array([index]))]


def test_forked_loader_workers_read_different_tiles(tmp_path: Path) -> None:
    store = FeatureStore(write(tmp_path))
    expected = store.read(np.arange(TILES))  # the parent has the file mapped before it forks
    loader = DataLoader(Tiles(store), batch_size=3, num_workers=2, multiprocessing_context="fork")
    pids, maps = zip(*loader, strict=True)
    assert len({int(pid) for batch in pids for pid in batch} | {os.getpid()}) == 3
    for tap, wanted in enumerate(expected):
        assert torch.equal(torch.cat([batch[tap] for batch in maps]), wanted)
    assert len(pickle.dumps(store)) < 500


def test_a_number_beyond_half_precision_asks_for_bf16(tmp_path: Path) -> None:
    def large(ids: np.ndarray) -> list[Tensor]:
        first, second = maps_of(ids)
        second[ids == 14, 1, 2, 3] = 70000.0
        return [first, second]

    with pytest.raises(UserError, match=r"tile 14, tap decoder: 7e\+04 is more than fp16 can hold\n  set `dtype: bf16`"):
        write(tmp_path, compute=large)
    assert not (tmp_path / "features").exists()
    found = FeatureStore(write(tmp_path, "bf16", large)).read(np.array([14]))[1]
    assert float(found.max()) == pytest.approx(70000, rel=2**-8)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_nan_and_inf_are_refused(tmp_path: Path, dtype: str, value: float) -> None:
    def broken(ids: np.ndarray) -> list[Tensor]:
        first, second = maps_of(ids)
        first[ids == 9, 0, 0, 0] = value
        return [first, second]

    with pytest.raises(UserError, match="tile 9, tap 2: the map holds NaN or inf"):
        write(tmp_path, dtype, broken)
    assert not (tmp_path / "features").exists()


def test_maps_of_another_shape_are_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tap 2 have shape \(3, 3, 5, 5\), the layout says \(4, 3, 5, 5\)"):
        write(tmp_path, compute=lambda ids: maps_of(ids[:-1]))


def test_the_estimate_holds_for_small_and_large_maps(tmp_path: Path, whole: bytes) -> None:
    assert len(whole) < estimate_bytes(TILES, LAYOUT) + 4096  # and the metadata, whose size does not grow
    layout = [(64, 16, 256)]
    path = write(tmp_path, taps=[0], layout=layout, tiles=50, compute=lambda ids: [torch.zeros(len(ids), 64, 16, 16)])
    assert 0.98 < path.stat().st_size / estimate_bytes(50, layout) < 1


def test_a_full_disk_is_noticed_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**4, 0, 10**4))
    with pytest.raises(UserError, match="features dino needs about"):
        write(tmp_path, compute=lambda ids: pytest.fail("work was done"))


def counting(calls: list[int]) -> Callable[[np.ndarray], list[Tensor]]:
    def compute(ids: np.ndarray) -> list[Tensor]:
        calls.extend(ids.tolist())
        return maps_of(ids)

    return compute


def stop_at(folder: Path, tile: int, **changes: Any) -> None:
    """A run that Ctrl-C ends before the batch that begins with `tile`."""

    def compute(ids: np.ndarray) -> list[Tensor]:
        if ids[0] == tile:
            raise KeyboardInterrupt
        return maps_of(ids)

    with pytest.raises(KeyboardInterrupt):
        write(folder, compute=compute, **changes)
    assert not (folder / "features").exists()


def test_the_next_call_goes_on_where_the_last_one_stopped(tmp_path: Path, whole: bytes) -> None:
    stop_at(tmp_path, 8)
    calls: list[int] = []
    assert write(tmp_path, compute=counting(calls)).read_bytes() == whole
    assert calls == list(range(8, TILES))
    assert not (tmp_path / "resume" / "dino").exists()


@pytest.mark.parametrize("changes", [{"attrs": {"task": "grass"}}, {"batch": 2}, {"taps": [1, "decoder"]}, {"tiles": 24}])
def test_other_work_is_started_afresh(tmp_path: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    stop_at(tmp_path, 8, **changes)
    calls: list[int] = []
    write(tmp_path, compute=counting(calls))
    assert calls == list(range(TILES)) and "belongs to other settings" in capsys.readouterr().err


def spoil_cut(path: Path, note: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def spoil_bit(path: Path, note: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(maps_of(np.array([13]))[1].half().numpy().tobytes())] ^= 1
    path.write_bytes(bytes(content))


def spoil_foreign(path: Path, note: Path) -> None:
    path.write_bytes(b"another file, and a longer one than ours " * 1000)


def spoil_empty(path: Path, note: Path) -> None:
    path.write_bytes(b"")


def spoil_missing(path: Path, note: Path) -> None:
    path.unlink()


def spoil_note(path: Path, note: Path) -> None:
    note.write_text('["another file"]')


def spoil_count(path: Path, note: Path) -> None:
    note.write_text(json.dumps(json.loads(note.read_text()) | {"done": TILES}))


SPOILS = (spoil_cut, spoil_bit, spoil_foreign, spoil_empty, spoil_missing, spoil_note, spoil_count)


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_damaged_work_is_done_again(tmp_path: Path, whole: bytes, spoil: Callable[[Path, Path], None]) -> None:
    stop_at(tmp_path, 20)
    spoil(tmp_path / "resume/dino/features.zarr.zip", tmp_path / "resume/dino/done.json")
    starts: list[int] = []

    def compute(ids: np.ndarray) -> list[Tensor]:
        starts.append(int(ids[0]))
        return maps_of(ids)

    assert write(tmp_path, compute=compute).read_bytes() == whole
    # The same batches as without a stop: a network's last bits may depend on a tile's neighbours in the batch.
    assert all(start % BATCH == 0 for start in starts)


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_a_header(patch: pytest.MonkeyPatch) -> None:
    real = pack.Run._header
    patch.setattr(pack.Run, "_header", lambda run, index: die() if index == 13 else real(run, index))


def die_in_a_chunk(patch: pytest.MonkeyPatch) -> None:
    real = pack.Run.write

    def write_half(run: pack.Run, first: int, chunks: Any) -> None:
        if first == 12 and "tap" in run.names[0]:
            data = bytes(chunks[0])
            with open(run.path, "r+b", buffering=0) as stream:
                stream.seek(run.header_at(first))
                stream.write(run._header(first) + data[: len(data) // 2])
            die()
        real(run, first, chunks)

    patch.setattr(pack.Run, "write", write_half)


def die_before_the_note(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "canonical_json", lambda data: die() if data.get("done") == 12 else json.dumps(data))


def die_before_the_directory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pack.AlignedZip, "finish", die)


def die_before_the_move(patch: pytest.MonkeyPatch) -> None:
    real = os.replace
    patch.setattr(os, "replace", lambda a, b: die() if str(b).endswith(".zarr.zip") else real(a, b))


def die_after_the_move(patch: pytest.MonkeyPatch) -> None:
    real = module.remove
    patch.setattr(
        module, "remove", lambda path: die() if not (path / "features.zarr.zip").exists() and path.exists() else real(path)
    )


MOMENTS = (
    die_in_a_header,
    die_in_a_chunk,
    die_before_the_note,
    die_before_the_directory,
    die_before_the_move,
    die_after_the_move,
)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
@pytest.mark.parametrize("pause", [0.0, 1e9])
def test_a_kill_at_any_moment_leaves_no_trace(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch, moment: Callable[[pytest.MonkeyPatch], None], pause: float
) -> None:
    def run() -> None:
        monkeypatch.setattr(module, "SAVE_SECONDS", pause)
        moment(monkeypatch)
        write(tmp_path)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode == (0 if moment is die_before_the_note and pause else -signal.SIGKILL)
    assert write(tmp_path).read_bytes() == whole
    assert not (tmp_path / "resume" / "dino").exists()


def test_a_killed_program_is_picked_up_by_the_next(tmp_path: Path, whole: bytes) -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_store as tests
tests.module.SAVE_SECONDS = 0.0
def compute(ids):
    return tests.maps_of(ids) if ids[0] < 16 else os.kill(os.getpid(), signal.SIGKILL)
tests.write(tests.Path({str(tmp_path)!r}), compute=compute)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    calls: list[int] = []
    assert write(tmp_path, compute=counting(calls)).read_bytes() == whole
    assert calls == list(range(16, TILES))


def test_a_missing_and_a_foreign_store_are_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(UserError, match=r"feature store is missing\n  run the stage that writes it$"):
        len(FeatureStore(tmp_path / "none.zarr.zip"))
    with pytest.raises(UserError, match=r"not a whole tile store .*\n  delete it and run `georelay tile dino` again"):
        len(TileStore(path))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match=r"not a whole feature store .*\n  delete it and run the stage that writes it again"):
        len(FeatureStore(path))


def test_a_store_of_another_layout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEATURE_SCHEMA", 2)
    path = write(tmp_path)
    with pytest.raises(UserError, match="has layout 2, this version reads 1"):
        len(FeatureStore(path))
