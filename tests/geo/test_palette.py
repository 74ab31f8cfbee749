from __future__ import annotations

import numpy as np

from georelay.geo.palette import colour_table, colourise

COLOURS = [(255, 0, 0), (0, 255, 0)]


def test_classes_get_their_colours_and_the_rest_is_black() -> None:
    picture = colourise(np.array([[0, 1], [7, 255]], np.uint8), COLOURS, ignore=255)
    assert picture.tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 0], [0, 0, 0]]]
    assert picture.dtype == np.uint8


def test_nodata_is_transparent_in_the_table() -> None:
    assert colour_table(COLOURS, 255) == {0: (255, 0, 0, 255), 1: (0, 255, 0, 255), 255: (0, 0, 0, 0)}
    assert 255 not in colour_table(COLOURS, None)
