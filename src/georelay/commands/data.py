"""From a source to tiles."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from georelay.commands.places import Commands, existing
from georelay.errors import UserError
from georelay.files import sha256_file, write_json
from georelay.params import load_params
from georelay.plan import raw_folder
from georelay.reading import PARAMS, lookup
from georelay.stage import run_stage
from georelay.stages import fetch_stage, tile_stage


def fetch(arguments: argparse.Namespace) -> None:
    """Make the rasters of a source, or take them from a folder."""
    params = load_params()
    source = lookup(params.sources, arguments.source, f"{PARAMS}: sources", "source")

    def compute() -> None:
        from georelay.sources.catalog import fetch_source

        brought = None
        if source.kind != "synthetic":
            from georelay.download.bring import bring

            subset = source.subset or arguments.subset
            brought = bring(arguments.source, source, params.download, accept=arguments.accept_licence, subset=subset)
        fetch_source(arguments.source, source, Path("data/raw"), brought)

    run_stage(fetch_stage(params, arguments.source).doing(compute))


def tile(arguments: argparse.Namespace) -> None:
    """Cut the rasters of a task into one Zarr store."""
    params, name = load_params(), arguments.task
    task = lookup(params.tasks, name, f"{PARAMS}: tasks", "task")
    folder = raw_folder(task.source)
    for other in ("teachers", "features"):  # DVC wants to see the folders that plans may depend on, empty or not
        Path("results", other).mkdir(parents=True, exist_ok=True)
    receipt_digest = sha256_file(existing(folder / "receipt.json", f"georelay fetch {task.source}"))
    stage = tile_stage(params, name, receipt_digest)
    store, card = stage.outputs

    def compute() -> None:
        from georelay.sources.receipt import Receipt
        from georelay.tiles.write import write_tiles

        receipt = Receipt.read(folder)
        receipt.require(folder)
        _require_all(receipt.brought, folder, params.sources[task.source])
        bounds = params.tiling
        facts = write_tiles(receipt, folder, name, task, store, memory_mb=bounds.memory_mb, workers=bounds.workers)
        write_json(card, {**facts, "receipt": receipt_digest})

    run_stage(stage.doing(compute))


def _require_all(brought: Mapping[str, Any], folder: Path, source: Any) -> None:
    """A first look is not taken for the whole."""
    if brought.get("subset") and not source.subset:
        hint = f"run `georelay fetch {folder.name}` for all of it, or set `subset: true` at params.yaml: sources.{folder.name}"
        raise UserError("holds only a small part, fetched with --subset", folder / "receipt.json", hint)


def inspect(arguments: argparse.Namespace) -> None:
    """Say what a folder of yours holds, and print settings for it."""
    from georelay.sources.inspect import inspect_folder

    print(inspect_folder(arguments.folder, arguments.sample), end="")


COMMANDS: Commands = {fetch: ("source",), tile: ("task",), inspect: ("folder",)}
