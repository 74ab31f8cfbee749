"""Polygons as labels: burnt where their corners say, in the image's own CRS, and told apart by a column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_files import SOURCE
from pyogrio.raw import read, write
from rasterio.warp import transform as carried

from georelay.errors import UserError
from georelay.geo.raster import open_grid, read_window, write_raster
from georelay.geo.vector import read_shapes
from georelay.reading import validated
from georelay.settings.data import Folder
from georelay.sources.catalog import fetch_source
from georelay.sources.encoding import check_encoding

SIDE, PIXEL, LEFT, TOP = 16, 10.0, 500_000.0, 4_000_000.0
PLAIN = {key: value for key, value in SOURCE.items() if key not in ("splits", "images", "labels", "classes")}
THREE = [
    {"name": "ground", "colour": [0, 0, 0], "value": "none"},
    {"name": "house", "colour": [255, 0, 0], "value": "house", "also": ["shed"]},
    {"name": "road", "colour": [0, 0, 255], "value": 7},
]


def settings(folder: Path, **changes: Any) -> Folder:
    facts = {"path": str(folder), "images": "images/*.tif", "labels": "labels/*.geojson", "labels_as": "polygons", "splits": None}
    classes = THREE if "attribute" in changes else THREE[:2]
    entries = (
        classes if "attribute" in changes else [{k: v for k, v in entry.items() if k in ("name", "colour")} for entry in classes]
    )
    checked: Folder = validated(Folder, PLAIN | facts | {"classes": entries} | changes, "demo")
    return checked


def ring(scene: int, rows: tuple[float, float], columns: tuple[float, float], degrees: bool = False) -> list[list[float]]:
    """A rectangle of rows and columns of a scene's pixels."""
    left, (top, bottom), (west, east) = LEFT + 1000 * scene, rows, columns
    xs = [left + PIXEL * column for column in (west, east, east, west, west)]
    ys = [TOP - PIXEL * row for row in (top, top, bottom, bottom, top)]
    if degrees:
        xs, ys = carried("EPSG:32631", "EPSG:4326", xs, ys)
    return [list(point) for point in zip(xs, ys, strict=True)]


def save(path: Path, shapes: list[tuple[dict[str, Any], Any]], crs: str | None = "urn:ogc:def:crs:EPSG::32631") -> None:
    features = [{"type": "Feature", "properties": facts, "geometry": shape} for facts, shape in shapes]
    about = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **about}))


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for scene in (0, 1):
        place = (PIXEL, 0.0, LEFT + 1000 * scene, 0.0, -PIXEL, TOP)
        image = np.full((3, SIDE, SIDE), scene, np.uint8)
        write_raster(tmp_path / f"files/images/s{scene}.tif", image, transform=place, crs="EPSG:32631", nodata=None)
    return tmp_path / "files"


def labels(folder: Path, source: Folder) -> list[np.ndarray]:
    receipt = fetch_source("demo", source, folder.parent)
    paths = [folder.parent / "demo" / scene.label for scene in receipt.scenes]
    assert all(open_grid(path).crs == "EPSG:32631" for path in paths)
    return [read_window(path, 0, 0, SIDE, SIDE)[0] for path in paths]


def boxes(*given: tuple[slice, slice, int]) -> np.ndarray:
    expected = np.zeros((SIDE, SIDE), np.uint8)
    for rows, columns, value in given:
        expected[rows, columns] = value
    return expected


@pytest.mark.parametrize("degrees", [False, True])
def test_a_file_a_scene_in_its_own_crs(folder: Path, degrees: bool) -> None:
    """A GeoJSON that names no CRS is in degrees; a hole is outside, and no shape at all is outside everywhere."""
    crs = None if degrees else "urn:ogc:def:crs:EPSG::32631"
    shape = polygon(ring(0, (2, 8), (3, 9), degrees), ring(0, (4, 6), (5, 7), degrees))
    save(folder / "labels/s0.geojson", [({}, shape), ({}, None)], crs)
    save(folder / "labels/s1.geojson", [], crs)
    first, second = labels(folder, settings(folder))
    assert np.array_equal(first, boxes((slice(2, 8), slice(3, 9), 1), (slice(4, 6), slice(5, 7), 0)))
    assert not second.any()


def test_pixels_that_are_touched(folder: Path) -> None:
    for scene in (0, 1):
        save(folder / f"labels/s{scene}.geojson", [({}, polygon(ring(scene, (2.6, 8.4), (3.6, 9.4))))])
    assert np.array_equal(labels(folder, settings(folder))[0], boxes((slice(3, 8), slice(4, 9), 1)))
    assert np.array_equal(labels(folder, settings(folder, all_touched=True))[1], boxes((slice(2, 9), slice(3, 10), 1)))


