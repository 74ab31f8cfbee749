"""Weight files: safetensors with the facts they were trained under, every key compared, nothing loaded by half."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from georelay.errors import UserError
from georelay.files import canonical_json, replacing
from georelay.models.mit import Stage
from georelay.models.mit_names import converted as converted_mit
from georelay.models.resnet_names import converted as converted_resnet

# One entry with all facts: safetensors writes several in no fixed order, and equal runs must give equal bytes.
FACTS = "georelay"
NAMED = 4  # keys named in a message; the rest are counted
FOREIGN_HINT = "save its state dict as .safetensors, where you trust the file enough to open it, and give that one"
_NUMBERED, _NUMBERED_BACK = re.compile(r"^([a-z]+)_(\d+)\."), re.compile(r"^([a-z]+)\.(\d+)\.")
LEVELS = ("state_dict", "model", "teacher")  # under which public files nest their weights


def save_weights(path: Path, module: nn.Module, facts: Mapping[str, Any]) -> None:
    """Write a module's weights and the facts that a reader must agree with."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={FACTS: canonical_json(facts)})


def load_weights(path: Path, module: nn.Module, facts: Mapping[str, Any] | None = None) -> None:
    """Load a weight file into a module; other keys, shapes or facts than expected are refused."""
    tensors, found = read_weights(path)
    for name, value in (facts or {}).items():
        if found.get(name) != value:
            hint = "train again with this plan, or predict with the plan the weights were trained with"
            raise UserError(f"weights were trained with {name} {_short(found.get(name))}, not {_short(value)}", path, hint)
    require_keys(path, module, tensors)
    module.load_state_dict(tensors)


def load_start(path: Path, student: Any) -> None:
    """Start from a file: of a whole student, or of its backbone alone under the names timm gives them.

    A classifier's file will do: what stands behind the backbone in it is left. Weights of a Mix Transformer or of a ResNet
    may have the names of their public codes. Where a student has several backbones, all of them start from the file.
    """
    tensors, networks = read_foreign(path), _networks(student)
    public = _public(path, tensors, networks[0])
    backbone = _backbone_part(public or tensors, networks[0])
    if public and backbone is None:
        require_keys(path, networks[0], {_NUMBERED_BACK.sub(r"\1_\2.", name): tensor for name, tensor in public.items()})
    parts, chosen = ([student], tensors) if backbone is None else (networks, backbone)
    for part in parts:
        require_keys(path, part, chosen)
        part.load_state_dict(chosen)
    if backbone is not None and hasattr(student, "take_final_norm"):
        student.take_final_norm(tensors)


def _networks(student: Any) -> list[nn.Module]:
    backbones = student.backbones.values() if hasattr(student, "backbones") else [student.backbone]
    return [backbone.net for backbone in backbones]


def _public(path: Path, tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor] | None:
    """The file's weights under our names, where it has those of a public code of such a network."""
    if any(isinstance(module, Stage) for module in network.modules()):
        return converted_mit(path, tensors)
    return converted_resnet(path, tensors) if "conv1.0.weight" in network.state_dict() else None


def _backbone_part(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor] | None:
    """A backbone's weights by its own names; None where the file lacks any of them.

    timm's feature extractors write stages.0 as stages_0.
    """
    found = {name: name if name in tensors else _NUMBERED.sub(r"\1.\2.", name) for name in network.state_dict()}
    return {name: tensors[theirs] for name, theirs in found.items()} if set(found.values()) <= set(tensors) else None


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a weight file."""
    if not Path(path).is_file():
        raise UserError("weight file is missing", path, "run the stage that writes it")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(FACTS, "{}"))
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, facts
    except (SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"not a whole safetensors file ({error})", path, "delete it and run the stage that writes it") from None


def read_foreign(path: Path) -> dict[str, Tensor]:
    """Tensors of somebody else's weight file: safetensors, or what torch.save wrote if it is plain weights."""
    path = Path(path)
    if path.suffix == ".safetensors":
        return read_weights(path)[0]
    content = _loaded(path)
    while isinstance(content, Mapping) and (level := next((name for name in LEVELS if name in content), None)):
        content = content[level]
    if not isinstance(content, Mapping) or not content:
        raise UserError("holds no weights by name", path, FOREIGN_HINT)
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise UserError(f"not plain weights: {_listed('no tensors at', others)}", path, FOREIGN_HINT)
    return {str(name): tensor.detach() for name, tensor in content.items()}


def _loaded(path: Path) -> Any:
    if not path.is_file():
        raise UserError("weight file is missing", path)
    try:  # Mapped, so that what is not wanted is not read; files from before torch 1.6 are no archives and cannot be.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"not plain weights ({reason})", path, FOREIGN_HINT) from None


def require_keys(path: Path, module: nn.Module, tensors: Mapping[str, Tensor], ignored: Sequence[str] = ()) -> None:
    """Every tensor of the module is in the file with its shape, and no other but those that patterns in `ignored` name."""
    expected = module.state_dict()
    extra = [name for name in tensors if name not in expected and not any(fnmatchcase(name, each) for each in ignored)]
    complaints = [
        _listed("missing", [name for name in expected if name not in tensors]),
        _listed("unexpected", extra),
        _listed("of another shape", [n for n in expected if n in tensors and expected[n].shape != tensors[n].shape]),
    ]
    if any(complaints):
        raise UserError(f"weights do not fit the network: {'; '.join(filter(None, complaints))}", path)


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{what} {', '.join(names[:NAMED])}{more}" if names else ""


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) < 200 else f"{text[:200]}..."
