from __future__ import annotations

from dataclasses import replace

import pytest

from georelay.geo.grid import Grid

GRID = Grid(100, 200, (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), "EPSG:32631", 3, "uint16", 0.0)


def test_corners_of_a_north_up_grid() -> None:
    assert GRID.gsd == 10
    assert GRID.bounds == (500_000.0, 4_999_000.0, 502_000.0, 5_000_000.0)
    assert GRID.point(1, 2) == (500_020.0, 4_999_990.0)


def test_bounds_and_pixel_size_of_a_turned_grid() -> None:
    # Turned by the 3-4-5 triangle, pixels of 5 m: columns run along (4, 3), rows along (3, -4).
    turned = replace(GRID, height=1, width=2, transform=(4.0, 3.0, 0.0, 3.0, -4.0, 0.0))
    assert turned.gsd == 5
    assert turned.bounds == (0.0, -4.0, 11.0, 6.0)


def test_a_window_starts_where_its_first_pixel_lies() -> None:
    window = GRID.window_transform(30, 40)
    assert window == (10.0, 0.0, 500_400.0, 0.0, -10.0, 4_999_700.0)
    assert replace(GRID, transform=window).point(5, 6) == GRID.point(35, 46)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"height": 99}, "size"),
        ({"crs": "EPSG:32632"}, "CRS"),
        ({"crs": None}, "CRS"),
        ({"transform": (10.0, 0.0, 500_001.0, 0.0, -10.0, 5_000_000.0)}, "transform"),
        ({"transform": (10.001, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)}, "transform"),
    ],
)
def test_what_differs_is_said(change: dict[str, object], word: str) -> None:
    other = replace(GRID, **change)  # type: ignore[arg-type]
    assert not GRID.same_as(other)
    assert GRID.difference(other).startswith(word)


def test_rounding_and_bands_do_not_make_another_grid() -> None:
    other = replace(GRID, transform=(10.0, 0.0, 500_000.000001, 0.0, -10.0, 5_000_000.0), count=1, dtype="uint8")
    assert GRID.same_as(other)
