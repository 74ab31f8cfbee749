"""What a run made of fixed test scenes as pictures, named so that MLflow shows the same scene of all runs side by side.

Truth, predictions and errors are those of the study's map panel; entropy is white where a run is least sure.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from georelay.files import read_json
from georelay.geo.raster import open_grid, read_window
from georelay.report.maps import PanelScene, middle, read_panel
from georelay.report.tables import Row
from georelay.sources.receipt import NAME as RECEIPT
from georelay.track.record import Shown


@dataclass(frozen=True)
class Picture:
    """One picture of a run: `key` is the same in all runs that show the same thing."""

    key: str
    png: bytes
    webp: bytes  # what lists show; class maps are smaller and faster to write without loss

    def names(self, run: str, time: int) -> Iterator[tuple[str, bytes]]:
        """File names by which MLflow's image grid knows a picture, as `MlflowClient.log_image` writes them."""
        identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{run}/{self.key}")
        name = f"images/{self.key.replace('/', '~')}+step+0+timestamp+{time}+{identity}"
        yield f"{name}.png", self.png
        yield f"{name}+compressed.webp", self.webp


def draw_pictures(rows: Sequence[Row], wanted: set[Shown], root: Path, scenes: int) -> dict[Shown, list[Picture]]:
    """The pictures of some runs of a study; none of runs whose scenes or plans are not here."""
    found: dict[Shown, list[Picture]] = {}
    for seed in sorted({seed for _, seed in wanted}):
        chosen = [row for row in rows if (row["experiment"], seed) in wanted and _drawable(row, root)]
        panel = read_panel(chosen, [seed], root, scenes)  # all rows of a seed at once: they share image and truth
        for shown in panel.scenes if panel else ():
            truth = _encoded(f"{_word(shown.name)}/truth", shown.truth)
            for name in (row["experiment"] for row in chosen):
                found.setdefault((name, seed), []).extend((truth, *_made_by(name, seed, shown, root)))
    return found


def _drawable(row: Row, root: Path) -> bool:
    plan = root / "results/plans" / f"{row['experiment']}.json"
    return plan.is_file() and (root / read_json(plan)["source"]["folder"] / RECEIPT).is_file()


def _made_by(row: str, seed: int, scene: PanelScene, root: Path) -> Iterator[Picture]:
    made = next((made for made in scene.rows if made.row == row), None)
    entropy = root / "results/maps" / row / f"seed{seed}" / f"{scene.name}-entropy.tif"
    maps = {"prediction": made.prediction, "errors": made.errors} if made else {}
    arrays: Mapping[str, np.ndarray | None] = {**maps, "entropy": _grey(entropy)}
    yield from (_encoded(f"{_word(scene.name)}/{kind}", array) for kind, array in arrays.items() if array is not None)


def _grey(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    values = read_window(path, *middle(open_grid(path)))[0]
    return np.where(values == 255, 0, values)  # 255: no data


def _encoded(key: str, array: np.ndarray) -> Picture:
    from PIL import Image

    image = Image.fromarray(array)
    png, webp = io.BytesIO(), io.BytesIO()
    image.save(png, format="PNG", compress_level=1)
    image.save(webp, format="WEBP", lossless=True, quality=0, method=0)
    return Picture(key, png.getvalue(), webp.getvalue())


def _word(name: str) -> str:
    """Scene names are free text; the key of an image takes letters, digits and _-. alone."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-.") else "_" for sign in name)
