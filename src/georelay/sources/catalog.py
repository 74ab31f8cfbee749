"""`fetch`: bring a source's rasters into a folder, with a receipt, whole or not at all.

Each kind of source is one module with two functions, `estimate_bytes(source)` and `write_source(name, source, folder)`;
the settings of a source say which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from georelay.files import remove, require_space, sha256_file
from georelay.sources.receipt import Receipt


def fetch_source(name: str, source: Any, root: Path, brought: Mapping[str, Any] | None = None) -> Receipt:
    """Write `root/<name>` with every raster and the receipt; what was there before is replaced at the very end.

    `brought` is what the receipt shall tell of downloads.
    """
    kind = import_module(source.module)
    target, partial = Path(root) / name, Path(root) / f".{name}.partial"
    # A killed fetch leaves its folder behind; nothing in it can be trusted.
    remove(partial)
    require_space(Path(root), kind.estimate_bytes(source), f"source {name}")
    try:
        partial.mkdir(parents=True)
        receipt = replace(_with_digests(kind.write_source(name, source, partial), partial), brought=brought or {})
        receipt.write(partial)
        remove(target)
        partial.rename(target)
    except BaseException:
        remove(partial)
        raise
    return receipt


def _with_digests(receipt: Receipt, folder: Path) -> Receipt:
    paths = {name: folder / name for scene in receipt.scenes for name in scene.files}
    facts = {name: {"size": path.stat().st_size, "sha256": sha256_file(path)} for name, path in paths.items()}
    return replace(receipt, files=facts)
