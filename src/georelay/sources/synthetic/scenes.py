"""The sceneries: which classes, sensors and landscapes each has, and how its scenes are drawn and written.

One table, `SCENERIES`, says it all; adding a scenery is adding an entry. Scenes lie on a grid on the ground, one area
per split and domain, never nearer to each other than `GAP`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from georelay.errors import UserError, suggestion
from georelay.geo.grid import Transform
from georelay.geo.raster import write_raster
from georelay.progress import Progress
from georelay.sources.receipt import SPLITS, Receipt, Scene
from georelay.sources.synthetic.clouds import Weather, cover_up, draw_sky
from georelay.sources.synthetic.corpus import LAYER_SCALE, LAYERS, Land, draw_lesson
from georelay.sources.synthetic.grass import Meadow, draw_meadow
from georelay.sources.synthetic.layout import Layout
from georelay.sources.synthetic.noise import stream
from georelay.sources.synthetic.sensors import (
    SAR_NODATA,
    SCALE,
    Camera,
    Radar,
    draw_sun,
    expose,
    illuminate,
    photograph,
    reflectance,
    scan,
    sunlight,
)
from georelay.sources.synthetic.world import draw_world

LICENCE = "CC0-1.0 (generated)"
CRS = "EPSG:32631"
IGNORE = 255
GAP = 500.0  # metres between two scenes, at least
COLUMNS = 16  # scenes side by side in the area of a split
OPTICAL_NODATA = 0

Images = dict[str, np.ndarray]
Draw = Callable[["Key", "Domain", int, float], tuple[Images, np.ndarray]]


@dataclass(frozen=True)
class Key:
    """What a scene is, and so which random numbers it gets."""

    seed: int
    scenery: str
    domain: str
    split: str
    index: int

    def rng(self, purpose: str) -> np.random.Generator:
        """The stream of one purpose of this scene."""
        return stream(self.seed, self.scenery, self.domain, self.split, self.index, purpose)


@dataclass(frozen=True)
class Domain:
    """A place with its landscape and its sensor."""

    name: str = "main"
    origin: tuple[float, float] = (200_000.0, 5_500_000.0)  # upper left corner on the ground
    coarser: float = 1.0  # pixel size as a multiple of the source's
    layout: Layout = field(default_factory=Layout)
    camera: Camera = field(default_factory=Camera)
    land: Land | None = None  # what a corpus shows here


@dataclass(frozen=True)
class Scenery:
    """Classes in the order of their values, modalities, domains, and the function that draws a scene."""

    classes: tuple[tuple[str, tuple[int, int, int]], ...]
    draw: Draw
    optical: str = "optical"  # name of the optical modality
    sar: bool = False
    layers: bool = False
    domains: tuple[Domain, ...] = (Domain(),)


def _draw_clouds(key: Key, domain: Domain, size: int, gsd: float) -> tuple[Images, np.ndarray]:
    world = draw_world(key.rng("world"), size, gsd, domain.layout)
    rng = key.rng("optical")
    sun = draw_sun(rng, domain.camera)
    sky = draw_sky(key.rng("clouds"), size, gsd, sun, Weather())
    direct = sunlight(world, sun) * sky.light
    land = illuminate(reflectance(rng, world, domain.camera), world, direct)
    return {"optical": expose(rng, cover_up(rng, land, sky), domain.camera)}, sky.label


def _draw_grass(key: Key, domain: Domain, size: int, gsd: float) -> tuple[Images, np.ndarray]:
    level, image = draw_meadow(key.rng("meadow"), size, gsd, Meadow())
    return {"optical": expose(key.rng("optical"), image, domain.camera)}, level


def _draw_landcover(key: Key, domain: Domain, size: int, gsd: float) -> tuple[Images, np.ndarray]:
    world = draw_world(key.rng("world"), size, gsd, domain.layout)
    return {"optical": photograph(key.rng("optical"), world, domain.camera)}, world.cover


# Grass and crops become one class: cities are told by their built things.
_SIX = np.array([0, 1, 1, 2, 3, 4, 5], np.uint8)


def _draw_crosscity(key: Key, domain: Domain, size: int, gsd: float) -> tuple[Images, np.ndarray]:
    images, cover = _draw_landcover(key, domain, size, gsd)
    return images, _SIX[cover]


def _draw_allweather(key: Key, domain: Domain, size: int, gsd: float) -> tuple[Images, np.ndarray]:
    world = draw_world(key.rng("world"), size, gsd, domain.layout)
    sar = scan(key.rng("sar"), world, Radar())
    # A pixel that the radar did not see is scored for neither sensor, so that both face the same pixels.
    label = np.where(sar[0] == SAR_NODATA, IGNORE, world.cover).astype(np.uint8)
    return {"eo": photograph(key.rng("optical"), world, domain.camera), "sar": sar}, label


def _draw_corpus(key: Key, domain: Domain, size: int, gsd: float) -> tuple[Images, np.ndarray]:
    assert domain.land is not None
    image, layers = draw_lesson(key.rng("lesson"), domain.land, size, gsd, domain.camera)
    kind = next(index for index, place in enumerate(_CORPUS) if place.name == domain.name)
    return {"optical": image, "layers": layers}, np.full((size, size), kind, np.uint8)


# From dark to light: tree, building, water, road, bare, grass, crop. In grey, too, each is told from the next.
_LAND = (
    ("bare", (198, 150, 102)),
    ("grass", (156, 216, 106)),
    ("crop", (250, 236, 130)),
    ("tree", (8, 60, 24)),
    ("water", (36, 112, 212)),
    ("building", (142, 34, 132)),
    ("road", (134, 134, 134)),
)
_CITY = (_LAND[0], ("low vegetation", _LAND[1][1]), *_LAND[3:])
# Colours as published with the KTDA data sets.
_CLOUD = (("clear", (79, 253, 199)), ("shadow", (221, 53, 223)), ("thin", (251, 255, 41)), ("thick", (77, 2, 115)))
_GRASS = (
    ("low", (185, 101, 71)),
    ("middle-low", (248, 202, 155)),
    ("middle", (211, 232, 158)),
    ("middle-high", (138, 191, 104)),
    ("high", (92, 144, 77)),
)

# Seen from farther away (10 m pixels): large fields, villages of large blocks.
_REGION = Layout(
    district=420.0,
    town=0.2,
    forest=0.2,
    warp=25.0,
    road=(8.0, 14.0),
    street=9.0,
    lot=(42.0, 55.0),
    lots_in_row=3,
    large=0.3,
    field=(230.0, 130.0),
    river=(15.0, 45.0),
    ponds=0.3,
    hedges=0.2,
)

_OLD_TOWN = Domain(
    "source",
    layout=Layout(town=0.55, forest=0.1, district=110.0),
    camera=Camera(bands=("green", "red", "nir")),
)
_NEW_TOWN = Domain(
    "target",
    origin=(200_000.0, 6_000_000.0),
    coarser=1.5,
    layout=Layout(
        town=0.62,
        forest=0.1,
        district=150.0,
        turned=0.15,
        warp=3.0,
        road=(9.0, 14.0),
        street=7.0,
        lot=(21.0, 25.0),
        lots_in_row=3,
        large=0.5,
        storeys=(4.0, 12.0),
        field=(105.0, 60.0),
        garden_trees=0.2,
        hedges=0.15,
        rivers=0.8,
        ponds=2.4,
    ),
    camera=Camera(
        bands=("blue", "red", "nir"),
        gain=(1.15, 0.9, 0.85, 0.78),
        haze=(0.02, 0.05),
        sun=(30.0, 48.0),
        psf=0.8,
    ),
)
# The same city seen by a sensor whose bands agree with the source's: only light, gain, ground sampling and layout differ.
_NEW_TOWN_ALIKE = replace(_NEW_TOWN, camera=replace(_NEW_TOWN.camera, bands=_OLD_TOWN.camera.bands))

_LESSON = Camera(parcel_sd=0.2)
_CORPUS = tuple(
    Domain(name, origin=(200_000.0, 6_500_000.0 + 200_000.0 * place), coarser=coarser, camera=_LESSON, land=land)
    for place, (name, coarser, land) in enumerate(
        (
            ("region", 10.0, Land(_REGION, cloudy=True)),
            ("meadow", 10.0, Land(None)),
            ("country", 1.0, Land(Layout())),
            ("old-town", 1.0, Land(_OLD_TOWN.layout)),
            ("new-town", 1.5, Land(_NEW_TOWN.layout)),
        )
    )
)
_KINDS = tuple((place.name, colour) for place, (_, colour) in zip(_CORPUS, _LAND, strict=False))

SCENERIES = {
    "clouds": Scenery(_CLOUD, _draw_clouds, domains=(Domain(layout=_REGION),)),
    # Over grass alone nothing but the bands' ratio tells: a camera that is calibrated less well keeps it honest.
    "grass": Scenery(_GRASS, _draw_grass, domains=(Domain(camera=Camera(gain_sd=(0.06, 0.05))),)),
    "landcover": Scenery(_LAND, _draw_landcover),
    "crosscity": Scenery(_CITY, _draw_crosscity, domains=(_OLD_TOWN, _NEW_TOWN)),
    "crosscity-mild": Scenery(_CITY, _draw_crosscity, domains=(_OLD_TOWN, _NEW_TOWN_ALIKE)),
    "corpus": Scenery(_KINDS, _draw_corpus, layers=True, domains=_CORPUS),
    "allweather": Scenery(_LAND, _draw_allweather, optical="eo", sar=True, domains=(Domain(camera=Camera(parcel_sd=0.14)),)),
}


def find_scenery(name: str) -> Scenery:
    """The scenery of that name."""
    if name not in SCENERIES:
        raise UserError(f'unknown scenery "{name}"', "params.yaml: sources", suggestion(name, SCENERIES))
    return SCENERIES[name]


def draw_scene(scenery: str, seed: int, domain: str, split: str, index: int, size: int, gsd: float) -> tuple[Images, np.ndarray]:
    """Images [band, y, x] by modality and labels [y, x] of one scene; `gsd` is the source's, in metres."""
    entry = find_scenery(scenery)
    place = next(place for place in entry.domains if place.name == domain)
    return entry.draw(Key(seed, scenery, domain, split, index), place, size, gsd * place.coarser)


