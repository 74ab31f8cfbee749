"""Scores of the public code of UniMatch V2 and RS-MTDF: whole images at a multiple of 14, windows, and the test scripts'.

The recorded network is one 3 x 3 convolution, so that what is held here is everything around a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from recorded import DATA
from torch import Tensor
from torch.nn import functional as F

from georelay.evaluate.as_published import published_scores
from georelay.evaluate.confusion import count_confusion, count_pixels
from georelay.evaluate.predict import predict_at_multiple
from georelay.evaluate.scores import Scores
from georelay.evaluate.stitch import Corner, blend

IGNORE, WINDOW = 255, 28
ARRAYS: Mapping[str, np.ndarray] = dict(np.load(DATA / "mtdf_eval_metrics.npz"))


class Recorded:
    """A student whose logits are those of every pixel."""

    stride = 1

    def __init__(self, classes: int) -> None:
        self.weight, self.bias = (torch.from_numpy(ARRAYS[f"{name}{classes}"]) for name in "wb")

    def __call__(self, image: Tensor) -> Tensor:
        return F.conv2d(image, self.weight, self.bias, padding=1)


@cache
def whole_map(image: int, multiple: int = 14) -> np.ndarray:
    logits = predict_at_multiple(Recorded(7), torch.from_numpy(ARRAYS[f"img{image}"]), multiple)
    return np.asarray(logits[0].argmax(0).numpy())


def windowed_map(image: int, uniform: bool = True) -> np.ndarray:
    """Strides of two thirds of a window, softmax added up."""
    pixels = torch.from_numpy(ARRAYS[f"img{image}"])

    def answer(corners: Sequence[Corner]) -> np.ndarray:
        cut = torch.cat([pixels[..., row : row + WINDOW, col : col + WINDOW] for row, col in corners])
        return np.asarray(Recorded(19)(cut).softmax(1).numpy())

    bands = blend(*pixels.shape[-2:], WINDOW, WINDOW - int(WINDOW * 2 / 3), 4, 19, answer, uniform)
    return np.concatenate([band for _, band in bands], axis=1).argmax(0)


def scored(maps: Sequence[np.ndarray], masks: str, classes: int, unscored: tuple[str, ...] = ()) -> Scores:
    counts = [count_pixels(ARRAYS[f"{masks}{i}"][0], guess, classes, IGNORE) for i, guess in enumerate(maps)]
    return Scores(tuple(map(str, range(classes))), tuple(map(str, range(len(maps)))), np.stack(counts), unscored)


def published(scores: Scores) -> dict[str, np.ndarray]:
    return published_scores(scores.pooled, scores.predicted)


def assert_close(ours: np.ndarray | Sequence[float], theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, atol=1e-9, rtol=0)


def test_one_image_pixel_by_pixel() -> None:
    own = whole_map(0, multiple=0)
    assert (own == ARRAYS["iau_pred"][0]).all()
    assert (own != whole_map(0)).any(), "multiples of 14 give another map"
    confusion = count_confusion(ARRAYS["mask0"][0], own, 7, IGNORE)
    hit, true = np.diag(confusion), confusion.sum(1)
    assert (hit == ARRAYS["iau_i"]).all() and (true == ARRAYS["iau_t"]).all()
    assert (confusion.sum(0) + true - hit == ARRAYS["iau_u"]).all()


def test_validation_of_whole_images() -> None:
    found = published(scored([whole_map(image) for image in range(3)], "mask", 7))
    assert_close(100 * found["iou"], ARRAYS["val_iou"])
    assert_close(100 * found["miou"], ARRAYS["val_miou"])


def test_validation_by_windows() -> None:
    found = published(scored([windowed_map(image) for image in range(2)], "mask19_", 19))
    assert_close(100 * found["iou"], ARRAYS["slide_iou"])
    assert_close(100 * found["miou"], ARRAYS["slide_miou"])
    assert (windowed_map(0) != windowed_map(0, uniform=False)).any(), "fading windows give another map"


@pytest.mark.parametrize(("script", "unscored"), [("loveda", ()), ("deepglobe", ("6",)), ("potsdam", ("0",))])
def test_what_the_test_scripts_print(script: str, unscored: tuple[str, ...]) -> None:
    scores = scored([whole_map(image) for image in range(3)], "mask", 7, unscored)
    found = published(scores)
    totals = [100 * found["miou"], 100 * found["macro_f1"], found["kappa"]]
    assert_close(totals, ARRAYS[f"{script}_miou_mf1_kappa"])
    kept = [int(name) for name in scores.scored]
    for name in ("iou", "f1"):  # theirs hold a zero where a class is not scored
        assert_close(found[name], ARRAYS[f"{script}_{name}"][kept])
        assert not np.delete(ARRAYS[f"{script}_{name}"], kept).any()
