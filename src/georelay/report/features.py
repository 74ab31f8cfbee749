"""Features of students and teachers at the same pixels of test tiles, seen through their two principal components.

Imports torch: this module is imported only to draw. Everything runs on the CPU, which every machine has and which gives the
same bits again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from georelay.errors import UserError
from georelay.evaluate.predict import Mapper
from georelay.files import read_json
from georelay.models.decoders.blocks import Decoder
from georelay.report.canvas import MARKERS, PLAIN, SMALL, WIDTH, blank_figure, note_figure, short_name, wrapped
from georelay.report.study import Study
from georelay.teachers.store import FeatureStore
from georelay.tiles.read import TileStore

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILES = 8  # spread over the test split
PIXELS = 80  # of each class at most: a picture of fields alone would hide rare classes
SEED = 0
MOST = 9  # students
COLUMNS = 3
SIDE = 2.9  # inches of a panel with its title


@dataclass(frozen=True)
class Sample:
    """Pixels of some tiles: the tile's place in `tiles`, row and column as parts of its side, and the true class."""

    tiles: np.ndarray
    tile: np.ndarray
    row: np.ndarray
    column: np.ndarray
    label: np.ndarray

    def of(self, maps: Tensor) -> np.ndarray:
        """The vectors [pixel, channel] of maps [tile, channel, y, x] that span the tiles."""
        height, width = maps.shape[-2:]
        rows, columns = (self.row * height).astype(int), (self.column * width).astype(int)
        vectors: np.ndarray = maps.permute(0, 2, 3, 1)[self.tile, rows, columns].double().numpy()
        return vectors


def draw(study: Study) -> Figure:
    """The figure of a study."""
    plans = {name: read_json(study.root / "results/plans" / f"{name}.json") for name in study.short[:MOST]}
    plan = next(iter(plans.values()), None)
    if plan is None or not (study.root / plan["tiles"]["path"]).is_file():
        return note_figure("no features: neither tiles nor evaluated runs are here")
    store = TileStore(study.root / plan["tiles"]["path"])
    sample = sample_pixels(store, plan)
    found = dict(_vectors(study, plans, store, sample))
    if not found or len(sample.label) < 3:
        return note_figure("no features: the weights of this study's runs are not here")
    return draw_features(found, sample.label, plan["classes"], plan["colours"])


def sample_pixels(store: TileStore, plan: Mapping[str, Any]) -> Sample:
    """As many pixels of each class as there are, up to a number, from tiles spread over the test split."""
    every = store.select("test", plan["test_domain"])
    tiles = every[np.unique(np.linspace(0, len(every) - 1, TILES).astype(int))] if len(every) else every
    labels = np.where(store.array("valid")[tiles] != 0, store.array("label")[tiles], plan["ignore"])
    generator = np.random.default_rng(SEED)
    chosen = [_some(np.flatnonzero(labels == label), generator) for label in range(len(plan["classes"]))]
    tile, row, column = np.unravel_index(np.concatenate(chosen), labels.shape)
    _, height, width = labels.shape
    return Sample(tiles, tile, (row + 0.5) / height, (column + 0.5) / width, labels[tile, row, column])


def _some(places: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.sort(generator.permutation(places)[:PIXELS])


def _vectors(
    study: Study, plans: Mapping[str, Mapping[str, Any]], store: TileStore, sample: Sample
) -> Iterator[tuple[str, np.ndarray]]:
    """Title and features of every student on these tiles whose weights are here, then of every teacher with stored maps."""
    stored: dict[str, Path] = {}
    first = next(iter(plans.values()))
    for name, plan in plans.items():
        weights = study.root / "results/runs" / name / f"seed{min(study.runs[name])}" / "model.safetensors"
        if plan["tiles"] == first["tiles"] and weights.is_file():
            stored |= {teacher: study.root / facts["path"] for teacher, facts in plan["features"].items()}
            try:
                yield short_name(name, study.name), sample.of(student_maps(plan, weights, store, sample.tiles))
            except UserError:  # weights of another plan: no reason to have no other figures
                continue
    for teacher, path in stored.items():
        if path.is_file():
            yield f"teacher {teacher}", sample.of(FeatureStore(path).read(sample.tiles)[-1].float())


def student_maps(plan: Mapping[str, Any], weights: Path, store: TileStore, tiles: np.ndarray) -> Tensor:
    """What the last convolution of a student reads of these tiles; of several decoders all of it."""
    settings = plan["settings"] | {"train": plan["settings"]["train"] | {"device": "cpu"}}
    mapper = Mapper.open({**plan, "settings": settings}, weights)
    read: list[Tensor] = []
    for module in mapper.student.modules():
        if isinstance(module, Decoder):
            module.classify.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    images = [torch.from_numpy(store.array(modality.name)[tiles].astype(np.float32)) for modality in mapper.shown]
    valid = torch.from_numpy(store.array("valid")[tiles] != 0).unsqueeze(1)
    mapper.probabilities([([image[place] for image in images], valid[place]) for place in range(len(tiles))])
    return torch.cat(read, dim=1).float()


def principal(vectors: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two components [pixel, 2], in units of the first one's spread, and the shares of variance they hold.

    A component's sign is free: the class that comes first in the list lies to the left and below.
    """
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    components = left[:, :2] * sizes[:2]
    signs = np.where(components[labels == labels.min()].mean(axis=0) > 0, -1.0, 1.0)
    return components * signs / (components[:, 0].std() or 1.0), sizes[:2] ** 2 / (np.sum(sizes**2) or 1.0)


def draw_features(
    vectors: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str], colours: Sequence[Sequence[int]]
) -> Figure:
    """A scatter plot each, and one legend."""
    lines = -(-len(vectors) // COLUMNS)
    figure = blank_figure(lines * SIDE + 0.35)
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    for axes, (title, each) in zip(grid.flat, vectors.items(), strict=False):
        points, shares = principal(each, labels)
        scatter(axes, points, labels, classes, colours)
        name, held = wrapped(title, WIDTH / COLUMNS - 0.3), " + ".join(f"{100 * share:.0f} %" for share in shares)
        axes.set_title(f"{name}\n{held} of variance", fontsize=PLAIN, loc="left")
    for axes in grid.flat[len(vectors) :]:
        axes.set_visible(False)
    signs = grid.flat[0].get_legend_handles_labels()
    figure.legend(*signs, loc="outside lower left", ncols=min(8, len(classes)), fontsize=SMALL, frameon=False, markerscale=1.4)
    return figure


def scatter(axes: Axes, points: np.ndarray, labels: np.ndarray, classes: Sequence[str], colours: Sequence[Sequence[int]]) -> None:
    """Pixels by their class, which has a colour and a marker."""
    for label in np.unique(labels):
        here, colour = labels == label, tuple(value / 255 for value in colours[label])
        facts = {"marker": MARKERS[label % len(MARKERS)], "label": classes[label], "markeredgewidth": 0.4}
        axes.plot(*points[here].T, linestyle="", markersize=4, color=colour, markeredgecolor="0.2", alpha=0.85, **facts)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel("first component", fontsize=SMALL)
    axes.set_ylabel("second", fontsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
