"""What the public semi-supervised code makes of one sample, step by step, from its seeds: our functions, its draws.

Pillow's bytes are met bit by bit when ours are given bytes. In training ours are given floats, which are not rounded after
each step: then what they make lies as far away as roundings of one level in 255 can carry it, and each bound says how far.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from georelay.batches import streams
from georelay.batches.cutmix import draw_cutmix
from georelay.batches.jitter import PASSES, box_radius, jittered, running_mean
from georelay.batches.modality import Modality
from georelay.batches.rescale import Rescale
from invented import AUGMENT

DATA = Path(__file__).parent / "data"
GEOMETRY, ITEMS = (dict(np.load(DATA / f"mtdf_{name}.npz")) for name in ("augment_geom", "dataset_items"))
SEEDS = (0, 3, 7, 8, 22, 28)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RGB = Modality(
    "optical", ("red", "green", "blue"), "reflectance", 1 / 255, None, tuple(255 * m for m in MEAN), tuple(255 * s for s in STD)
)
CROP, IGNORED = 28, 255
STRONG: dict[str, Any] = {
    "white": 1.0,
    "jitter": {"chance": 0.8, "brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.25},
    "grey": 0.2,
    "blur": {"chance": 0.5, "sigma": [0.1, 2.0]},
}
BOXES: dict[str, Any] = {"probability": 0.5, "area": (0.02, 0.4), "ratio": (0.3, 1 / 0.3)}


class Draws:
    """The three generators there: Python's for chances and geometry, NumPy's old one for boxes and blur, torch's for colours."""

    def __init__(self, seed: int) -> None:
        self.python, numbers, self.torch = random.Random(seed), np.random.RandomState(seed), torch.Generator().manual_seed(seed)
        self.random, self.uniform, self.integers = self.python.random, numbers.uniform, numbers.randint

    def geometry(self, height: int, width: int, side: int) -> Rescale:
        tile = max(height, width)
        long = self.python.randint(int(0.5 * tile), int(2.0 * tile))
        across, down = (int(count * long / tile + 0.5) for count in (width, height))
        left, top = (self.python.randint(0, max(count, side) - side) for count in (across, down))
        flip = self.random() < 0.5
        return Rescale(tile, side, *(np.array([number]) for number in (long, top, left, flip, 0)))

    def strong(self) -> Given:
        """The numbers of one strong view in the order in which ours asks for them."""
        gate, order, factors = self.random(), torch.arange(4), [1.0, 1.0, 1.0, 0.0]
        if gate < 0.8:
            order = torch.randperm(4, generator=self.torch)
            factors = [self._factor(*bounds) for bounds in ((0.5, 1.5), (0.5, 1.5), (0.5, 1.5), (-0.25, 0.25))]
        grey, blur = torch.rand(1, generator=self.torch).item(), self.random()
        sigma = self.uniform(0.1, 2.0) if blur < 0.5 else 1.0
        return Given([gate, grey, blur], [*factors, sigma], order.numpy())

    def _factor(self, low: float, high: float) -> float:
        return torch.empty(1).uniform_(low, high, generator=self.torch).item()


class Given:
    """A generator whose answers are given."""

    def __init__(self, chances: list[float], numbers: list[float], order: np.ndarray) -> None:
        self.chances, self.numbers, self.order = iter(chances), iter(numbers), order

    def random(self, size: int) -> np.ndarray:
        return np.full(size, next(self.chances))

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:
        number = next(self.numbers)
        return np.full(size, number)

    def permutation(self, count: int) -> np.ndarray:
        return self.order


