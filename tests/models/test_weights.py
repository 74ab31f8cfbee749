"""Weight files: equal bytes, every key compared, the facts of training checked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from georelay.errors import UserError
from georelay.models.backbones import create_network
from georelay.models.student import build_student
from georelay.models.weights import load_start, load_weights, read_foreign, require_keys, save_weights
from invented import MODEL

FACTS = {"classes": ["water", "land"], "inputs": ["sar"], "modalities": {"sar": {"mean": [-12.5]}}}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    first, second = network(), network()
    save_weights(tmp_path / "w.safetensors", first, FACTS)
    load_weights(tmp_path / "w.safetensors", second, FACTS)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    module = network()
    for name in ("a", "b"):
        save_weights(tmp_path / f"{name}.safetensors", module, dict(reversed(FACTS.items())) if name == "b" else FACTS)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_memory_format_does_not_show(tmp_path: Path) -> None:
    module = nn.Conv2d(2, 3, 3)
    save_weights(tmp_path / "a.safetensors", module, FACTS)
    save_weights(tmp_path / "b.safetensors", module.to(memory_format=torch.channels_last), FACTS)  # type: ignore[call-overload]
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize(
    "fact", [{"classes": ["land", "water"]}, {"inputs": ["optical"]}, {"modalities": {"sar": {"mean": [-12.4]}}}]
)
def test_other_classes_bands_or_statistics_are_refused(tmp_path: Path, fact: dict[str, object]) -> None:
    save_weights(tmp_path / "w.safetensors", network(), FACTS)
    with pytest.raises(UserError, match=f"weights were trained with {next(iter(fact))}"):
        load_weights(tmp_path / "w.safetensors", network(), FACTS | fact)


def test_missing_unexpected_and_misshapen_keys_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = {name: tensor.clone() for name, tensor in network().state_dict().items()}
    state["extra"], state["0.bias"] = torch.zeros(1), torch.zeros(9)
    del state["1.running_mean"]
    save_file(state, path)
    module = network()
    before = module[0].weight.clone()
    with pytest.raises(UserError, match=r"missing 1\.running_mean; unexpected extra; of another shape 0\.bias"):
        load_weights(path, module)
    assert torch.equal(module[0].weight, before)


@pytest.mark.parametrize("keep", [0, 5, 60])
def test_a_truncated_file_is_a_clear_error(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, network(), FACTS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_weights(path, network())


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="weight file is missing"):
        load_weights(tmp_path / "none.safetensors", network())


def test_a_student_may_start_from_a_whole_file_or_from_its_backbone(tmp_path: Path) -> None:
    model = MODEL | {"stages": [1]}
    source, whole, part = (build_student(model, 2, 3) for _ in range(3))
    save_weights(tmp_path / "whole.safetensors", source, {})
    save_weights(tmp_path / "part.safetensors", source.backbone.net, {})
    load_start(tmp_path / "whole.safetensors", whole)
    load_start(tmp_path / "part.safetensors", part)
    assert torch.equal(whole.decoder.classify.weight, source.decoder.classify.weight)
    assert torch.equal(part.backbone.net.conv1[0].weight, source.backbone.net.conv1[0].weight)
    assert not torch.equal(part.decoder.classify.weight, source.decoder.classify.weight)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "convnextv2_atto", "tiny_vit_5m_224"])
def test_a_student_may_start_from_a_classifier_s_file(tmp_path: Path, name: str) -> None:
    """As timm publishes them: a feature extractor has other names for some of the same layers, and no classifier."""
    stages = list(range(4))
    student = build_student(MODEL | {"backbone": name, "stages": stages}, 3, 2)
    source = create_network(name, {})
    save_file(source.state_dict(), tmp_path / "timm.safetensors")
    load_start(tmp_path / "timm.safetensors", student)
    values, given = student.backbone.net.state_dict(), source.state_dict()
    assert values and all(any(torch.equal(value, other) for other in given.values()) for value in values.values())


@pytest.mark.parametrize("ending", ["pth", "pt", "bin", "safetensors"])
def test_other_people_s_files_are_read(tmp_path: Path, ending: str) -> None:
    path, state = tmp_path / f"w.{ending}", network().state_dict()
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    found = read_foreign(path)
    assert list(found) == list(state) or ending == "safetensors"
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("archive", [True, False])
def test_nested_weights_are_found_beside_other_things(tmp_path: Path, archive: bool) -> None:
    path, module = tmp_path / "w.pth", network()
    content = {"epoch": 3, "optimizer": {"lr": [0.1]}, "model": {"state_dict": dict(module.named_parameters())}}
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    found = read_foreign(path)
    assert set(found) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert torch.equal(found["0.weight"], module[0].weight) and not found["0.weight"].requires_grad


class Code:
    """Something that a plain weight file has no business to hold."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": Code()}, "not plain weights"),
        ({"model": {"a": torch.zeros(1), "epoch": 3}}, "no tensors at epoch"),
        ({"state_dict": {}}, "holds no weights by name"),
        ([torch.zeros(1)], "holds no weights by name"),
    ],
)
def test_files_that_are_not_plain_weights_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message):
        read_foreign(tmp_path / "w.pth")


@pytest.mark.parametrize("keep", [0, 7, 400])
def test_a_truncated_foreign_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "w.pth"
    torch.save(network().state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="not plain weights"):
        read_foreign(path)


def test_unexpected_keys_may_be_ignored_by_pattern_missing_ones_never(tmp_path: Path) -> None:
    state = {**network().state_dict(), "mask_token": torch.zeros(1), "head.weight": torch.zeros(1)}
    require_keys(tmp_path, network(), state, ["mask_token", "head.*"])
    with pytest.raises(UserError, match=r"unexpected head\.weight$"):
        require_keys(tmp_path, network(), state, ["mask_*"])
    del state["0.bias"]
    with pytest.raises(UserError, match=r"missing 0\.bias$"):
        require_keys(tmp_path, network(), state, ["*"])
