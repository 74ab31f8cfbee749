"""ST-DASegNet's data and scores: label colours, tiles, resizing, padding, normalisation, the scores of its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from recorded import Recording
from torch import Tensor

from georelay.batches.modality import Modality
from georelay.batches.rescale import Rescale
from georelay.evaluate.confusion import class_f1, class_iou, class_precision, class_recall, count_confusion, overall_accuracy
from georelay.geo.grid import Grid
from georelay.geo.raster import open_grid
from georelay.reading import validated
from georelay.settings.data import Folder
from georelay.sources.encoding import check_encoding, read_classes
from georelay.tiles.windows import cut
from published import published

IGNORE = 255
PICTURES, LABELS, SCORES = (Recording(f"stda_{name}") for name in ("17_resize_normalise", "16_label_conversion", "18_metrics"))
RGB = Modality(
    "optical", ("red", "green", "blue"), "reflectance", 1 / 255, None, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
)
# The classes of each set in the order of its numbers, and what any other colour is.
ISPRS = {"classes": published("potsdam")["classes"], "others": "ignore"}
SETS: dict[str, dict[str, Any]] = {
    "potsdam": ISPRS,
    "vaihingen": ISPRS,
    "city": {
        "classes": [
            {"name": "background", "colour": [255, 255, 255]},
            {"name": "road", "colour": [0, 0, 255]},
            {"name": "building", "colour": [255, 0, 0]},
        ],
        "others": "background",
    },
    "gid": {
        "classes": [
            {"name": "built-up", "colour": [255, 0, 0]},
            {"name": "farmland", "colour": [0, 255, 0]},
            {"name": "forest and meadow", "colour": [0, 255, 255], "also": [[255, 255, 0]]},
            {"name": "water", "colour": [0, 0, 255]},
        ],
        "others": "ignore",
    },
}


def reduced(numbers: np.ndarray, name: str) -> np.ndarray:
    """Numbers in the files as classes: 0 is ignored, where it is no class."""
    return numbers if name == "city" else np.where(numbers == 0, IGNORE, numbers - 1)


@pytest.mark.parametrize("name", SETS)
def test_colours_become_tiles_of_classes(name: str, tmp_path: Path) -> None:
    picture = LABELS.arrays["image_rgb" if name in ("potsdam", "vaihingen") else f"{name}.image_rgb"]
    Image.fromarray(picture).save(tmp_path / "label.png")
    source: Folder = validated(Folder, published("potsdam") | SETS[name], name)
    check_encoding(source, name)
    grid = open_grid(tmp_path / "label.png")
    classes = read_classes(tmp_path / "label.png", grid, source)
    side, stride = LABELS.plain(f"{name}.clip"), LABELS.plain(f"{name}.stride")
    places, _ = cut([Grid(*classes.shape, grid.transform, None, 1, "uint8", None)], side, [stride], 100, "drop")
    corners = [(row, col) for _, row, col in places.triples]
    assert [[col, row, col + side, row + side] for row, col in corners] == LABELS.plain(f"{name}.boxes_xyxy")
    tiles = np.stack([classes[row : row + side, col : col + side] for row, col in corners])
    assert np.array_equal(tiles, reduced(LABELS.arrays[f"{name}.tiles"], name))
    if name == "potsdam":
        assert np.array_equal(tiles[0], LABELS.arrays["potsdam.tile0_reduced"])


# A scene of Potsdam, and areas 1 and 26 of Vaihingen.
SIZES = [((6000, 6000), 512, 121), ((2569, 1919), 256, 54), ((1783, 2995), 256, 50)]


@pytest.mark.parametrize(
    ("sides", "stride", "tiles"), [((6000, 6000), 512, 121), ((2569, 1919), 256, 54), ((1783, 2995), 256, 50)]
)
def test_as_many_tiles_of_a_scene(sides: tuple[int, int], stride: int, tiles: int) -> None:
    grid = Grid(*sides, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), None, 1, "uint8", None)
    assert len(cut([grid], 512, [stride], 100, "drop")[0]) == tiles


def as_rgb(name: str) -> Tensor:
    """A recorded BGR picture as (1, 3, H, W), red first."""
    return torch.from_numpy(PICTURES.arrays[name][..., ::-1].transpose(2, 0, 1).copy())[None]


def resized(long: int, side: int, tile: int) -> Rescale:
    return Rescale(tile, side, *(np.array([value]) for value in (long, 0, 0, False, 0)), by="opencv")


def levels(found: Tensor, recorded: Tensor) -> float:
    return (found - recorded.float()).abs().max().item()


@pytest.mark.parametrize("case", [0, 1])
def test_source_tiles_keep_their_ratio(case: int) -> None:
    recorded = as_rgb(f"src_resized_bgr{case}")
    height, long = recorded.shape[-2:]
    move = resized(long, long, PICTURES["seg"].shape[1])
    assert levels(move.apply(as_rgb("src_bgr").float())[..., :height, :], recorded) <= 1
    label = move.apply(PICTURES["seg"][None, None], nearest=True)[0, 0]
    assert torch.equal(label[:height], PICTURES[f"seg_resized{case}"]) and not label[height:].any()


def test_small_tiles_are_padded_with_the_mean_and_ignored() -> None:
    """Right and below, after normalisation."""
    move = resized(33, 48, PICTURES["seg"].shape[1])
    seen = move.apply(torch.ones(1, 1, 40, 56, dtype=torch.uint8), nearest=True)[0, 0] == 1
    label = torch.where(seen, move.apply(PICTURES["seg"][None, None], nearest=True)[0, 0], IGNORE)
    assert torch.equal(label, PICTURES["seg_pad48"])
    image = RGB.normalised(move.apply(as_rgb("src_bgr").float()), seen[None, None])
    difference = (image - PICTURES["src_norm_rgb_pad48"].permute(2, 0, 1)).abs() * RGB.spread
    assert difference.max() <= 1.001 and not image[:, :, ~seen].any() and (~seen).any()


def test_target_tiles_are_fitted_whole() -> None:
    move = resized(48, 48, 64)
    image = move.apply(as_rgb("tgt_bgr").float())
    assert levels(image, as_rgb("tgt_resized_bgr")) <= 1
    recorded = PICTURES["tgt_norm_rgb_hwc"].permute(2, 0, 1)
    assert ((RGB.normalised(image, torch.tensor(True)) - recorded).abs() * RGB.spread).max() <= 1.001
    torch.testing.assert_close(RGB.normalised(as_rgb("tgt_resized_bgr").float(), torch.tensor(True))[0], recorded)


def test_scores() -> None:
    truth, guess = reduced(SCORES.arrays["gt_raw"], "isprs"), SCORES.arrays["pred"]
    confusion = count_confusion(truth, guess, 6, IGNORE)
    found = {"IoU": class_iou, "F1": class_f1, "Precision": class_precision, "Recall": class_recall, "Acc": class_recall}
    for name, score in found.items():
        np.testing.assert_allclose(score(confusion), SCORES.arrays[name], atol=1e-6, rtol=0)
    np.testing.assert_allclose(overall_accuracy(confusion), SCORES.arrays["aAcc"], atol=1e-6, rtol=0)