def as_maps(array: np.ndarray) -> Tensor:
    """A picture (H, W, C) or a mask (H, W) as (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(array.reshape(*array.shape[:2], -1).transpose(2, 0, 1)))[None]


def normalised(image: Tensor) -> Tensor:
    return RGB.normalised(image.float(), torch.tensor(True))


def masked(geometry: Rescale, label: np.ndarray, ignored: int) -> Tensor:
    """A label as a stream makes it: ignored where nothing of the tile lies."""
    label_, inside = (geometry.apply(as_maps(array), nearest=True)[0, 0] for array in (label, np.ones_like(label)))
    return torch.where(inside == 1, label_, ignored)


@pytest.mark.parametrize("case", range(5))
def test_resized_padded_cut_and_mirrored(case: int) -> None:
    seed, side, ignored = GEOMETRY["params"][case].tolist()
    geometry = Draws(seed).geometry(*GEOMETRY["mask"].shape, side)
    assert int(geometry.long[0]) == GEOMETRY[f"resized_wh{case}"].max()
    image = geometry.apply(as_maps(GEOMETRY["image"]))
    assert np.array_equal(image[0].permute(1, 2, 0), GEOMETRY[f"img{case}"])
    assert np.array_equal(masked(geometry, GEOMETRY["mask"], ignored), GEOMETRY[f"mask{case}"])
    values = normalised(image).double()
    np.testing.assert_allclose([values.mean(), values.std()], GEOMETRY[f"norm_mean_std{case}"], atol=1e-5)


def labels() -> dict[str, np.ndarray]:
    """What the three readers make of the raw values."""
    raw = ITEMS["loveda_raw"]
    return {"loveda": raw - np.uint8(1), "deepglobe": raw.clip(max=6), "Potsdam": raw}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dataset", ["loveda", "deepglobe", "Potsdam"])
def test_labelled_items(dataset: str, seed: int) -> None:
    label = labels()[dataset]
    geometry = Draws(seed).geometry(*label.shape, CROP)
    image = normalised(geometry.apply(as_maps(ITEMS["image"])))[0]
    np.testing.assert_allclose(image, ITEMS[f"{dataset}_l_seed{seed}_img"], atol=1e-5)
    assert np.array_equal(masked(geometry, label, IGNORED), ITEMS[f"{dataset}_l_seed{seed}_mask"])


def levels(found: Tensor, recorded: np.ndarray) -> np.ndarray:
    """The distance of two normalised pictures in levels of 255."""
    distance: np.ndarray = np.abs(found.numpy() - recorded) * 255 * np.array(STD).reshape(3, 1, 1)
    return distance


@pytest.mark.parametrize("seed", SEEDS)
def test_unlabelled_items(seed: int) -> None:
    """Strong views take up to nine roundings there, and colours turn in whole 256ths of the circle; unrounded they are 1.6
    levels away on average at most. Where nothing is rounded nothing differs.
    """
    draws = Draws(seed)
    geometry = draws.geometry(*ITEMS["image"].shape[:2], CROP)
    weak = normalised(geometry.apply(as_maps(ITEMS["image"])))
    np.testing.assert_allclose(weak[0], ITEMS[f"u_seed{seed}_weak"], atol=1e-5)
    nothing = np.zeros_like(ITEMS["loveda_raw"])
    assert np.array_equal(masked(geometry, nothing, IGNORED), ITEMS[f"u_seed{seed}_ignore"])
    for view in (1, 2):
        given, recorded = draws.strong(), ITEMS[f"u_seed{seed}_s{view}"]
        strong = jittered(weak, RGB, STRONG, given, 1, slice(None))[0]  # type: ignore[arg-type]
        (box,) = draw_cutmix(draws, 1, CROP, **BOXES).boxes.tolist()  # type: ignore[arg-type]
        distance = levels(strong, recorded)
        assert distance.mean() < 1.6 and distance.max() < 11
        if torch.equal(strong, weak[0]):
            np.testing.assert_allclose(strong, recorded, atol=1e-5)
        mask = np.zeros((CROP, CROP))
        mask[box[0] : box[1], box[2] : box[3]] = 1
        assert np.array_equal(mask, ITEMS[f"u_seed{seed}_box{view}"])


def test_blur() -> None:
    """Rounded after each running mean ours is Pillow's, bit by bit; unrounded it is within two levels."""
    sigma = torch.tensor([float(GEOMETRY["blur_sigma_seed_np3"])], dtype=torch.float64)
    assert sigma.item() == Draws(3).uniform(0.1, 2.0)
    rounded = plain = as_maps(GEOMETRY["image"]).double()
    for axis in (-1, -2):
        for _ in range(PASSES):
            rounded = (running_mean(rounded, box_radius(sigma), 2, axis) + 0.5).floor()
            plain = running_mean(plain, box_radius(sigma), 2, axis)
    recorded = as_maps(GEOMETRY["blur_seed_np3"])
    assert torch.equal(rounded, recorded.double())
    assert (plain - recorded).abs().max() < 2


class OneTile:
    """A store of one tile."""

    def __init__(self) -> None:
        image, label = ITEMS["image"].transpose(2, 0, 1), labels()["loveda"]
        self.arrays = {"optical": image[None], "label": label[None], "valid": np.ones_like(label)[None]}

    def array(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def select(self, split: str, domain: str | None = None, budget: int | None = None) -> np.ndarray:
        return np.zeros(1, dtype=int)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stream_makes_the_item_of_floats(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding is black and ignored; values are a level away at most, for two roundings there and none here."""
    monkeypatch.setattr(streams, "draw_move", lambda *_: Draws(seed).geometry(*ITEMS["loveda_raw"].shape, CROP))
    augment = AUGMENT | {"scaling": "image", "padding": "black", "crop": CROP}
    tiles = streams.Tiles(OneTile(), np.zeros(1, dtype=int), [RGB], 1, IGNORED)
    batch = streams.Stream("labelled", tiles, augment, {}, seed=0, batch=1).batch(0, 0, 1)
    assert np.array_equal(batch.label[0], ITEMS[f"loveda_l_seed{seed}_mask"])
    assert np.array_equal(~batch.valid[0], ITEMS[f"u_seed{seed}_ignore"] == IGNORED)
    assert levels(batch.image[0], ITEMS[f"loveda_l_seed{seed}_img"]).max() < 1.01
