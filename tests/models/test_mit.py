"""Mix Transformers: like any backbone, and weights under the names of three public codes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from georelay.errors import UserError
from georelay.models.backbones import Backbone
from georelay.models.mit import SIZES, Block, MixTransformer
from georelay.models.mit_names import converted
from georelay.models.student import Student, build_student
from georelay.models.weights import load_start
from invented import MODEL

B0 = MODEL | {"backbone": "mit_b0", "stages": [0, 1, 2, 3], "arguments": {"drop_path_rate": 0.1}}


def student(**changes: object) -> Student:
    return build_student(B0 | changes, 3, 2)


def state() -> dict[str, Tensor]:
    """All weights of a random B0; norms are random, too, so that none is taken for another."""
    network = MixTransformer(*SIZES["mit_b0"])
    return {name: torch.rand_like(tensor) for name, tensor in network.state_dict().items()}


def nvlabs(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    theirs = {}
    for name, tensor in ours.items():
        stage, rest = int(name[len("stages.")]) + 1, name[len("stages.0.") :]
        kind, _, inner = rest.partition(".")
        start = {"embed": f"patch_embed{stage}.", "blocks": f"block{stage}.", "final": f"norm{stage}."}[kind]
        theirs[start + inner.replace("dwconv.", "dwconv.dwconv.")] = tensor
    return theirs


def mmsegmentation(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    theirs = {}
    words = {"embed.proj": "0.projection", "embed.norm": "0.norm", "final": "2", "blocks": "1", "stages": "layers"}
    words |= {
        "attn.proj": "attn.attn.out_proj",
        "mlp.fc1": "ffn.layers.0",
        "mlp.dwconv": "ffn.layers.1",
        "mlp.fc2": "ffn.layers.4",
    }
    for name, tensor in ours.items():
        found = name
        for word, other in words.items():
            found = found.replace(word, other)
        if ".attn.q." in name:
            both = torch.cat([tensor, ours[name.replace(".q.", ".kv.")]])
            theirs[found.replace(".attn.q.", ".attn.attn.in_proj_")] = both
        elif ".attn.kv." not in name:
            theirs[found] = tensor[..., None, None] if ".fc" in name and tensor.dim() == 2 else tensor
    return theirs


def hugging_face(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    theirs = {}
    words = {"attn.q": "attention.self.query", "attn.proj": "attention.output.dense", "attn.sr": "attention.self.sr"}
    words |= {"attn.norm": "attention.self.layer_norm", "norm1": "layer_norm_1", "norm2": "layer_norm_2"}
    words |= {"fc1": "dense1", "fc2": "dense2", "dwconv": "dwconv.dwconv"}
    for name, tensor in ours.items():
        stage, rest = name[len("stages.")], name[len("stages.0.") :]
        kind, _, inner = rest.partition(".")
        if kind == "embed":
            theirs[f"patch_embeddings.{stage}.{inner.replace('norm', 'layer_norm')}"] = tensor
        elif kind == "final":
            theirs[f"layer_norm.{stage}.{inner}"] = tensor
        elif ".attn.kv." in name:
            for word, half in zip(("key", "value"), tensor.chunk(2), strict=True):
                theirs[f"block.{stage}.{inner.replace('attn.kv', f'attention.self.{word}')}"] = half
        else:
            for word, other in words.items():
                inner = inner.replace(word, other)
            theirs[f"block.{stage}.{inner}"] = tensor
    return theirs


FORMS = {"nvlabs": (nvlabs, "backbone."), "mmsegmentation": (mmsegmentation, "backbone."), "hf": (hugging_face, "encoder.")}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("prefix", [True, False])
def test_every_public_form_is_ours_again(form: str, prefix: bool, tmp_path: Path) -> None:
    ours, (rename, before) = state(), FORMS[form]
    before = before if prefix else {"hf": "segformer.encoder."}.get(form, "")
    theirs = {before + name: tensor for name, tensor in rename(ours).items()}
    behind = {"head.weight": torch.zeros(2), "decode_head.linear_fuse.weight": torch.zeros(3), "classifier.bias": torch.zeros(1)}
    found = converted(tmp_path, theirs | behind)
    assert found is not None and found.keys() == ours.keys()
    assert all(torch.equal(found[name], ours[name]) for name in ours)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_student_starts_from_any_of_them(form: str, ending: str, tmp_path: Path) -> None:
    ours, path, started = state(), tmp_path / f"mit.{ending}", student()
    theirs = {name: tensor.contiguous().clone() for name, tensor in FORMS[form][0](ours).items()}
    save_file(theirs, path) if ending == "safetensors" else torch.save({"state_dict": theirs}, path)
    load_start(path, started)
    for name, tensor in started.backbone.net.state_dict().items():
        assert torch.equal(tensor, ours[name.replace("stages_", "stages.")])


def test_a_student_starts_from_its_own_names_and_from_a_whole_student(tmp_path: Path) -> None:
    ours, whole, started = state(), student(), student()
    save_file(ours, tmp_path / "own.safetensors")
    load_start(tmp_path / "own.safetensors", started)
    assert torch.equal(started.backbone.net.stages_2.final.weight, ours["stages.2.final.weight"])
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    load_start(tmp_path / "whole.safetensors", started)
    assert torch.equal(started.decoder.classify.weight, whole.decoder.classify.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block1.0.attn.relative": torch.zeros(1)}, r"block1\.0\.attn\.relative \(1 in all\) are no names"),
        ({"pos_embed1": torch.zeros(1)}, r"pos_embed1 \(1 in all\) are no names"),
        ({"block3.1.attn.kv.bias": None}, r"missing stages_2\.blocks\.1\.attn\.kv\.bias$"),
        ({"norm4.weight": None}, r"missing stages_3\.final\.weight$"),
        ({"norm4.weight": torch.zeros(3)}, r"of another shape stages_3\.final\.weight$"),
    ],
)
def test_names_and_shapes_are_all_accounted_for(tmp_path: Path, change: dict[str, Tensor | None], message: str) -> None:
    theirs = {name: tensor for name, tensor in (nvlabs(state()) | change).items() if tensor is not None}
    save_file(theirs, tmp_path / "mit.safetensors")
    with pytest.raises(UserError, match=message):
        load_start(tmp_path / "mit.safetensors", student())


def test_keys_without_values_are_refused(tmp_path: Path) -> None:
    theirs = {name: tensor for name, tensor in hugging_face(state()).items() if name != "block.0.0.attention.self.value.bias"}
    save_file({name: tensor.clone() for name, tensor in theirs.items()}, tmp_path / "mit.safetensors")
    with pytest.raises(UserError, match=r"of another shape stages_0\.blocks\.0\.attn\.kv\.bias$"):
        load_start(tmp_path / "mit.safetensors", student())


def test_other_networks_keep_their_names(tmp_path: Path) -> None:
    """Names that look like a Mix Transformer's are nothing special in another network."""
    source, other = build_student(MODEL, 3, 2), build_student(MODEL, 3, 2)
    save_file(source.state_dict() | {"norm1.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"unexpected norm1\.weight$"):
        load_start(tmp_path / "w.safetensors", other)
    assert converted(tmp_path, source.state_dict()) is None


def test_images_of_any_size_and_bands() -> None:
    backbone = Backbone("mit_b0", [0, 2], 5, {})
    assert (backbone.channels, backbone.strides) == ([32, 160], [4, 16])
    assert [tuple(map_.shape) for map_ in backbone(torch.rand(2, 5, 33, 16))] == [(2, 32, 12, 4), (2, 160, 3, 1)]


def test_a_student_of_it_learns_in_either_memory_format() -> None:
    """Same logits, and a gradient for every parameter."""
    whole, image = student(decoder="segformer", arguments={}).train(), torch.rand(2, 3, 64, 64)
    logits = whole(image)
    assert logits.shape == (2, 2, 16, 16)
    other = whole.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    torch.testing.assert_close(other, logits, rtol=1e-4, atol=1e-4)
    other.square().sum().backward()
    silent = [name for name, parameter in whole.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not silent


@pytest.mark.parametrize(("name", "stages", "where"), [("mit_b9", [0], "model.backbone"), ("mit_b0", [4], "model.stages")])
def test_what_there_is_not_is_refused(name: str, stages: list[int], where: str) -> None:
    with pytest.raises(UserError) as error:
        Backbone(name, stages, 3)
    assert error.value.where == where and (name == "mit_b0" or "mit_b" in error.value.hint)


def test_branches_are_left_out_more_often_the_deeper_they_lie() -> None:
    net = Backbone("mit_b0", [0, 1, 2, 3], 3, {"drop_path_rate": 0.7}).net
    drops = [block.drop for stage in net.values() for block in stage.blocks]
    torch.testing.assert_close(torch.tensor(drops), torch.arange(8) / 10)


def test_what_is_left_out_is_made_up_for() -> None:
    block, ones = Block(4, 1, 1, 0.25), torch.ones(4000, 1, 1)
    kept = block._kept(ones)
    assert set(kept.flatten().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs(kept.mean().item() - 1) < 0.05
    assert torch.equal(block.eval()._kept(ones), ones)
