"""How often intervals hold the truth, and p-values call nothing something, in studies whose truth is known.

A study is a parent and four rows, none of which has any effect: a method changes what is right in a scene, a seed what is right
in all scenes, and both together in one scene, each by chance and by nothing in the mean. Two classes of equal size; standard
deviations are those of the difference of two rows, in points of mIoU, about as large as in the default run. The last line is
one JSON object.
"""

from __future__ import annotations

import json
import math
from typing import NamedTuple

import numpy as np

from georelay.evaluate.confusion import mean_iou
from georelay.evaluate.statistics import holm, paired_difference, paired_t_test

STUDIES, ROWS, RESAMPLES = 500, 4, 500
SEEDS, SCENES = (1, 3, 5), (4, 32)
RIGHT, PIXELS = 0.75, 100_000
SLOPE = 2 / (2 - RIGHT) ** 2  # of mIoU = right / (2 - right), at RIGHT


class World(NamedTuple):
    """What differences vary by."""

    seed: float
    scene: float
    both: float


WORLDS = {"seeds vary most": World(1.7, 2, 3), "alike": World(0.5, 4, 2.5), "scenes vary most": World(0.2, 6, 2)}


def row(world: World, seeds: int, scenes: int, generator: np.random.Generator) -> dict[int, np.ndarray]:
    """Confusions [scene, truth, predicted] of a row by seed."""
    seed, scene, both = (spread / 100 / SLOPE / math.sqrt(2) for spread in world)
    right = RIGHT + generator.normal(0, scene, scenes) + generator.normal(0, seed, (seeds, 1))
    hits = np.rint(PIXELS * np.clip(right + generator.normal(0, both, (seeds, scenes)), 0, 1)).astype(np.int64)
    cells = np.stack([np.stack([hits, PIXELS - hits], -1), np.stack([PIXELS - hits, hits], -1)], -2)
    return dict(enumerate(cells))


def study(world: World, seeds: int, scenes: int, number: int) -> tuple[list[bool], list[float], list[float]]:
    """Of each row, whether its interval holds the truth, which is zero, its p-value, and that of a test over seeds alone."""
    generator = np.random.default_rng(number)
    parent, *rows = (row(world, seeds, scenes, generator) for _ in range(1 + ROWS))
    found = [paired_difference(each, parent, RESAMPLES, number) for each in rows]
    by_seed = [np.array([mean_iou(each[s].sum(0)) - mean_iou(parent[s].sum(0)) for s in each]) for each in rows]
    return [each.low <= 0 <= each.high for each in found], [each.p for each in found], [paired_t_test(each) for each in by_seed]


def measured(world: World, seeds: int, scenes: int) -> dict[str, float]:
    """Shares of comparisons, and of studies in which any row is wrongly told apart, in percent."""
    studies = (study(world, seeds, scenes, number) for number in range(STUDIES))
    holds, p, over_seeds = (np.array(each) for each in zip(*studies, strict=True))
    sure, given = (np.array([holm(each) for each in values.tolist()]) < 0.05 for values in (p, over_seeds))
    shares = {"covered": holds, "p": p < 0.05, "studies_p_holm": sure.any(1), "studies_p_holm_over_seeds": given.any(1)}
    return {name: round(100 * float(share.mean()), 1) for name, share in shares.items()}


def main() -> None:
    cells = [(name, seeds, scenes) for name in WORLDS for scenes in SCENES for seeds in SEEDS]
    found = []
    for name, seeds, scenes in cells:
        found.append({"world": name, "seeds": seeds, "scenes": scenes, **measured(WORLDS[name], seeds, scenes)})
        print(found[-1], flush=True)
    print(json.dumps({"studies": STUDIES, "comparisons": STUDIES * ROWS, "cells": found}))


if __name__ == "__main__":
    main()
