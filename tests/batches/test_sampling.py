"""Sampling: every tile once an epoch, and the batch of a step whatever came before."""

from __future__ import annotations

import numpy as np

from georelay.batches.sampling import generator, positions


def test_an_epoch_holds_every_tile_once() -> None:
    epoch = np.concatenate([positions(24, 8, step, seed=3, stream="labelled") for step in range(3)])
    assert sorted(epoch) == list(range(24))


def test_the_next_epoch_has_another_order() -> None:
    first, second = positions(24, 24, 0, 3, "labelled"), positions(24, 24, 1, 3, "labelled")
    assert sorted(second) == list(range(24))
    assert not np.array_equal(first, second)


def test_a_batch_may_span_epochs() -> None:
    # Batches of 5 from 3 tiles: step 0 holds epoch 0 whole and two of epoch 1, step 1 begins with the third of epoch 1.
    both = np.concatenate([positions(3, 5, step, 0, "x") for step in (0, 1)])
    assert [sorted(both[start : start + 3]) for start in (0, 3, 6)] == [[0, 1, 2]] * 3


def test_a_step_does_not_depend_on_earlier_ones() -> None:
    walked = [positions(50, 8, step, 1, "labelled") for step in range(30)]
    assert np.array_equal(walked[29], positions(50, 8, 29, 1, "labelled"))


def test_seed_and_stream_change_the_order() -> None:
    orders = {tuple(positions(30, 30, 0, seed, stream)) for seed in (0, 1) for stream in ("labelled", "unlabelled")}
    assert len(orders) == 4


def test_generators_differ_by_each_part_of_their_key() -> None:
    draws = {float(generator(*key).random()) for key in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]}
    assert len(draws) == 4
    assert generator(0, "a", 0).random() == generator(0, "a", 0).random()
