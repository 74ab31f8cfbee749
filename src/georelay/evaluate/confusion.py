"""One integer confusion matrix, and every score as a ratio of its cells.

Rows are the truth, columns the prediction. A pixel counts when its truth and its prediction are both classes: pixels
labelled `ignore`, and pixels that the map leaves without a class (no data in the image), never count. With
TP = cell [c, c], FN = the rest of row c, FP = the rest of column c and N = all cells:

    IoU(c) = TP / (TP + FP + FN)        mIoU     = mean of IoU(c) over the classes that are present
    F1(c)  = 2 TP / (2 TP + FP + FN)    macro F1 = mean of F1(c) over the classes that are present
    P(c)   = TP / (TP + FP)             R(c)     = TP / (TP + FN), which others call the accuracy of a class
    OA     = sum of TP / N              kappa    = (OA - pe) / (1 - pe), pe = sum of (row c)(column c) / N^2

A class that is absent from the truth and from the prediction has no IoU and no F1: NaN, left out of the means. A class
that is predicted but never true scores 0 and counts. Scores of several scenes come from the sum of their matrices, not
from the mean of their scores. A matrix may have more columns than rows: classes that are predicted but not scored.
"""

from __future__ import annotations

import warnings

import numpy as np

from georelay.errors import UserError

DEFINITIONS = {
    "IoU": "TP / (TP + FP + FN) of one class, from the confusion summed over all test scenes",
    "mIoU": "mean of the classes' IoU; a class absent from truth and prediction is left out",
    "F1": "2 TP / (2 TP + FP + FN) of one class; macro F1 is the mean over the same classes as mIoU",
    "OA": "share of counted pixels that are right",
    "kappa": "Cohen's: (OA - pe) / (1 - pe), pe the share that would be right if classes were predicted as often, but anywhere",
    "pixels": "pixels with a true class and a predicted class; ignored and invalid ones never count, nor do unscored classes'",
}


def count_confusion(truth: np.ndarray, prediction: np.ndarray, classes: int, ignore: int) -> np.ndarray:
    """Integer matrix [truth, predicted] of the pixels that have a class in both arrays."""
    return count_pixels(truth, prediction, classes, ignore)[:classes]


def count_pixels(truth: np.ndarray, prediction: np.ndarray, classes: int, ignore: int) -> np.ndarray:
    """The same with one row more: what is predicted where there is no true class."""
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
    given = prediction != ignore
    true, guess = truth[given].astype(np.int64), prediction[given].astype(np.int64)
    _refuse_strangers(true[true != ignore], classes, "truth")
    _refuse_strangers(guess, classes, "prediction")
    true[true == ignore] = classes
    cells = np.bincount(true * classes + guess, minlength=(classes + 1) * classes)
    return cells.reshape(classes + 1, classes)


def _refuse_strangers(values: np.ndarray, classes: int, name: str) -> None:
    if values.size and not (values.min() >= 0 and values.max() < classes):
        strange = values.max() if values.max() >= classes else values.min()
        raise UserError(f"{name} holds class {strange}, the task has classes 0 to {classes - 1}")


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class, NaN where a class is absent; leading axes are kept."""
    hit, union = _hits_and_union(confusion)
    return _ratio(hit, union)


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class, NaN where a class is absent; leading axes are kept."""
    hit, union = _hits_and_union(confusion)
    return _ratio(2 * hit, union + hit)


def class_precision(confusion: np.ndarray) -> np.ndarray:
    """Share of right ones among the pixels predicted as each class, NaN without any; leading axes are kept."""
    hit, _ = _hits_and_union(confusion)
    return _ratio(hit, confusion.sum(-2)[..., : hit.shape[-1]])


def class_recall(confusion: np.ndarray) -> np.ndarray:
    """Share of right ones among the pixels of each class, NaN without any; leading axes are kept."""
    hit, _ = _hits_and_union(confusion)
    return _ratio(hit, confusion.sum(-1))


def overall_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of counted pixels that are right, NaN without any; leading axes are kept."""
    hit, _ = _hits_and_union(confusion)
    return _ratio(hit.sum(-1), confusion.sum((-2, -1)))


def cohen_kappa(confusion: np.ndarray) -> np.ndarray:
    """Agreement beyond chance, NaN where chance alone would agree throughout; leading axes are kept."""
    hit, _ = _hits_and_union(confusion)
    total = confusion.sum((-2, -1)).astype(np.float64)  # its square may not fit into an integer
    chance = (confusion.sum(-1) * confusion.sum(-2, dtype=np.float64)[..., : hit.shape[-1]]).sum(-1)
    return _ratio(total * hit.sum(-1) - chance, total**2 - chance)


def mean_iou(confusion: np.ndarray) -> np.ndarray:
    """Mean IoU over the classes that are present; leading axes are kept."""
    return mean_present(class_iou(confusion))


def mean_present(scores: np.ndarray) -> np.ndarray:
    """Mean over the last axis without its NaNs; NaN where nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy warns of an all-NaN row, which is an answer here
        return np.asarray(np.nanmean(scores, axis=-1))


def _hits_and_union(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    return hit, confusion.sum(-1) + confusion.sum(-2)[..., : hit.shape[-1]] - hit


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    empty = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=empty, where=np.asarray(whole) > 0))
