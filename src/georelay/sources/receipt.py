"""The receipt of a source: which scenes were fetched, what their bands and classes are, and the digest of every file.

Written last by `fetch`, read by every stage that opens rasters. Light: no numpy. It holds no dates, so the same
source gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from georelay.errors import UserError
from georelay.files import read_json, write_json

NAME = "receipt.json"
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Scene:
    """One place on the ground: an image per modality and a label raster, paths relative to the source's folder."""

    name: str
    split: str
    domain: str
    images: Mapping[str, str]
    label: str
    look: int | None = None  # of radar, 0 or 1; None: not told

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the scene."""
        return (*self.images.values(), self.label)


@dataclass(frozen=True)
class Receipt:
    """What a fetched source holds."""

    source: str
    kind: str
    licence: str
    url: str | None
    classes: tuple[Mapping[str, Any], ...]
    ignore: int
    modalities: Mapping[str, Mapping[str, Any]]
    crs: str | None
    scenes: tuple[Scene, ...]
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    brought: Mapping[str, Any] = field(default_factory=dict)  # what was downloaded for it, and whether its terms were accepted

    @classmethod
    def read(cls, folder: Path) -> Receipt:
        """The receipt in a source's folder, checked."""
        path = Path(folder) / NAME
        if not path.is_file():
            raise UserError("receipt is missing", path, f"run `georelay fetch {Path(folder).name}`")
        return _parse(read_json(path), path)

    @property
    def class_names(self) -> list[str]:
        """Class names in the order of their values."""
        return [entry["name"] for entry in self.classes]

    @property
    def colours(self) -> list[tuple[int, int, int]]:
        """Class colours in the order of their values."""
        return [(int(r), int(g), int(b)) for r, g, b in (entry["colour"] for entry in self.classes)]

    @property
    def domains(self) -> list[str]:
        """The domains of the scenes, in order of first appearance."""
        return list(dict.fromkeys(scene.domain for scene in self.scenes))

    def select(self, split: str | None = None, domain: str | None = None) -> list[Scene]:
        """The scenes of a split, of a domain, or of both."""
        chosen = [scene for scene in self.scenes if split in (None, scene.split)]
        return [scene for scene in chosen if domain in (None, scene.domain)]

    def scene(self, name: str) -> Scene:
        """The scene of that name."""
        for scene in self.scenes:
            if scene.name == name:
                return scene
        raise UserError(f'no scene "{name}"', self.source)

    def bands(self, modality: str, domain: str) -> list[str]:
        """Band names of a modality as a domain's sensor has them."""
        entry = self.modalities[modality]
        return list(entry.get("domains", {}).get(domain, entry)["bands"])

    def require(self, folder: Path) -> None:
        """Every file is there with its size, or a UserError says which is not."""
        hint = f"run `georelay fetch {self.source}`"
        for name, facts in self.files.items():
            path = Path(folder) / name
            if not path.is_file():
                raise UserError("file of the receipt is missing", path, hint)
            if path.stat().st_size != facts["size"]:
                raise UserError(f"has {path.stat().st_size} bytes, the receipt says {facts['size']}", path, hint)

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for a JSON file."""
        plain = {key: getattr(self, key) for key in ("source", "kind", "licence", "url", "ignore", "crs")}
        scenes = [
            {"name": s.name, "split": s.split, "domain": s.domain, "images": dict(s.images), "label": s.label}
            | ({} if s.look is None else {"look": s.look})
            for s in self.scenes
        ]
        brought = {"brought": dict(self.brought)} if self.brought else {}
        return (
            plain
            | brought
            | {
                "classes": [dict(entry) for entry in self.classes],
                "modalities": {name: dict(entry) for name, entry in self.modalities.items()},
                "scenes": scenes,
                "files": {name: dict(entry) for name, entry in self.files.items()},
            }
        )

    def write(self, folder: Path) -> None:
        """Write the receipt into a source's folder."""
        write_json(Path(folder) / NAME, self.to_json())


# What each key must be. `_parse` checks with it before any other stage trusts the file.
_TOP: dict[str, Any] = {"source": str, "kind": str, "licence": str, "url": (str, type(None)), "classes": list}
_TOP |= {"ignore": int, "modalities": dict, "crs": (str, type(None)), "scenes": list, "files": dict}
_CLASS = {"name": str, "colour": list}
_MODALITY = {"bands": list, "dtype": str, "scale": (int, float), "nodata": (int, float, type(None)), "unit": str}
_SCENE = {"name": str, "split": str, "domain": str, "images": dict, "label": str}
_FILE = {"size": int, "sha256": str}


def _parse(data: Any, path: Path) -> Receipt:
    _check(data, _TOP, path, "")
    for index, entry in enumerate(data["classes"]):
        _check(entry, _CLASS, path, f"classes.{index}")
    for group, shape in (("modalities", _MODALITY), ("files", _FILE)):
        for name, entry in data[group].items():
            _check(entry, shape, path, f"{group}.{name}")
    scenes = tuple(_scene(entry, data, path, index) for index, entry in enumerate(data["scenes"]))
    values = {key: data[key] for key in _TOP} | {"classes": tuple(data["classes"]), "scenes": scenes}
    return Receipt(**values, brought=data.get("brought", {}))


def _scene(entry: Any, data: Mapping[str, Any], path: Path, index: int) -> Scene:
    place = f"scenes.{index}"
    _check(entry, _SCENE, path, place)
    scene = Scene(**{key: entry[key] for key in _SCENE}, look=entry.get("look"))
    if scene.look not in (None, 0, 1):
        raise UserError(f"look is {scene.look}, must be 0 or 1", f"{path}: {place}.look")
    if scene.split not in SPLITS:
        raise UserError(f'split is "{scene.split}", must be one of {", ".join(SPLITS)}', f"{path}: {place}.split")
    for name in scene.files:
        if name not in data["files"]:
            raise UserError(f'"{name}" has no entry in files', f"{path}: {place}")
    return scene


def _check(entry: Any, shape: Mapping[str, Any], path: Path, place: str) -> None:
    hint = "delete the source's folder and fetch it again"
    if not isinstance(entry, dict):
        raise UserError("must be a mapping", f"{path}: {place or 'top level'}", hint)
    for key, kind in shape.items():
        where = f"{path}: {place}.{key}" if place else f"{path}: {key}"
        if key not in entry:
            raise UserError("key is missing", where, hint)
        if not isinstance(entry[key], kind) or isinstance(entry[key], bool):
            raise UserError(f"has the wrong type ({type(entry[key]).__name__})", where, hint)
