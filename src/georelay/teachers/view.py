"""What a method sees of its teachers: their stored maps, or their answer to the very image that the student gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from georelay.batches.modality import modalities_of
from georelay.batches.streams import Batch
from georelay.errors import UserError
from georelay.files import require_digest
from georelay.teachers.network import TeacherNetwork, modality_for, open_teacher, seen_in

FOLDER = Path("results/teachers")


class TeacherView:
    """The maps of a plan's teachers for any batch. No module: frozen networks belong in no checkpoint of a student."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.plan, self.online = plan, plan["teacher_view"] == "online"
        self.channels = {name: [tap["channels"] for tap in card["taps"]] for name, card in plan["teachers"].items()}
        self._networks: dict[tuple[str, str | None], TeacherNetwork] = {}
        self._modality: dict[str, str] = {}

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that take part in each step: none where their maps are stored."""
        return list(self._networks.values())

    def open(self, root: Path) -> None:
        """Read the teachers' weights, if they are needed in each step."""
        for name, card in self.plan["teachers"].items() if self.online else ():
            weights = root / FOLDER / f"{name}.safetensors"
            require_digest(weights, card["sha256"], f"georelay teach {name}")
            self._modality[name] = modality_for({**card, "name": name}, self.plan["modalities"])
            facts = self.plan["modalities"][self._modality[name]]
            self._require_known_sensors(facts, self._modality[name])
            for domain in {self.plan["train_domain"], self.plan["test_domain"]}:
                self._networks[name, domain] = open_teacher({**card, "name": name}, weights, seen_in(facts, domain))

    def maps(self, batch: Batch, domain: str = "train_domain") -> dict[str, list[Tensor]]:
        """The maps of each teacher, one a tap; `domain` is the plan's word for where the batch comes from."""
        if not self.online:
            return {name: [map_.float() for map_ in batch.features[name]] for name in self.plan["teachers"]}
        return {name: self._answer(name, batch, self.plan[domain]) for name in self.plan["teachers"]}

    def _require_known_sensors(self, facts: Mapping[str, Any], name: str) -> None:
        """A batch does not say which domain a tile is of, so where it may be any the bands must be the same in all."""
        sensors = {tuple(entry.get("bands", facts["bands"])) for entry in facts.get("domains", {}).values()}
        for key in ("train_domain", "test_domain"):
            if self.plan[key] is None and len(sensors) > 1:
                what = f"{name} has other bands in some domains, a teacher in each step cannot tell them apart"
                where = f"experiments.{self.plan['experiment']}.{key}"
                raise UserError(what, where, "name one domain, or use `teacher_view: cached`")

    def _answer(self, name: str, batch: Batch, domain: str | None) -> list[Tensor]:
        network = self._networks[name, domain].to(batch.image.device)
        with torch.autocast(batch.image.device.type, enabled=False):
            maps: list[Tensor] = network(self._raw(batch, self._modality[name]), batch.shown.unsqueeze(1))
        return maps

    def _raw(self, batch: Batch, name: str) -> Tensor:
        """The values of a modality in raster units, as the student's augmentation left them."""
        image = batch.image if batch.pair is None else torch.cat([batch.image, batch.pair], dim=1)
        stacked = modalities_of(self.plan, [*self.plan["inputs"], *self.plan["pair"]])
        place = [modality.name for modality in stacked].index(name)
        first, modality = sum(len(before.bands) for before in stacked[:place]), stacked[place]
        values = image[:, first : first + len(modality.bands)].float()
        return values * modality.spread.to(values.device) + modality.centre.to(values.device)