def estimate_bytes(source: Any) -> int:
    """An upper bound of what the rasters take on the disk."""
    entry = find_scenery(source.scenery)
    pixel = 1 + 2 * len(entry.domains[0].camera.bands) + (8 if entry.sar else 0) + (2 * len(LAYERS) if entry.layers else 0)
    count = sum(getattr(source.scenes, split) for split in SPLITS) * len(entry.domains)
    return int(1.1 * count * (pixel * source.size**2 + 4096))


def write_source(name: str, source: Any, folder: Path) -> Receipt:
    """Draw and write every scene into `folder`; the receipt still lacks the files' digests."""
    entry = find_scenery(source.scenery)
    work = list(_plan(entry, source))
    scenes = []
    with Progress(f"fetch {name}", len(work), "scenes") as bar:
        for domain, split, index in work:
            scenes.append(_write_scene(entry, source, domain, split, index, folder))
            bar.advance(1, scenes[-1].name)
    classes = tuple({"name": label, "colour": list(colour)} for label, colour in entry.classes)
    return Receipt(name, "synthetic", LICENCE, None, classes, IGNORE, _modalities(entry), CRS, tuple(scenes))


def _plan(entry: Scenery, source: Any) -> Iterator[tuple[Domain, str, int]]:
    for domain in entry.domains:
        for split in SPLITS:
            for index in range(getattr(source.scenes, split)):
                yield domain, split, index


