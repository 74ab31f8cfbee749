"""Learning rates and averages against sequences recorded from the public implementations of three papers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from georelay.models.ema import Average
from georelay.train.schedule import Schedule

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["grass", "cloud"])
def test_ktda_follows_from_plain_settings(name: str) -> None:
    """mmengine: linear warm-up times poly; in `cloud` they overlap."""
    curve = np.load(DATA / f"lr_schedule_{name}.npz")
    train = {"schedule": "poly", "power": 0.9, "warmup_start": 1e-3, "final": 0.0}
    train |= {"warmup_steps": int(curve["warm_end"]), "poly_begin": int(curve["poly_begin"]), "steps": int(curve["total"])}
    schedule = Schedule.of(train)
    ours = [float(curve["base_lr"]) * schedule.at(int(step)) for step in curve["iteration"]]
    np.testing.assert_allclose(ours, curve["lr"], atol=1e-15, rtol=0)


@pytest.mark.parametrize(
    ("name", "base", "schedule"),
    [
        ("segformer_main", 6e-5, Schedule("poly", 1e-6, 800, 0, 40000, 0.0, 1.0)),
        ("deeplab_head", 2e-3, Schedule("poly", 1.0, 0, 0, 40000, 1e-5 / 2e-3, 0.9)),
    ],
)
def test_st_dasegnet_has_a_form_too(name: str, base: float, schedule: Schedule) -> None:
    """mmcv 1: both ends one step later than mmengine's, and a floor."""
    curve = np.load(DATA / "stda_lr_schedule.npz")
    np.testing.assert_allclose([base * schedule.at(int(step)) for step in curve["iters"]], curve[name], atol=1e-12, rtol=0)


def test_rs_mtdf_sets_its_rate_after_the_step() -> None:
    used = np.load(DATA / "mtdf_ema_lr.npz")["lr0_used"]
    schedule = Schedule("poly", 1.0, 0, 1, len(used) + 1, 0.0, 0.9)
    np.testing.assert_allclose([1e-3 * schedule.at(step) for step in range(len(used))], used, rtol=1e-9)


def test_rs_mtdf_averages_as_we_do() -> None:
    curve = np.load(DATA / "mtdf_ema_lr.npz")
    network = nn.Module()
    network.weights = nn.Parameter(torch.zeros(curve["student"].shape[1]))
    network.register_buffer("buffer", torch.zeros(curve["buf"].shape[1]))
    average = Average(network, 0.996)
    for step in range(len(curve["student"])):
        network.weights.data = torch.from_numpy(curve["student"][step]).float()
        network.buffer.copy_(torch.from_numpy(curve["buf"][step]))
        average.update(network, step)
        np.testing.assert_allclose(average.network.weights.numpy(), curve["ema"][step], atol=1e-6)
        np.testing.assert_allclose(average.network.buffer.numpy(), curve["buf_ema"][step], atol=1e-6)
