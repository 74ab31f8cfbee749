"""The optimisers of a run behind one object: precision, clipping, rates and averaging over ranks in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from georelay.methods.base import Group
from georelay.models.eager import without_compiler
from georelay.train.distributed import World, average_gradients
from georelay.train.schedule import Schedule


class Optimisers:
    """The Updater that methods are handed: one torch optimiser per name, all on one schedule."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[Group]],
        train: Mapping[str, Any],
        device: torch.device,
        world: World,
        own: Mapping[str, Mapping[str, Any]] = {},
    ) -> None:
        self.train, self.device, self.world = train, device, world
        self.schedule = Schedule.of(train)
        facts = {name: {**train, **own.get(name, {})} for name in groups}
        self.rates = {name: settings["lr"] for name, settings in facts.items()}
        with without_compiler():
            self.members = {name: _build(list(members), facts[name]) for name, members in groups.items()}

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 where the plan says so; it needs no loss scaling."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.train["precision"] == "bf16")

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def apply(self, name: str) -> None:
        """Average gradients over ranks, clip, step, clear."""
        optimiser = self.members[name]
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        average_gradients(parameters, self.world)
        if self.train["clip"]:
            nn.utils.clip_grad_norm_(parameters, self.train["clip"])
        with without_compiler():
            optimiser.step()
            optimiser.zero_grad()

    def set_rates(self, step: int) -> float:
        """Set the rate of a step everywhere; the plan's is returned."""
        share, raised = self.schedule.at(step), self.schedule.raised(step)
        for name, optimiser in self.members.items():
            for group in optimiser.param_groups:
                group["lr"] = float(self.rates[name] * share) * group["lr_scale"] + raised
        return float(self.train["lr"] * share + raised)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on."""
        with without_compiler():
            return {name: optimiser.state_dict() for name, optimiser in self.members.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        with without_compiler():
            for name, optimiser in self.members.items():
                optimiser.load_state_dict(state[name])


def _first(own: float | None, common: float) -> float:
    return common if own is None else own


def _build(groups: list[Group], train: Mapping[str, Any]) -> torch.optim.Optimizer:
    decay = train["weight_decay"]
    facts: list[dict[str, Any]] = [
        {"params": list(group.parameters), "lr_scale": group.lr_scale, "weight_decay": _first(group.weight_decay, decay)}
        for group in groups
    ]
    if train["optimizer"] == "sgd":
        return torch.optim.SGD(facts, lr=train["lr"], momentum=train["momentum"], fused=True)
    return torch.optim.AdamW(facts, lr=train["lr"], betas=(train["betas"][0], train["betas"][1]), fused=True)
