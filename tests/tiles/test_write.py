"""The store against independent readers and formulas: zarr, xarray, GDAL, numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from tile_sources import Made, Source, make_task

from georelay.files import sha256_file
from georelay.tiles.read import TileStore

GDAL = tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])


def test_zarr_reads_what_the_map_reads(made: Made) -> None:
    store = TileStore(made.path)
    with zarr.storage.ZipStore(made.path, mode="r") as opened:
        group = zarr.open_group(opened, mode="r")
        assert group.metadata.zarr_format == 3
        for name in group.array_keys():
            assert np.array_equal(group[name][...], store.array(name)), name
        assert group["optical"].chunks == (1, 2, 16, 16) and group["optical"].dtype == np.uint16


def test_xarray_sees_dimensions_coordinates_and_bands(made: Made) -> None:
    with zarr.storage.ZipStore(made.path, mode="r") as opened:
        raw = xr.open_dataset(opened, engine="zarr", consolidated=False, mask_and_scale=False)
        assert raw.optical.dims == ("tile", "optical_band", "y", "x") and raw.label.dims == ("tile", "y", "x")
        assert raw.transform.dims == ("tile", "affine")
        assert {"split", "scene", "rank", "row", "spatial_ref"} <= set(raw.label.coords)
        assert np.allclose(raw.x, 5 + 10 * np.arange(16)) and np.allclose(raw.y, -5 - 10 * np.arange(16))
        assert raw.optical.attrs["band_names"] == ["red", "nir"]
        assert raw.optical_band.attrs["flag_meanings"] == "red nir"
        assert raw.label.attrs["flag_meanings"] == "water tall_grass road"
        assert raw.split.attrs["flag_meanings"] == "train val test" and raw.label.dtype == np.uint8
        assert np.array_equal(raw.optical, TileStore(made.path).array("optical"))


def test_xarray_scales_and_masks_by_convention(source: Source, tile: Any) -> None:
    optical = np.full((2, 16, 16), 5000, np.uint16)
    optical[0, 3, 4] = 0
    source.add("a", "train", (16, 16), optical=optical)
    source.add("b", "test", (16, 16), at=(600000.0, 4e6))
    with zarr.storage.ZipStore(tile(source)[0], mode="r") as opened:
        scaled = xr.open_zarr(opened, consolidated=False).optical[0].values
    assert np.isnan(scaled[0, 3, 4]) and np.isnan(scaled).sum() == 1
    assert np.nanmin(scaled) == pytest.approx(0.5) == np.nanmax(scaled)


def test_crs_stands_in_both_conventions(made: Made) -> None:
    with zarr.storage.ZipStore(made.path, mode="r") as opened:
        group = zarr.open_group(opened, mode="r")
        cf, geozarr = group["spatial_ref"].attrs.asdict(), group.attrs.asdict()
        assert group["optical"].attrs["grid_mapping"] == "spatial_ref"
    assert rasterio.crs.CRS.from_wkt(cf["crs_wkt"]).to_epsg() == 32631
    assert [float(x) for x in cf["GeoTransform"].split()] == [0, 10, 0, 0, 0, -10]
    assert geozarr["proj:code"] == "EPSG:32631" and geozarr["spatial:transform"] == [10, 0, 0, 0, -10, 0]
    assert geozarr["spatial:dimensions"] == ["y", "x"]
    assert {entry["name"] for entry in geozarr["zarr_conventions"]} == {"proj", "spatial"}


@pytest.mark.skipif(GDAL < (3, 11), reason="GDAL knows the codec `bytes` of Zarr 3 since 3.11")
def test_gdal_reads_it(made: Made) -> None:
    with rasterio.open(f'ZARR:"/vsizip/{made.path}":/label') as raster:
        assert raster.crs.to_epsg() == 32631 and raster.transform.a == 10 and raster.nodata == 255
        assert np.array_equal(raster.read(), TileStore(made.path).array("label"))


def test_transform_puts_a_tile_on_the_ground(made: Made) -> None:
    store = TileStore(made.path)
    # Tile 3 of the val scene: second row, second column of 2 columns; 16 pixels of 10 m from the corner.
    assert (store.coordinate("row")[9], store.coordinate("col")[9]) == (16, 16)
    assert store.coordinate("transform")[9].tolist() == [10, 0, 510160, 0, -10, 3999840]


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_bytes_depend_on_nothing_but_the_input(source: Source, tile: Any, compression: str) -> None:
    source.add("a", "train", (40, 48))
    source.add("b", "test", (16, 16), at=(600000.0, 4e6))
    task = make_task(compression=compression)
    bounds = [{"workers": 1}, {"workers": 3}, {"memory_mb": 1, "workers": 40}]
    cards = [tile(source, task, **bound)[1] for bound in bounds]
    assert cards[0] == cards[1] == cards[2]
    assert cards[0]["sha256"] == sha256_file(source.folder.parent / "tiles/made.zarr.zip")


def test_invalid_pixels(source: Source, tile: Any) -> None:
    optical, sar = np.full((2, 16, 48), 7, np.uint16), np.zeros((1, 16, 48), np.float32)
    optical[1, 2, 3] = 0  # nodata in one band of one modality
    sar[0, 4, 5], sar[0, 6, 7] = -9999, np.nan
    optical[:, :, 32:] = 0  # the third tile holds nothing
    source.add("a", "train", (16, 48), optical=optical, sar=sar)
    source.add("b", "test", (16, 16), at=(600000.0, 4e6))
    path, card = tile(source)
    store = TileStore(path)
    assert len(store) == 3 and card["dropped"]["nodata"] == 1 and store.coordinate("col").tolist() == [0, 16, 0]
    assert np.argwhere(store.array("valid")[0] == 0).tolist() == [[2, 3], [4, 5], [6, 7]]
    assert store.array("valid")[1].all()
    assert sum(card["class_counts"]["train"]) == 2 * 256 - 3


def test_statistics_come_from_valid_training_pixels(source: Source, tile: Any) -> None:
    for index, (split, domain) in enumerate([("train", "source"), ("train", "target"), ("test", "target")]):
        source.add(f"s{index}", split, at=(500000.0 + 10000 * index, 4e6), domain=domain)
    source.pixels["s0"]["optical"][:, 5, 5] = 0
    hole = source.pixels["s0"]
    source.scenes.clear()
    source.add("s0", "train", optical=hole["optical"], sar=hole["sar"], label=hole["label"], domain="source")
    source.add("s1", "train", at=(510000.0, 4e6), domain="target")
    source.add("s2", "test", at=(520000.0, 4e6), domain="target")
    _, card = tile(source)
    valid = np.ones((48, 32), bool)
    valid[5, 5] = False
    first, second = hole["optical"][:, valid].astype(float), source.pixels["s1"]["optical"].reshape(2, -1).astype(float)
    both = np.concatenate([first, second], axis=1)
    facts = card["modalities"]["optical"]
    assert facts["mean"] == pytest.approx(both.mean(axis=1), rel=1e-7)
    assert facts["std"] == pytest.approx(both.std(axis=1), rel=1e-7)
    assert facts["domains"]["source"]["mean"] == pytest.approx(first.mean(axis=1), rel=1e-7)
    assert facts["domains"]["target"]["std"] == pytest.approx(second.std(axis=1), rel=1e-7)
    labels = [hole["label"][0][valid], source.pixels["s1"]["label"].ravel()]
    assert card["class_counts"]["train"] == np.bincount(np.concatenate(labels), minlength=3).tolist()
    assert card["class_counts"]["test"] == np.bincount(source.pixels["s2"]["label"].ravel(), minlength=3).tolist()


def test_a_constant_band_is_not_divided_by_zero(source: Source, tile: Any) -> None:
    source.add("a", "train", (16, 16), optical=np.full((2, 16, 16), 4000, np.uint16))
    source.add("b", "test", (16, 16), at=(600000.0, 4e6))
    facts = tile(source)[1]["modalities"]["optical"]
    assert facts["mean"] == [4000, 4000] and facts["std"] == [1, 1]


def test_unlabelled_training_tiles_stay_without_a_rank(source: Source, tile: Any) -> None:
    label = np.zeros((1, 16, 48), np.uint8)
    label[0, :, 16:32] = 255
    source.add("a", "train", (16, 48), label=label)
    source.add("b", "test", (16, 16), at=(600000.0, 4e6))
    store = TileStore(tile(source)[0])
    assert store.select("train").tolist() == [0, 1, 2] and sorted(store.select("train", budget=2)) == [0, 2]
    assert store.coordinate("rank")[1] == store.coordinate("rank")[3] == -1


def test_a_size_that_is_no_multiple_is_covered_by_shifted_tiles(source: Source, tile: Any) -> None:
    source.add("a", "train", (20, 37))
    source.add("b", "test", (16, 16), at=(600000.0, 4e6))
    store = TileStore(tile(source)[0])
    assert store.coordinate("row")[:6].tolist() == [0, 0, 0, 4, 4, 4]
    assert store.coordinate("col")[:6].tolist() == [0, 16, 21] * 2
    assert np.array_equal(store.array("sar")[5], source.pixels["a"]["sar"][:, 4:20, 21:37])


def test_a_size_that_is_no_multiple_is_filled_up_where_asked(source: Source, tile: Any) -> None:
    source.add("a", "train", (20, 37))
    source.add("b", "test", (16, 16), at=(600000.0, 4e6))
    stores = [TileStore(tile(source, make_task(edges="pad"), memory_mb=memory)[0]) for memory in (64, 1)]
    store, pixels = stores[0], source.pixels["a"]
    assert store.coordinate("row")[:6].tolist() == [0, 0, 0, 16, 16, 16]
    assert store.coordinate("col")[:6].tolist() == [0, 16, 32] * 2
    assert np.array_equal(store.array("sar")[5, :, :4, :5], pixels["sar"][:, 16:, 32:])
    assert np.array_equal(store.array("label")[5, :4, :5], pixels["label"][0, 16:, 32:])
    assert store.array("valid")[5].sum() == 4 * 5 == store.array("valid")[5, :4, :5].sum()
    assert (store.array("label")[5] != 255).sum() == 20 and not store.array("optical")[5, :, 4:].any()
    assert store.attrs["class_counts"]["train"] == np.bincount(pixels["label"].ravel(), minlength=3).tolist()


def test_what_is_left_over_is_dropped_where_asked(source: Source, tile: Any) -> None:
    source.add("a", "train", (20, 37))
    source.add("b", "test", (16, 16), at=(600000.0, 4e6))
    store = TileStore(tile(source, make_task(edges="drop"))[0])
    assert store.coordinate("row").tolist() == [0, 0, 0] and store.coordinate("col").tolist() == [0, 16, 0]
    assert np.array_equal(store.array("sar")[1], source.pixels["a"]["sar"][:, :16, 16:32])


def test_modalities_are_those_of_the_task(three_scenes: Source, tile: Any) -> None:
    path, card = tile(three_scenes, make_task(modalities=["sar"]))
    assert TileStore(path).modalities == ["sar"] == list(card["modalities"])


def test_the_card(made: Made) -> None:
    path, card = made.path, made.card
    assert card["size"] == path.stat().st_size and card["tiles"] == 18 and card["tile"] == 16
    assert card["classes"][1] == {"name": "tall grass", "colour": [40, 0, 0]} and card["ignore"] == 255
    assert card["splits"]["val"]["count"] == 6 and set(card["splits"]["val"]) == {"count", "digest"}
    store = TileStore(path)
    assert store.attrs["splits"]["val"]["tiles"] == list(range(6, 12))
    assert store.attrs["splits"]["val"]["digest"] == card["splits"]["val"]["digest"]
    ranked = {budget: store.select("train", "main", budget).tolist() for budget in (1, 3, 6)}
    assert card["labelled"]["main"]["count"] == 6 and "tested" not in card
    assert all(card["labelled"]["main"]["tiles"][:budget] == tiles for budget, tiles in ranked.items())
    assert card["scenes"] == ["train-000", "val-000", "test-000"] and card["domains"] == ["main"]


def test_scenes_with_other_pixel_sizes_count_in_pixels(source: Source, tile: Any) -> None:
    source.add("a", "train")
    source.add("b", "test", transform=(5.0, 0.0, 600000.0, 0.0, -5.0, 4e6))
    store = TileStore(tile(source)[0])
    assert store.coordinate("x")[:2].tolist() == [0.5, 1.5] and "spatial:transform" not in store.attrs
    assert store.coordinate("transform")[6, 0] == 5.0


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pictures_without_a_crs(tmp_path: Path, tile: Any) -> None:
    source = Source(tmp_path / "raw", crs=None)
    for split in ("train", "val", "test"):
        source.add(split, split, transform=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    path, card = tile(source, make_task(split=make_task(buffer=50.0).split))
    assert card["crs"] is None and card["tiles"] == 18 and "proj:code" not in TileStore(path).attrs
