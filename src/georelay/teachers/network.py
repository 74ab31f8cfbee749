"""A frozen teacher: from the raster values of a task's tiles to maps, one a tap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from georelay.errors import UserError
from georelay.models.backbones import adapt_stem, band_count
from georelay.models.decoders.blocks import PyramidDecoder
from georelay.models.student import build_student
from georelay.models.taps import TapNetwork
from georelay.models.weights import read_weights, require_keys
from georelay.teachers.intake import Intake, fitted, make_intake

WORDS = ("decoder", "logits")  # taps that only a network taught here has, as it has aligned-0 and so on


class TaughtNetwork(nn.Module):
    """A network taught here. Taps are its backbone's stages by number, "decoder" (before the classifier) and "logits".

    Where its decoder makes levels, these are the taps "aligned-0" (the finest), "aligned-1" and so on.
    """

    def __init__(self, model: Mapping[str, Any], bands: int, classes: int, taps: Sequence[int | str]) -> None:
        super().__init__()
        self.net: Any = build_student(model, bands, classes)
        self.taps, self.stages = list(taps), sorted(model["stages"])
        decoder: Any = self.net.decoder
        levels = decoder.strides if isinstance(decoder, PyramidDecoder) else []
        self.aligned = [f"aligned-{level}" for level in range(len(levels))]
        stages = zip(self.net.backbone.channels, self.net.backbone.strides, strict=True)
        facts: dict[int | str, tuple[int, Any]] = dict(zip(self.stages, stages, strict=True))
        facts |= {"decoder": (decoder.classify.in_channels, decoder.stride), "logits": (classes, decoder.stride)}
        facts |= {tap: (decoder.width, stride) for tap, stride in zip(self.aligned, levels, strict=True)}
        if wrong := [tap for tap in taps if tap not in facts]:
            *others, last = (*WORDS, *self.aligned)
            raise UserError(f"this teacher has taps {self.stages}, {', '.join(others)} and {last}, not {wrong}", "teacher.taps")
        self.channels, self.strides = ([facts[tap][place] for tap in self.taps] for place in range(2))
        self.multiple = max(self.net.backbone.strides)

    def forward(self, image: Tensor) -> list[Tensor]:
        """One map (B, C, h, w) per tap, in the order of the taps."""
        maps = self.net.backbone(image)
        found: dict[int | str, Tensor] = dict(zip(self.stages, maps, strict=True))
        if any(isinstance(tap, str) for tap in self.taps):
            found |= self._decoded(self.net.neck(maps))
        return [found[tap] for tap in self.taps]

    def _decoded(self, maps: Sequence[Tensor]) -> dict[int | str, Tensor]:
        """The taps that are words; levels are made once, and joined only where somebody asks for that."""
        decoder = self.net.decoder
        levels = decoder.levels(maps) if self.aligned else []
        found: dict[int | str, Tensor] = dict(zip(self.aligned, levels, strict=True))
        if any(tap in WORDS for tap in self.taps):
            found["decoder"] = decoder.gather(levels) if self.aligned else decoder.embed(maps)
            found["logits"] = decoder.classify(found["decoder"])
        return found


class TeacherNetwork(nn.Module):
    """A frozen network behind its intake: no gradients, no training mode, float32 maps."""

    def __init__(self, network: TapNetwork | TaughtNetwork, intake: Intake, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.network, self.intake = network, intake
        self.taps: list[tuple[int | str, int]] = list(zip(settings["taps"], network.channels, strict=True))
        self.size, self.fit, self.align_corners = settings["size"], settings["fit"], settings["align_corners"]
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> TeacherNetwork:
        """A teacher is never in training mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, raw: Tensor, valid: Tensor) -> list[Tensor]:
        """Maps of tiles in raster units (B, bands, T, T), one per tap; `valid` is (B, 1, T, T)."""
        image, _ = self._fitted(self.intake(raw, valid))
        return [map_.float() for map_ in self.network(image)]

    @torch.no_grad()
    def layout(self, side: int) -> list[tuple[int, int, int]]:
        """(channels, cells, span) per tap for tiles of `side` pixels."""
        some = next(self.parameters())
        image, (tile, _) = self._fitted(some.new_zeros(1, len(self.intake.places), side, side))
        span = image.shape[-1] if self.fit == "pad" else side * image.shape[-1] // tile
        return [(map_.shape[1], map_.shape[-1], span) for map_ in self.network(image)]

    def _fitted(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        return fitted(image, self.size, self.fit, self.align_corners, self.network.multiple)


def modality_for(card_or_settings: Mapping[str, Any], modalities: Mapping[str, Mapping[str, Any]]) -> str:
    """Name of the first modality of a task that has the teacher's unit."""
    unit = card_or_settings.get("settings", card_or_settings)["unit"]
    for name, facts in modalities.items():
        if facts["unit"] == unit:
            return name
    offered = ", ".join(f"{name} in {facts['unit']}" for name, facts in modalities.items())
    where = f"teachers.{card_or_settings['name']}.unit" if "name" in card_or_settings else "teacher.unit"
    raise UserError(
        f"reads {unit}; the task has {offered}", where, f"give the task a modality in {unit}, or the row another teacher"
    )


def seen_in(modality: Mapping[str, Any], domain: str | None) -> dict[str, Any]:
    """A modality's facts with the band names of a domain's sensor; statistics stay those of the whole task."""
    own = modality.get("domains", {}).get(domain, {})
    return {**modality, "bands": own.get("bands", modality["bands"])}


def build_network(settings: Mapping[str, Any], taught: Mapping[str, Any] | None, bands: int | None) -> TapNetwork | TaughtNetwork:
    """A teacher's network with random weights; `bands` other than a timm network's own are built in."""
    if taught is not None:
        return TaughtNetwork(taught["model"], taught["bands"], taught["classes"], settings["taps"])
    if words := [tap for tap in settings["taps"] if isinstance(tap, str)]:
        raise UserError(f"only networks taught here have {' and '.join(words)}", "teacher.taps", "choose blocks by number")
    arguments = dict(settings["arguments"]) | ({} if bands is None else {"in_chans": bands})
    places = (settings["positions"], settings["position_grid"])
    return TapNetwork(settings["network"], settings["taps"], settings["normed"], *places, arguments)


def open_teacher(card: Mapping[str, Any], weights: Path, modality: Mapping[str, Any]) -> TeacherNetwork:
    """The teacher of a card, with its weights, for a modality given as the facts in a task's card."""
    settings, name = card["settings"], card["name"]
    intake = make_intake(settings, name, modality)
    network = build_network(settings, card["taught"], None)
    tensors, _ = read_weights(weights)
    require_keys(weights, network.net, tensors)
    network.net.load_state_dict(tensors)
    if card["taught"] is None:
        stem = adapt_stem(network.net, len(intake.places)) if settings["bands"] == "all" else ""
        intake = replace(intake, note="; ".join(filter(None, (intake.note, stem))))
    _require_bands(network, card, len(intake.places))
    return TeacherNetwork(network, intake, settings)


def _require_bands(network: TapNetwork | TaughtNetwork, card: Mapping[str, Any], shown: int) -> None:
    own = band_count(network.net) if card["taught"] is None else int(card["taught"]["bands"])
    if own != shown:
        hint = f"name {own}, or `bands: all` with another first layer"
        raise UserError(f"reads {own} bands and is shown {shown}", f"teachers.{card['name']}.bands", hint)
