"""The page's map viewers: one a test scene, in which image, truth and every row's map are flipped through in one place.

Radio buttons and style sheets do it, so arrow keys work, and no script is needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from georelay.geo.palette import IGNORED
from georelay.report.maps import (
    ENTROPY_SCALE,
    RIGHT_FROM,
    RIGHT_TO,
    WRONG,
    Panel,
    PanelScene,
    RowMap,
    entropy_picture,
    read_panel,
    scale_bar,
)
from georelay.report.page import picture
from georelay.report.tables import Row, points

MOST_ROWS = 12  # of more, those of the short comparison are shown
PHOTO_COLOURS = 96  # a third of the bytes of a full-colour picture, and hard to tell from it
RIGHT = ((RIGHT_FROM + RIGHT_TO) // 2,) * 3  # one of the greys that right pixels have
KINDS = ("prediction", "errors", "entropy")
HOW = (
    "Choose what is shown with the mouse or with Tab and the arrow keys: flipping between two rows in one place shows small "
    "differences. Scenes are fixed, the first by name, seen through a window in their middle."
)


@dataclass(frozen=True)
class _View:
    """What one button of a viewer shows: pictures by kind, and words beside them."""

    name: str
    pictures: dict[str, str]
    words: str
    score: str = ""


def viewers(study: str, rows: Sequence[Row], seeds: Sequence[int], root: Path, scenes: int) -> str:
    """A viewer for each of the fixed scenes, with one legend; nothing where no row has been evaluated."""
    core = [row for row in rows if row["core"]]
    panel = read_panel(core if core and len(rows) > MOST_ROWS else rows, seeds, root, scenes)
    if panel is None:
        return ""
    shown = [_viewer(f"{study}-{place}", scene, panel) for place, scene in enumerate(panel.scenes)]
    return f"<p>{HOW}</p>{_legend(panel)}{''.join(shown)}"


def _viewer(name: str, scene: PanelScene, panel: Panel) -> str:
    views = [*_given(scene, panel), *(_row_view(row, scene.name, panel) for row in scene.rows)]
    kinds = [kind for kind in KINDS if any(kind in view.pictures for view in views)]
    switches = "".join(
        _radio(f"{name}-kind", kind, kind, f"as-{kind}", place == 0) for place, kind in enumerate(kinds if len(kinds) > 1 else ())
    )
    asked = f'<span class="kinds">Of a row, show its</span>{switches}' if switches else ""
    layers = "".join(
        _radio(f"{name}-view", str(place), _label(view), "", place == 0) + _layer(view, kinds, scene)
        for place, view in enumerate(views)
    )
    head = f'<legend>Scene {escape(scene.name)}</legend><p class="soft">{escape(scene.place)}</p>'
    return f'<fieldset class="viewer">{head}{asked}<div class="stage">{layers}</div></fieldset>'


def _radio(group: str, value: str, label: str, kind: str, chosen: bool) -> str:
    identifier = escape(f"{group}-{value}")
    named = f' class="{kind}"' if kind else ""
    checked = " checked" if chosen else ""
    return (
        f'<input type="radio" name="{escape(group)}" id="{identifier}"{named}{checked}><label for="{identifier}">{label}</label>'
    )


def _label(view: _View) -> str:
    return f"<span>{escape(view.name)}</span>{f' <span>{view.score}</span>' if view.score else ''}"


def _given(scene: PanelScene, panel: Panel) -> Iterator[_View]:
    """What every row starts from: the images, and the truth that it is held against."""
    for modality, pixels in scene.images.items():
        about = f"{modality} image of scene {scene.name}"
        yield _View(f"image ({modality})", {"": picture(png(pixels, PHOTO_COLOURS), about)}, seen_by(modality, panel))
    told = "What the labels say; black pixels have none and do not count."
    yield _View("truth", {"": picture(png(scene.truth), f"True classes of scene {scene.name}")}, told)


def seen_by(modality: str, panel: Panel) -> str:
    """Whose input an image is: a study may show one to its teacher alone."""
    rows = [row for row, names in panel.inputs.items() if modality in names]
    return "What every row sees." if len(rows) == len(panel.inputs) else f"Seen by {', '.join(rows)}."


def _row_view(row: RowMap, scene: str, panel: Panel) -> _View:
    if row.prediction is None or row.errors is None:
        return _View(row.row, {}, "This row has no map of this scene.")
    score = "–" if row.miou is None else points(row.miou)
    arrays = dict(zip(KINDS, (row.prediction, row.errors, row.entropy), strict=True))
    about = f"of {row.row} for scene {scene}"
    pictures = {kind: picture(png(array), f"{kind} {about}", kind) for kind, array in arrays.items() if array is not None}
    return _View(row.row, pictures, f"mIoU of the whole scene: {score} points; seed {panel.seed_of[row.row]}.", score)


def _layer(view: _View, kinds: Sequence[str], scene: PanelScene) -> str:
    missing = [kind for kind in kinds if view.pictures and "" not in view.pictures and kind not in view.pictures]
    said = "".join(f'<p class="{kind}">no {kind} of this row was kept</p>' for kind in missing)
    shown = "".join(view.pictures.values()) + said
    scale = _scale(scene) if view.pictures else ""
    words = f"<strong>{escape(view.name)}</strong><br>{escape(view.words)}"
    return f'<figure class="layer"><div class="frame">{shown}{scale}</div><figcaption>{words}</figcaption></figure>'


def _scale(scene: PanelScene) -> str:
    width = scene.truth.shape[1]
    length, pixels = scale_bar(width, scene.gsd) if scene.gsd else (width // 4, width // 4)
    text = f"{length:g} px" if not scene.gsd else f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return f'<span class="scale" style="width:{100 * pixels / width:.2f}%">{text}</span>'


def png(pixels: np.ndarray, most: int = 256) -> bytes:
    """An RGB picture as a PNG with a palette: exact where it has few colours, else reduced to as many."""
    from PIL import Image

    red, green, blue = np.moveaxis(pixels.astype(np.uint32), -1, 0)
    codes, places = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
    if len(codes) <= most:
        image = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8))
        image.putpalette(b"".join(int(code).to_bytes(3, "big") for code in codes))
    else:
        image = Image.fromarray(pixels).quantize(most, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _legend(panel: Panel) -> str:
    marks = [*zip(panel.classes, panel.colours, strict=True), ("not counted", IGNORED), ("wrong", WRONG), ("right", RIGHT)]
    shades = entropy_picture(np.array([[0, ENTROPY_SCALE // 2, ENTROPY_SCALE]]))[0].tolist()
    marks += zip(("entropy 0", "half", "largest"), shades, strict=True)
    swatches = "".join(f"<li>{_swatch(colour)} {escape(name)}</li>" for name, colour in marks)
    return f'<ul class="legend" aria-label="Colours of the maps">{swatches}</ul>'


def _swatch(colour: Sequence[int]) -> str:
    return f'<span class="swatch" style="background:rgb({",".join(map(str, colour))})"></span>'
