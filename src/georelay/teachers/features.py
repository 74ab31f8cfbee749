"""A teacher's maps of every tile of a task, computed once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from georelay.files import require_digest, sha256_file
from georelay.models.device import prepare_torch
from georelay.teachers.network import TeacherNetwork, modality_for, open_teacher, seen_in
from georelay.teachers.store import FeatureStore, write_features
from georelay.tiles.read import TileStore


def compute_features(
    card: Mapping[str, Any], tiles: Mapping[str, Any], root: Path, target: Path, fingerprint: str
) -> dict[str, Any]:
    """Write the maps of the teacher of `card` for the task of card `tiles` to `target`; the card of the store."""
    settings, task = card["settings"], tiles["task"]
    device = prepare_torch(settings)
    path = root / "results/tiles" / f"{task}.zarr.zip"
    require_digest(path, tiles["sha256"], f"georelay tile {task}")
    witness = Witness(card, tiles["modalities"], TileStore(path), root, device)
    print(f"features {task} {card['name']}: {witness.note}", file=sys.stderr)
    layout = witness.layout(tiles["tile"])
    facts = {"task": task, "teacher": card["sha256"], "tiles": tiles["sha256"], "note": witness.note, "licence": card["licence"]}
    resume = root / "results/resume" / fingerprint
    write_features(
        target, resume, facts, settings["taps"], layout, tiles["tiles"], settings["dtype"], settings["batch"], witness.maps
    )
    stored = {"sha256": sha256_file(target), "size": target.stat().st_size, "dtype": settings["dtype"]}
    return facts | stored | {"taps": FeatureStore(target).taps}


class Witness:
    """A teacher before the tiles of a store: each domain's through an intake of its own, as sensors differ."""

    def __init__(
        self, card: Mapping[str, Any], modalities: Mapping[str, Any], store: TileStore, root: Path, device: torch.device
    ) -> None:
        self.store, self.device = store, device
        self.name = modality_for(card, modalities)
        weights = root / "results/teachers" / f"{card['name']}.safetensors"
        require_digest(weights, card["sha256"], f"georelay teach {card['name']}")
        seen = [seen_in(modalities[self.name], domain) for domain in store.attrs["domains"]]
        self.networks = [open_teacher(card, weights, facts).to(device) for facts in seen]

    @property
    def note(self) -> str:
        """What the teacher is shown, in words."""
        notes = [network.intake.note for network in self.networks]
        return (
            notes[0] if len(set(notes)) == 1 else "; ".join(map(": ".join, zip(self.store.attrs["domains"], notes, strict=True)))
        )

    def layout(self, side: int) -> list[tuple[int, int, int]]:
        """Channels, cells and span of every tap."""
        return self.networks[0].layout(side)

    def maps(self, ids: np.ndarray) -> list[Tensor]:
        """The maps of some tiles, one tensor a tap, on the CPU."""
        domains = self.store.coordinate("domain")[ids]
        if (domains == domains[0]).all():
            return self._answer(self.networks[domains[0]], ids)
        order = np.argsort(domains, kind="stable")
        parts = [self._answer(self.networks[domain], ids[domains == domain]) for domain in np.unique(domains)]
        back = torch.from_numpy(np.argsort(order))
        return [torch.cat(maps)[back] for maps in zip(*parts, strict=True)]

    def _answer(self, network: TeacherNetwork, ids: np.ndarray) -> list[Tensor]:
        raw = torch.from_numpy(self.store.array(self.name)[ids].astype(np.float32))
        valid = torch.from_numpy(self.store.array("valid")[ids] != 0).unsqueeze(1)
        return [map_.cpu() for map_ in network(raw.to(self.device), valid.to(self.device))]
