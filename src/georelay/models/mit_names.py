"""Weights of Mix Transformers under the names of three public codes, brought to ours.

The first code (NVlabs) numbers stages from 1 and keeps queries apart from keys and values; mmsegmentation has all three
in one matrix and writes the MLP's layers as convolutions; Hugging Face has three matrices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from georelay.errors import UserError

WRAPPERS = r"^(backbone\.|segformer\.encoder\.|encoder\.)"  # how files of whole segmenters name the backbone
# Of classifiers and segmenters; nothing of a backbone is called so.
BEHIND = r"^(head|classifier|decode_head|auxiliary_head)\."
IN_BLOCK = ("norm1", "norm2", "attn.sr", "attn.norm")


@dataclass(frozen=True)
class Form:
    """Patterns of a code's module names, groups in the order stage, block, rest; and how it names what is in a block."""

    embed: str
    block: str
    final: str
    first: int
    patches: Mapping[str, str]
    inside: Mapping[str, str]

    def ours(self, module: str) -> str | None:
        """Our name of a module of theirs; None where it is none of a Mix Transformer."""
        if found := re.fullmatch(self.final, module):
            return f"{self._stage(found)}.final"
        if (found := re.fullmatch(self.embed, module)) and found[2] in self.patches:
            return f"{self._stage(found)}.embed.{self.patches[found[2]]}"
        if (found := re.fullmatch(self.block, module)) and found[3] in self.inside:
            return f"{self._stage(found)}.blocks.{found[2]}.{self.inside[found[3]]}"
        return None

    def _stage(self, found: re.Match[str]) -> str:
        return f"stages.{int(found[1]) - self.first}"


FORMS = (
    Form(  # NVlabs
        r"patch_embed(\d)\.(\w+)",
        r"block(\d)\.(\d+)\.(.+)",
        r"norm(\d)",
        1,
        {"proj": "proj", "norm": "norm"},
        {name: name for name in (*IN_BLOCK, "attn.q", "attn.kv", "attn.proj", "mlp.fc1", "mlp.fc2")}
        | {"mlp.dwconv.dwconv": "mlp.dwconv"},
    ),
    Form(  # mmsegmentation
        r"layers\.(\d)\.0\.(\w+)",
        r"layers\.(\d)\.1\.(\d+)\.(.+)",
        r"layers\.(\d)\.2",
        0,
        {"projection": "proj", "norm": "norm"},
        {name: name for name in IN_BLOCK}
        | {"attn.attn.in_proj": "attn.qkv", "attn.attn.out_proj": "attn.proj"}
        | {"ffn.layers.0": "mlp.fc1", "ffn.layers.1": "mlp.dwconv", "ffn.layers.4": "mlp.fc2"},
    ),
    Form(  # Hugging Face
        r"patch_embeddings\.(\d)\.(\w+)",
        r"block\.(\d)\.(\d+)\.(.+)",
        r"layer_norm\.(\d)",
        0,
        {"proj": "proj", "layer_norm": "norm"},
        {"layer_norm_1": "norm1", "layer_norm_2": "norm2", "mlp.dense1": "mlp.fc1", "mlp.dense2": "mlp.fc2"}
        | {"attention.self.query": "attn.q", "attention.self.key": "attn.k", "attention.self.value": "attn.v"}
        | {"attention.self.sr": "attn.sr", "attention.self.layer_norm": "attn.norm", "attention.output.dense": "attn.proj"}
        | {"mlp.dwconv.dwconv": "mlp.dwconv"},
    ),
)


def converted(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """All weights of a Mix Transformer under our names; None where the file is in no public form.

    Classifiers and decode heads are left; any other name that is not understood is refused.
    """
    theirs = {re.sub(WRAPPERS, "", name): tensor for name, tensor in tensors.items() if not re.match(BEHIND, name)}
    form = next((form for form in FORMS if any(re.fullmatch(form.embed, _module(name)[0]) for name in theirs)), None)
    if form is None:
        return None
    places = {name: form.ours(_module(name)[0]) for name in theirs}
    if strange := [name for name, place in places.items() if place is None]:
        what = f"{', '.join(strange[:4])} ({len(strange)} in all) are no names of a Mix Transformer"
        raise UserError(what, path, "leave them out of the file, if the network needs none of them")
    return _joined({f"{places[name]}.{_module(name)[1]}": tensor for name, tensor in theirs.items()})


def _module(name: str) -> tuple[str, str]:
    """A module and which of its tensors; torch's attention writes in_proj_weight."""
    module, _, kind = name.replace("in_proj_", "in_proj.").rpartition(".")
    return module, kind


def _joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries apart, keys and values in one; layers as matrices, whatever shape they came in."""
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".attn.qkv." in name:
            width = len(tensor) // 3
            result[name.replace(".qkv.", ".q.")], result[name.replace(".qkv.", ".kv.")] = tensor[:width], tensor[width:]
        elif ".attn.k." in name:
            values = state.get(name.replace(".k.", ".v."), tensor[:0])  # none: the shape will be complained about
            result[name.replace(".k.", ".kv.")] = torch.cat([tensor, values])
        elif ".attn.v." not in name:
            result[name] = tensor.flatten(1) if ".mlp.fc" in name and tensor.dim() > 1 else tensor
    return result
