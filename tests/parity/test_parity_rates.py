"""Learning rates and averages against sequences recorded from the public implementations of three papers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from georelay.methods.base import Group
from georelay.models.ema import Average
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers
from georelay.train.schedule import Schedule
from invented import TRAIN

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["grass", "cloud"])
def test_ktda_follows_from_plain_settings(name: str) -> None:
    """mmengine: linear warm-up times poly; in `cloud` they overlap."""
    curve = np.load(DATA / f"lr_schedule_{name}.npz")
    train = {"schedule": "poly", "schedule_count": "mmengine", "power": 0.9, "warmup_start": 1e-3, "final": 0.0, "floor": 0.0}
    train |= {"warmup_steps": int(curve["warm_end"]), "poly_begin": int(curve["poly_begin"]), "steps": int(curve["total"])}
    schedule = Schedule.of(train)
    ours = [float(curve["base_lr"]) * schedule.at(int(step)) for step in curve["iteration"]]
    np.testing.assert_allclose(ours, curve["lr"], atol=1e-15, rtol=0)


# What a row says of the two published recipes: backbones and neck, decoders, discriminators; warm-up and floor are for all.
SEGFORMER = {"lr": 6e-5, "power": 1.0, "warmup_start": 1e-6, "warmup_steps": 800, "floor": 0.0}
DEEPLAB = {"lr": 1e-3, "power": 0.9, "warmup_steps": 0, "floor": 1e-5}


@pytest.mark.parametrize(
    ("change", "head_rate", "own", "names"),
    [
        (SEGFORMER, 1.0, 1e-5, ("segformer_main", "segformer_main", "segformer_disc")),
        (DEEPLAB, 2.0, 2.5e-4, ("deeplab_backbone_neck", "deeplab_head", "deeplab_disc")),
    ],
)
def test_st_dasegnet_s_three_rates(change: dict[str, float], head_rate: float, own: float, names: tuple[str, ...]) -> None:
    """mmcv 1: both ends one step later than mmengine's, and a floor that is a rate: its share differs by the base rate."""
    curve = np.load(DATA / "stda_lr_schedule.npz")
    train = TRAIN | {"schedule": "poly", "schedule_count": "mmcv", "poly_begin": 0, "steps": 40000, "final": 0.0} | change
    parts = [Group([nn.Parameter(torch.ones(()))], lr_scale=scale) for scale in (1.0, head_rate, 1.0)]
    groups = {"main": parts[:2], "discriminators": parts[2:]}
    optimisers = Optimisers(groups, train, torch.device("cpu"), World(0, 1, 0), {"discriminators": {"lr": own}})
    found = []
    for step in curve["iters"]:
        plain = optimisers.set_rates(int(step))
        rates = [group["lr"] for optimiser in optimisers.members.values() for group in optimiser.param_groups]
        assert rates[0] == plain
        found.append(rates)
    recorded = np.stack([curve[name] for name in names], axis=1)
    np.testing.assert_allclose(found, recorded, rtol=1e-12, atol=1e-19)


def test_rs_mtdf_sets_its_rate_after_the_step() -> None:
    used = np.load(DATA / "mtdf_ema_lr.npz")["lr0_used"]
    train = {"schedule": "poly", "schedule_count": "late", "power": 0.9, "warmup_start": 1.0, "warmup_steps": 0, "final": 0.0}
    train |= {"floor": 0.0}
    schedule = Schedule.of(train | {"poly_begin": 0, "steps": len(used)})
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
