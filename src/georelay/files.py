"""Files as we write them: whole or not at all, named by their content, and never on a full disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from georelay.errors import UserError

READ_BLOCK = 1 << 20


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    hasher = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(READ_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def require_digest(path: Path, expected: str, command: str) -> None:
    """Refuse a file that is not the one a plan was made for; `command` makes it anew."""
    if not path.is_file():
        raise UserError("file is missing", path, f"run `{command}`")
    if sha256_file(path) != expected:
        raise UserError(
            "is damaged, or not the file that the plan was made for", path, f"delete it, run `{command}`, then `georelay plan`"
        )


def canonical_json(data: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(data: Any) -> str:
    """Hex sha256 of a JSON value."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """The value in a JSON file; a missing or broken file is a UserError."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise UserError("file is missing", path, "run the stage that writes it, or `snakemake` / `dvc repro`") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"not valid JSON ({error})", path, "delete it and run the stage that writes it") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes otherwise."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: rasterio and zarr choose by it. The pid keeps two processes apart.
    temporary = path.with_name(f".{path.name.split('.')[0]}-{os.getpid()}.partial{''.join(path.suffixes)}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file atomically, in one fixed form."""
    write_text(path, json.dumps(data, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def require_space(folder: Path, bytes_needed: int, what: str) -> None:
    """Refuse to start what would not fit on the disk."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < bytes_needed:
        raise UserError(
            f"{what} needs about {bytes_needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free",
            folder,
            "free some space (`georelay cache prune` drops old results), or move the folder to another disk",
        )
