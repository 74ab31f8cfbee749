from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioIOError

from georelay.errors import UserError
from georelay.geo import raster as raster_module
from georelay.geo.raster import open_grid, read_tags, read_window, write_cog, write_raster

TRANSFORM = (2.0, 0.0, 500_000.0, 0.0, -2.0, 5_000_000.0)
PLACE = {"transform": TRANSFORM, "crs": "EPSG:32631"}
COLOURS = [(1, 2, 3), (40, 50, 60)]


@pytest.fixture
def image() -> np.ndarray:
    return np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30) + 1


def test_what_was_written_is_read(tmp_path: Path, image: np.ndarray) -> None:
    path = tmp_path / "deep" / "a.tif"
    write_raster(path, image, **PLACE, nodata=0, band_names=["red", "green", "blue"], tags={"unit": "reflectance"})
    grid = open_grid(path)
    assert (grid.height, grid.width, grid.count, grid.dtype, grid.nodata) == (20, 30, 3, "uint16", 0.0)
    assert (grid.transform, grid.crs) == (TRANSFORM, "EPSG:32631")
    window = read_window(path, 3, 4, 5, 6)
    assert window.tolist() == image[:, 3:8, 4:10].tolist()
    assert read_tags(path)["unit"] == "reflectance"
    with rasterio.open(path) as raster:
        assert raster.descriptions == ("red", "green", "blue")


def test_floats_survive_to_the_bit_and_large_rasters_are_tiled(tmp_path: Path) -> None:
    path = tmp_path / "sar.tif"
    values = np.random.default_rng(0).normal(size=(1, 1030, 40)).astype(np.float32)
    write_raster(path, values, **PLACE, nodata=-9999.0)
    assert read_window(path, 0, 0, 1030, 40).tobytes() == values.tobytes()
    with rasterio.open(path) as raster:
        assert raster.block_shapes == [(256, 256)]


def test_same_content_same_bytes(tmp_path: Path, image: np.ndarray) -> None:
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path in paths:
        write_raster(path, image, **PLACE, nodata=0)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    write_raster(paths[1], image + 1, **PLACE, nodata=0)
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_labels_carry_colours_and_class_names(tmp_path: Path) -> None:
    path = tmp_path / "label.tif"
    labels = np.array([[[0, 1, 255]]], np.uint8)
    write_raster(path, labels, **PLACE, nodata=255, colours=COLOURS, class_names=["bare", "low vegetation"])
    with rasterio.open(path) as raster:
        table = raster.colormap(1)
        assert (table[0], table[1], table[255]) == ((1, 2, 3, 255), (40, 50, 60, 255), (0, 0, 0, 0))
    assert read_tags(path)["class_1"] == "low vegetation"


def test_a_map_is_a_cog_whose_overviews_hold_classes(tmp_path: Path) -> None:
    path, again = tmp_path / "map.tif", tmp_path / "again.tif"
    labels = np.zeros((1024, 1024), np.uint8)
    labels[:, ::4] = 1  # a mean would give neither 0 nor 1
    labels[:64] = 255
    for target in (path, again):
        write_cog(target, labels, **PLACE, nodata=255, colours=COLOURS, class_names=["a", "b"])
    assert path.read_bytes() == again.read_bytes()
    assert read_window(path, 0, 0, 1024, 1024)[0].tolist() == labels.tolist()
    with rasterio.open(path) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.overviews(1) == [2, 4]
        small = raster.read(1, out_shape=(512, 512))
        assert set(np.unique(small)) <= {0, 1, 255}
        assert raster.colormap(1)[1] == (40, 50, 60, 255)
        assert raster.nodata == 255
    assert read_tags(path)["class_0"] == "a"


def test_numbers_are_a_cog_whose_overviews_hold_means_and_skip_what_is_missing(tmp_path: Path) -> None:
    path, values = tmp_path / "share.tif", np.zeros((512, 512), np.uint8)
    values[:, 1::2] = 100
    values[:2] = 255
    write_cog(path, values, **PLACE, nodata=255, band="share", scale=0.01)
    assert read_window(path, 0, 0, 512, 512)[0].tolist() == values.tolist()
    with rasterio.open(path) as raster:
        assert (raster.overviews(1), raster.scales, raster.descriptions) == ([2], (0.01,), ("share",))
        small = raster.read(1, out_shape=(256, 256))
        assert (small[0] == 255).all() and (small[1:] == 50).all()
        assert raster.colorinterp[0].name == "gray"


@pytest.mark.parametrize("keep", [0.5, 0.01])
def test_a_truncated_file_is_named(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.tif"
    write_raster(path, np.random.default_rng(0).integers(1, 9999, (4, 64, 64), np.uint16), **PLACE, nodata=0)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match=r"cut\.tif") as caught:
        read_window(path, 0, 0, 64, 64)
    assert "cut short" in str(caught.value)


def test_missing_files_and_windows_outside_are_named(tmp_path: Path, image: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"none\.tif.*missing"):
        open_grid(tmp_path / "none.tif")
    path = tmp_path / "a.tif"
    write_raster(path, image, **PLACE, nodata=0)
    for window in ((0, 0, 21, 30), (-1, 0, 5, 5), (0, 26, 5, 5)):
        with pytest.raises(UserError, match=r"a\.tif.*20 x 30 pixels"):
            read_window(path, *window)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    write_raster(path, image, **PLACE, nodata=0)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise RasterioIOError("no space left")

    monkeypatch.setattr(raster_module, "_describe", full)
    with pytest.raises(UserError, match=r"a\.tif: cannot be written \(no space left\)"):
        write_raster(path, image + 1, **PLACE, nodata=0)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


def test_a_picture_without_georeference_has_no_crs(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    write_raster(path, np.ones((1, 4, 4), np.uint8), transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0), crs=None, nodata=None)
    grid = open_grid(path)
    assert (grid.crs, grid.nodata, grid.gsd) == (None, None, 1.0)


def test_label_and_image_of_other_places_are_told_apart(tmp_path: Path) -> None:
    pixels = np.ones((1, 8, 8), np.uint8)
    write_raster(tmp_path / "a.tif", pixels, **PLACE, nodata=0)
    write_raster(tmp_path / "b.tif", pixels, transform=TRANSFORM, crs="EPSG:32632", nodata=0)
    write_raster(tmp_path / "c.tif", pixels[:, :7], **PLACE, nodata=0)
    a, b, c = (open_grid(tmp_path / f"{name}.tif") for name in "abc")
    assert a.same_as(a)
    assert "EPSG:32632" in a.difference(b)
    assert "8 x 7" in a.difference(c)
