"""What a file of a public data set holds. Light: no numpy, since params.yaml is read with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from georelay.download.wanted import Download

if TYPE_CHECKING:
    from numpy.random import Generator as Rng
else:
    Rng = Any  # numpy is imported when something is drawn

__all__ = ["RGB_8_BIT", "SENTINEL_2", "Dataset", "Download", "Rng"]

# Pictures of 8 bits: reflectance as near as they come to it.
RGB_8_BIT: dict[str, Any] = {
    "modality": "optical",
    "bands": ["red", "green", "blue"],
    "unit": "reflectance",
    "scale": 0.00392156862745098,  # 1/255
    "nodata": None,
}
SENTINEL_2: list[str] = ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b8a", "b9", "b10", "b11", "b12"]


@dataclass(frozen=True)
class Dataset:
    """A public data set: what it is, how its files are read, where they come from, and under which terms."""

    title: str
    source: Mapping[str, Any]  # the keys of a source of kind folder or paired; `path` is where it lies unless params.yaml says
    accept: bool  # whether the licence must be agreed to: no commercial use, on request, terms of a contest, or none stated
    downloads: tuple[Download, ...] = ()
    licence_url: str | None = None
    notes: str = ""

    @property
    def licence(self) -> str:
        """The terms in a word."""
        return str(self.source["licence"])

    @property
    def settings(self) -> dict[str, Any]:
        """The whole source as params.yaml would say it."""
        terms = {"licence_url": self.licence_url, "licence_accepted": False if self.accept else None}
        files = [{**asdict(download), "urls": list(download.urls)} for download in self.downloads]
        return {**self.source, **terms, "downloads": files}