def _write_scene(entry: Scenery, source: Any, domain: Domain, split: str, index: int, folder: Path) -> Scene:
    images, label = draw_scene(source.scenery, source.seed, domain.name, split, index, source.size, source.gsd)
    name = f"{split}-{index:03d}" if len(entry.domains) == 1 else f"{domain.name}-{split}-{index:03d}"
    place: dict[str, Any] = {"transform": scene_transform(domain, split, index, source.size, source.gsd), "crs": CRS}
    facts = _modalities(entry, domain)
    files = {modality: f"{name}/{modality}.tif" for modality in images}
    for modality, image in images.items():
        about = facts[modality]
        tags = {"modality": modality, "unit": about["unit"], "scale": str(about["scale"])}
        path = folder / files[modality]
        write_raster(path, image, **place, nodata=about["nodata"], band_names=about["bands"], tags=tags)
    names, colours = [name for name, _ in entry.classes], [colour for _, colour in entry.classes]
    where = f"{name}/label.tif"
    write_raster(folder / where, label[None], **place, nodata=IGNORE, band_names=["class"], colours=colours, class_names=names)
    return Scene(name, split, domain.name, files, where)


def scene_transform(domain: Domain, split: str, index: int, size: int, gsd: float) -> Transform:
    """Where a scene lies. It depends on nothing but the scene, so more scenes move no other."""
    pixel = gsd * domain.coarser
    pitch = 100.0 * math.ceil((size * pixel + GAP) / 100.0)
    column = SPLITS.index(split) * COLUMNS + index % COLUMNS
    left, top = domain.origin[0] + column * pitch, domain.origin[1] - (index // COLUMNS) * pitch
    return (pixel, 0.0, left, 0.0, -pixel, top)


def _modalities(entry: Scenery, domain: Domain | None = None) -> dict[str, dict[str, Any]]:
    """What the receipt says of the modalities; with a domain, as that domain's sensor has them."""
    first = domain or entry.domains[0]
    optical: dict[str, Any] = {"bands": list(first.camera.bands), "dtype": "uint16", "scale": SCALE}
    optical |= {"nodata": OPTICAL_NODATA, "unit": "reflectance"}
    others = {} if domain else {place.name: {"bands": list(place.camera.bands)} for place in entry.domains[1:]}
    result = {entry.optical: optical | ({"domains": others} if others else {})}
    if entry.sar:
        result["sar"] = {"bands": ["vv", "vh"], "dtype": "float32", "scale": 1.0, "nodata": SAR_NODATA, "unit": "dB"}
    if entry.layers:
        result["layers"] = {"bands": list(LAYERS), "dtype": "uint16", "scale": LAYER_SCALE, "nodata": None, "unit": "layer"}
    return result
