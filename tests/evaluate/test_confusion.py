"""Scores against numbers worked out by hand, and against set arithmetic over pixels."""

from __future__ import annotations

import numpy as np
import pytest

from georelay.errors import UserError
from georelay.evaluate.confusion import (
    class_f1,
    class_iou,
    class_precision,
    class_recall,
    cohen_kappa,
    count_confusion,
    count_pixels,
    mean_iou,
    mean_present,
    overall_accuracy,
)

IGNORE = 255


def test_cells_are_truth_by_prediction() -> None:
    truth = np.array([[0, 0, 1], [1, 2, 2]], np.uint8)
    guess = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)
    assert count_confusion(truth, guess, 3, IGNORE).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]


def test_scores_by_hand() -> None:
    confusion = np.array([[1, 1, 0], [0, 2, 0], [1, 0, 1]])
    assert class_iou(confusion) == pytest.approx([1 / 3, 2 / 3, 1 / 2])
    assert class_f1(confusion) == pytest.approx([1 / 2, 4 / 5, 2 / 3])
    assert class_precision(confusion) == pytest.approx([1 / 2, 2 / 3, 1])
    assert class_recall(confusion) == pytest.approx([1 / 2, 1, 1 / 2])
    assert mean_iou(confusion) == pytest.approx(0.5)
    assert overall_accuracy(confusion) == pytest.approx(4 / 6)


def test_ignored_truth_and_missing_prediction_never_count() -> None:
    truth = np.array([0, IGNORE, 1, 1], np.uint8)
    guess = np.array([0, 0, IGNORE, 0], np.uint8)
    assert count_confusion(truth, guess, 2, IGNORE).tolist() == [[1, 0], [1, 0]]


def test_pixels_without_a_true_class_have_a_row_of_their_own() -> None:
    truth = np.array([0, IGNORE, 1, 1, IGNORE], np.uint8)
    guess = np.array([0, 0, IGNORE, 0, IGNORE], np.uint8)
    assert count_pixels(truth, guess, 2, IGNORE).tolist() == [[1, 0], [1, 0], [1, 0]]


def test_a_column_without_a_row_is_wrong_and_has_no_score() -> None:
    confusion = np.array([[2, 1, 3], [0, 4, 0]])
    assert class_iou(confusion) == pytest.approx([2 / 6, 4 / 5])
    assert class_f1(confusion) == pytest.approx([4 / 8, 8 / 9])
    assert class_precision(confusion) == pytest.approx([1, 4 / 5]) and class_recall(confusion) == pytest.approx([2 / 6, 1])
    assert overall_accuracy(confusion) == pytest.approx(6 / 10)
    chance = (6 * 2 + 4 * 5) / 100
    assert cohen_kappa(confusion) == pytest.approx((0.6 - chance) / (1 - chance))


def test_kappa_by_hand() -> None:
    # 60 of 100 are right. Of the first class 60 are true and 70 predicted: 0.6 x 0.7 + 0.4 x 0.3 would be right by chance.
    assert cohen_kappa(np.array([[45, 15], [25, 15]])) == pytest.approx((0.60 - 0.54) / (1 - 0.54))
    assert np.isnan(cohen_kappa(np.array([[7, 0], [0, 0]]))) and np.isnan(cohen_kappa(np.zeros((2, 2), np.int64)))
    assert cohen_kappa(np.array([[1, 0], [0, 1]]) * 10**10) == 1, "its squares do not fit into 64 bits"


def test_an_absent_class_is_nan_and_left_out_of_the_mean() -> None:
    confusion = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert np.isnan(class_iou(confusion)[2]) and np.isnan(class_f1(confusion)[2])
    assert mean_iou(confusion) == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_a_class_predicted_but_never_true_scores_zero_and_counts() -> None:
    confusion = np.array([[3, 1], [0, 0]])
    assert class_iou(confusion).tolist() == [0.75, 0.0]
    assert mean_iou(confusion) == pytest.approx(0.375)


def test_nothing_to_count_gives_nan_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    empty = np.zeros((2, 2), np.int64)
    assert np.isnan(mean_iou(empty)) and np.isnan(overall_accuracy(empty)) and np.isnan(mean_present(class_f1(empty)))
    assert not recwarn.list


def test_iou_and_f1_equal_set_arithmetic_on_random_labels() -> None:
    generator = np.random.default_rng(3)
    truth, guess = generator.integers(0, 5, (2, 40, 30))
    confusion = count_confusion(truth, guess, 5, IGNORE)
    for value in range(5):
        here, there = truth == value, guess == value
        assert class_iou(confusion)[value] == pytest.approx((here & there).sum() / (here | there).sum())
        assert class_f1(confusion)[value] == pytest.approx(2 * (here & there).sum() / (here.sum() + there.sum()))
    assert overall_accuracy(confusion) == pytest.approx((truth == guess).mean())


def test_leading_axes_are_scored_one_by_one() -> None:
    stack = np.random.default_rng(0).integers(0, 9, (4, 2, 3, 3))
    assert mean_iou(stack).shape == (4, 2)
    assert mean_iou(stack)[3, 1] == mean_iou(stack[3, 1])
    assert overall_accuracy(stack)[2, 0] == overall_accuracy(stack[2, 0])


def test_counts_do_not_overflow() -> None:
    truth = np.full((1 << 16, 8), 1, np.uint8)
    confusion = sum(count_confusion(truth, truth, 2, IGNORE) for _ in range(3))
    assert np.asarray(confusion)[1, 1] == 3 * 8 * (1 << 16)


@pytest.mark.parametrize("strange", [3, 17, 254])
def test_a_label_outside_the_classes_is_refused(strange: int) -> None:
    with pytest.raises(UserError, match=f"truth holds class {strange}, the task has classes 0 to 2"):
        count_confusion(np.array([0, strange]), np.array([0, 1]), 3, IGNORE)


def test_arrays_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        count_confusion(np.zeros((2, 3)), np.zeros((3, 2)), 2, IGNORE)
