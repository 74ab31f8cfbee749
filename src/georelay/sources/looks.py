"""From which side radar looked at each scene: lines of a strip's name and 0 or 1, as in SpaceNet 6's SAR_orientations.txt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from georelay.errors import UserError


def read_looks(path: Path) -> dict[str, int]:
    """The look of each strip."""
    if not path.is_file():
        raise UserError("list of looks is missing", path, "lines of a strip's name and 0 or 1")
    looks: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = [word for word in re.split(r"[\s,;]+", line) if word]
        if words and (len(words) != 2 or words[1] not in ("0", "1")):
            raise UserError(f'"{line.strip()}" is no strip with 0 or 1', f"{path}: line {number}")
        if words and looks.setdefault(words[0], int(words[1])) != int(words[1]):
            raise UserError(f"strip {words[0]} has two looks", f"{path}: line {number}")
    return looks


def look_of(image: Path, key: str, looks: Mapping[str, int], listed: Path) -> int:
    """The look of the one strip whose name is part of the scene's."""
    strips = [strip for strip in looks if strip in key]
    if len({looks[strip] for strip in strips}) != 1:
        what = f"is of {' and '.join(strips)}, which look from two sides" if strips else "is of no strip that is listed"
        raise UserError(what, image, f"see {listed}")
    return looks[strips[0]]
