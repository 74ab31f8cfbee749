"""Process seconds per 512 x 512 piece of a scene, best of a few; prints one JSON object."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from georelay.geo.raster import read_window, write_raster
from georelay.sources.synthetic.layout import Layout
from georelay.sources.synthetic.noise import stream
from georelay.sources.synthetic.scenes import SCENERIES, draw_scene
from georelay.sources.synthetic.sensors import Camera, Radar, photograph, scan
from georelay.sources.synthetic.world import draw_world

SIZE = 512
ROUNDS = 4


def seconds(work: Callable[[int], Any]) -> float:
    best = float("inf")
    for round_ in range(ROUNDS):
        start = time.process_time()
        work(round_)
        best = min(best, time.process_time() - start)
    return round(best, 4)


def main() -> None:
    world = draw_world(stream(0, "world"), SIZE, 1.0, Layout())
    image = photograph(stream(0, "optical"), world, Camera())
    place = {"transform": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), "crs": "EPSG:32631", "nodata": 0}
    result = {
        "size": SIZE,
        "world": seconds(lambda k: draw_world(stream(k, "world"), SIZE, 1.0, Layout())),
        "optical": seconds(lambda k: photograph(stream(k, "optical"), world, Camera())),
        "sar": seconds(lambda k: scan(stream(k, "sar"), world, Radar())),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.tif"
        result["write"] = seconds(lambda k: write_raster(path, image, **place))
        result["read"] = seconds(lambda k: read_window(path, 0, 0, SIZE, SIZE))
    pixel = {"clouds": 10.0, "grass": 10.0}
    for name, entry in SCENERIES.items():
        domain, gsd = entry.domains[0].name, pixel.get(name, 1.0)
        result[f"scene_{name}_256"] = seconds(lambda k, n=name, d=domain, g=gsd: draw_scene(n, 0, d, "train", k, 256, g))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
