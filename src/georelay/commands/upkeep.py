"""Looking after the checkout."""

from __future__ import annotations

import argparse
from pathlib import Path

from georelay.commands.places import Commands
from georelay.files import write_json

GIGABYTE = 1_000_000_000


def schema(arguments: argparse.Namespace) -> None:
    """Write the JSON schema of params.yaml for editors."""
    from georelay.settings import Params

    write_json(Path("workflow/schemas/params.schema.json"), Params.model_json_schema())


def cache(arguments: argparse.Namespace) -> None:
    """Look at the cache, check it, or make it smaller."""
    from georelay.cache import Cache

    store = Cache.here()
    if arguments.action == "list":
        for entry in store.entries():
            print(f"{entry.size / 1e6:10.1f} MB {entry.seconds:8.1f} s  {entry.fingerprint[:12]}  {entry.label}")
        print(f"{sum(entry.size for entry in store.entries()) / 1e6:10.1f} MB in {store.folder}")
    elif arguments.action == "verify":
        damaged = store.verify()
        print(
            "\n".join([*(f"dropped, damaged: {label}" for label in damaged), f"{len(list(store.entries()))} entries are whole"])
        )
    else:
        print(f"{store.prune(int(arguments.keep * GIGABYTE)) / 1e6:.1f} MB freed")


COMMANDS: Commands = {schema: (), cache: ("action",)}
