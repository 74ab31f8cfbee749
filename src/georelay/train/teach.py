"""Teachers made ready: taught here through the loop that trains every row, left untrained, or taken from others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from georelay.batches.modality import modalities_of
from georelay.errors import UserError
from georelay.files import sha256_file
from georelay.methods.base import method_class
from georelay.models.device import prepare_torch
from georelay.models.weights import save_weights
from georelay.progress import Progress
from georelay.teachers.network import build_network
from georelay.teachers.obtain import obtain
from georelay.train.distributed import joined_world
from georelay.train.loop import Session, train
from georelay.train.run import open_session

CALIBRATION_STEPS = 20  # batches from which an untrained network takes the statistics of its normalisation


def teach(
    name: str, settings: Mapping[str, Any], plan: dict[str, Any] | None, root: Path, target: Path, key: str
) -> dict[str, Any]:
    """Write a teacher's weights to `target`; its card. `plan` says how one of our own is trained."""
    if plan is None:
        network = build_network(settings, None, None)
        network.net.load_state_dict(obtain(name, settings, root))
        return _finish(name, settings, None, network, target)
    settings = {**settings, **_shown(name, settings, plan)}
    taught = _described(plan)
    network = build_network(settings, taught, None)  # a tap that it lacks is refused before the lesson, not after
    network.net.load_state_dict(_trained(plan, settings, root, key).state_dict())
    return _finish(name, settings, taught, network, target)


def _described(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What the network is built from, here and by whoever reads its weights."""
    bands = sum(len(modality.bands) for modality in modalities_of(plan, plan["inputs"]))
    with torch.device("meta"):  # only the number of its logits is wanted
        classes = method_class(plan["method"]).build_student(plan).decoder.classify.out_channels
    return {"model": plan["settings"]["model"], "bands": bands, "classes": classes}


def _finish(name: str, settings: Mapping[str, Any], taught: Any, network: Any, target: Path) -> dict[str, Any]:
    save_weights(target, network.net, {"teacher": name})
    taps = zip(settings["taps"], network.channels, network.strides, strict=True)
    return {
        "name": name,
        "origin": settings["origin"],
        "licence": settings["licence"],
        "sha256": sha256_file(target),
        "settings": {key: value for key, value in settings.items() if key not in ("why", "licence", "taught")},
        "taught": taught,
        "taps": [{"tap": tap, "channels": channels, "stride": stride} for tap, channels, stride in taps],
        "parameters": sum(parameter.numel() for parameter in network.net.parameters()),
    }


def _trained(plan: dict[str, Any], settings: Mapping[str, Any], root: Path, key: str) -> Any:
    """The network that training leaves, or the one that it would start from."""
    device = prepare_torch(plan["settings"]["train"])
    with joined_world(device.type) as world:
        session = open_session(plan, settings["taught"]["seed"], root, key, device, world)
        if settings["origin"] == "random":
            _calibrate(session)
        else:
            train(session)
        session.checkpoint.remove()
    return session.exported.eval()


@torch.no_grad()
def _calibrate(session: Session) -> None:
    """Give the norms of an untrained network the statistics of its inputs: with others it would answer with noise."""
    for module in session.method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all batches
    session.method.train()
    with Progress(session.label, CALIBRATION_STEPS, "batches") as bar:
        for step in range(CALIBRATION_STEPS):
            for stream in session.streams.values():
                session.method.student(session.moved(stream.batch(step, 0, 1)).image)
            bar.advance()


def _shown(name: str, settings: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """Bands and statistics that a teacher of our own was trained with, in physical units, where the settings leave them open."""
    where = f"teachers.{name}"
    found = modalities_of(plan, plan["inputs"])
    if len(found) != 1 or found[0].unit != settings["unit"]:
        seen = ", ".join(f"{modality.name} in {modality.unit}" for modality in found)
        raise UserError(f"a teacher reads one modality in {settings['unit']}; it is taught on {seen}", f"{where}.taught")
    modality = found[0]
    numbers = {key: [value * modality.scale for value in getattr(modality, key)] for key in ("mean", "std")}
    own = {"bands": list(modality.bands), "statistics": numbers | {"white": None}}
    return {key: value for key, value in own.items() if settings[key] is None}