@pytest.mark.parametrize("ending", ["gpkg", "shp", "geojson"])
def test_one_file_for_all_scenes(folder: Path, ending: str) -> None:
    several = {"type": "MultiPolygon", "coordinates": [[ring(0, (0, 2), (0, 2))], [ring(1, (10, 16), (10, 16))]]}
    save(folder / "all.geojson", [({"n": 1}, several), ({"n": 2}, polygon(ring(1, (4, 5), (0, 16))))])
    if ending != "geojson":
        meta, _, shapes, values = read(folder / "all.geojson")
        write(
            folder / f"all.{ending}",
            shapes,
            values,
            meta["fields"],
            geometry_type="MultiPolygon",
            crs=meta["crs"],
            promote_to_multi=True,
        )
    first, second = labels(folder, settings(folder, labels=f"all.{ending}"))
    assert np.array_equal(first, boxes((slice(0, 2), slice(0, 2), 1)))
    assert np.array_equal(second, boxes((slice(10, 16), slice(10, 16), 1), (slice(4, 5), slice(0, 16), 1)))


def test_a_column_tells_the_class_and_the_last_shape_counts(folder: Path) -> None:
    kinds = [("house", (0, 8)), ("shed", (8, 12)), (7, (6, 10))]
    save(folder / "all.geojson", [({"kind": str(kind)}, polygon(ring(0, rows, (0, 16)))) for kind, rows in kinds])
    first, second = labels(folder, settings(folder, labels="all.geojson", attribute="kind", outside="ignore"))
    expected = np.full((SIDE, SIDE), 255, np.uint8)
    expected[:6], expected[6:10], expected[10:12] = 1, 2, 1
    assert np.array_equal(first, expected) and (second == 255).all()


def test_numbers_with_gaps_and_what_others_are(folder: Path) -> None:
    shapes = [({"n": n}, polygon(ring(0, (row, row + 1), (0, 16)))) for row, n in enumerate((7, None, 9))]
    save(folder / "all.geojson", shapes)
    with pytest.raises(UserError, match='column "n" holds nothing, 9, which no class has'):
        labels(folder, settings(folder, labels="all.geojson", attribute="n"))
    found = labels(folder, settings(folder, labels="all.geojson", attribute="n", others="ignore"))[0]
    assert found[:4, 0].tolist() == [2, 255, 255, 0]


def spoil_crs(folder: Path) -> None:
    for path in folder.glob("images/*.tif"):
        write_raster(path, np.zeros((3, SIDE, SIDE), np.uint8), transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0), crs=None, nodata=None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attribute": "kidn"}, 'has no column "kidn"'),
        ({"inside": "hose"}, 'inside: "hose" is no class'),
        ({"attribute": "kind", "inside": "house"}, "inside: is of no use with an `attribute`"),
        ({"labels_as": "index", "all_touched": True}, "all_touched: is of no use with `labels_as: index`"),
        ({"labels_as": "index", "classes": [THREE[0], THREE[2]]}, '"none" cannot be in labels as index'),
        ({"labels": "broken.gpkg"}, "cannot be used"),
        ({"labels": "nothing.gpkg"}, "label file is missing"),
    ],
)
def test_settings_that_do_not_fit(folder: Path, changes: dict[str, Any], words: str) -> None:
    (folder / "broken.gpkg").write_text("no")
    save(folder / "all.geojson", [({"kind": "house"}, polygon(ring(0, (0, 2), (0, 2))))])
    with pytest.raises(UserError) as caught:
        source = settings(folder, **{"labels": "all.geojson"} | changes)
        check_encoding(source, "demo")
        labels(folder, source)
    assert words in str(caught.value)


def test_images_that_lie_nowhere_take_no_polygons(folder: Path) -> None:
    save(folder / "all.geojson", [({}, polygon(ring(0, (0, 2), (0, 2))))])
    spoil_crs(folder)
    with pytest.raises(UserError, match="has no CRS, and polygons cannot be laid on it"):
        labels(folder, settings(folder, labels="all.geojson"))


def test_lines_points_and_collections_are_burnt_too(folder: Path) -> None:
    centre = [LEFT + 4.5 * PIXEL, TOP - 12.5 * PIXEL]
    line = {"type": "LineString", "coordinates": [[LEFT, TOP - 35], [LEFT + 160, TOP - 35]]}
    shapes = [line, {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": centre}]}]
    save(folder / "all.geojson", [({}, shape) for shape in shapes])
    first, _ = labels(folder, settings(folder, labels="all.geojson"))
    assert np.array_equal(first, boxes((slice(3, 4), slice(0, 16), 1), (slice(12, 13), slice(4, 5), 1)))


@pytest.fixture(autouse=True)
def forget() -> None:
    read_shapes.cache_clear()
