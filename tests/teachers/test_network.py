"""Frozen teachers as a whole: opened by key, never trained, maps and layouts that agree, the ready ones as documented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from georelay.errors import UserError
from georelay.models.backbones import hub_repository
from georelay.models.taps import TapNetwork
from georelay.models.weights import save_weights
from georelay.params import load_params
from georelay.rows import resolve_teacher
from georelay.teachers.network import TaughtNetwork, TeacherNetwork, build_network, modality_for, open_teacher

Settings = Callable[..., dict[str, Any]]
Facts = dict[str, dict[str, Any]]
PARAMS = Path(__file__).parents[2] / "params.yaml"
TINY_DINOV2 = {"embed_dim": 12, "depth": 2, "num_heads": 2}
MODEL = {
    "backbone": "test_resnet",
    "arguments": {},
    "stages": [1, 2, 4],
    "normed": [],
    "positions": "timm",
    "neck": [],
    "decoder": "fpn",
    "width": 8,
    "dropout": 0.1,
}
TAUGHT = {"model": MODEL, "bands": 4, "classes": 5}


def written(
    folder: Path, settings: dict[str, Any], taught: dict[str, Any] | None = None
) -> tuple[dict[str, Any], Path, nn.Module]:
    """Card, weight file and network of a teacher with random weights."""
    network = build_network(settings, taught, None)
    save_weights(folder / "t.safetensors", network.net, {})
    return {"name": "t", "settings": settings, "taught": taught}, folder / "t.safetensors", network.eval()


def tiles(side: int = 32, bands: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(2, bands, side, side) * 4000, torch.ones(2, 1, side, side, dtype=torch.bool)


def test_an_opened_teacher_answers_with_its_own_weights(tmp_path: Path, teacher_settings: Settings, modalities: Facts) -> None:
    card, weights, network = written(tmp_path, teacher_settings())
    teacher = open_teacher(card, weights, modalities["optical"])
    raw, valid = tiles()
    maps, expected = teacher(raw, valid), network(teacher.intake(raw, valid))
    assert all(torch.equal(*pair) for pair in zip(maps, expected, strict=True))
    assert teacher.taps == [(1, 64), (5, 64)] and not maps[0].requires_grad


def test_a_teacher_is_frozen(tmp_path: Path, teacher_settings: Settings, modalities: Facts) -> None:
    card, weights, _ = written(tmp_path, teacher_settings(network="test_resnet", taps=[2], normed=[]))
    teacher = open_teacher(card, weights, modalities["optical"])
    nn.ModuleList([teacher]).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    teacher(*tiles())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "side", "expected"),
    [
        ({"network": "test_vit"}, 40, [(64, 3, 48), (64, 3, 48)]),
        ({"network": "test_vit", "fit": "resize"}, 40, [(64, 3, 40), (64, 3, 40)]),
        ({"network": "test_vit", "fit": "resize", "size": 64}, 32, [(64, 4, 32), (64, 4, 32)]),
        ({"network": "test_vit", "size": 60}, 32, [(64, 4, 64), (64, 4, 64)]),
        ({"network": "test_resnet", "taps": [4, 1], "normed": []}, 64, [(96, 2, 64), (32, 16, 64)]),
        ({"network": "vit_small_patch14_dinov2", "arguments": TINY_DINOV2, "taps": [1], "normed": []}, 256, [(12, 19, 266)]),
    ],
)
def test_the_layout_is_that_of_the_maps(
    tmp_path: Path, teacher_settings: Settings, modalities: Facts, changes: dict[str, Any], side: int, expected: list[Any]
) -> None:
    card, weights, _ = written(tmp_path, teacher_settings(**changes))
    teacher = open_teacher(card, weights, modalities["optical"])
    assert teacher.layout(side) == expected
    shapes = [tuple(map_.shape) for map_ in teacher(*tiles(side))]
    assert shapes == [(2, channels, cells, cells) for channels, cells, _ in expected]


def test_all_bands_are_read_through_an_adapted_stem(tmp_path: Path, teacher_settings: Settings, modalities: Facts) -> None:
    card, weights, network = written(tmp_path, teacher_settings(bands="all", statistics="task"))
    teacher = open_teacher(card, weights, modalities["optical"])
    assert teacher.intake.note == "bands blue, green, red, nir of 4; the stem's 3 bands are repeated to 4, times 3/4"
    stem, own = (net.patch_embed.proj.weight for net in (teacher.network.net, network.net))
    torch.testing.assert_close(stem, own[:, [0, 1, 2, 0]] * 0.75)


def test_other_band_counts_are_refused(tmp_path: Path, teacher_settings: Settings, modalities: Facts) -> None:
    card, weights, _ = written(tmp_path, teacher_settings(bands=["red", "nir"], statistics="task"))
    with pytest.raises(UserError, match="reads 3 bands and is shown 2"):
        open_teacher(card, weights, modalities["optical"])


def test_weights_of_another_network_are_refused(tmp_path: Path, teacher_settings: Settings, modalities: Facts) -> None:
    card, weights, _ = written(tmp_path, teacher_settings())
    card["settings"] = teacher_settings(network="test_vit2", normed=[])
    with pytest.raises(UserError, match=r"do not fit the network: missing reg_token, .*; unexpected cls_token"):
        open_teacher(card, weights, modalities["optical"])


def test_a_taught_teacher_shows_stages_decoder_and_logits(tmp_path: Path, teacher_settings: Settings, modalities: Facts) -> None:
    settings = teacher_settings(taps=["logits", 4, "decoder", 1], normed=[], bands="all", statistics="task")
    card, weights, network = written(tmp_path, settings, TAUGHT)
    teacher = open_teacher(card, weights, modalities["optical"])
    raw, valid = tiles(64)
    logits, coarse, decoder, fine = teacher(raw, valid)
    image = teacher.intake(raw, valid)
    with torch.no_grad():
        stages = network.net.backbone(image)
        torch.testing.assert_close(logits, network.net(image))
        torch.testing.assert_close(logits, network.net.decoder.classify(decoder))
    assert torch.equal(fine, stages[0]) and torch.equal(coarse, stages[2])
    assert teacher.layout(64) == [(5, 16, 64), (96, 2, 64), (8, 16, 64), (32, 16, 64)]
    assert teacher.network.strides == [4, 32, 4, 4]


@pytest.mark.parametrize("changes", [{}, {"neck": [1, 0.5, 1]}])
def test_a_taught_teacher_shows_the_levels_of_its_decoder(
    tmp_path: Path, teacher_settings: Settings, modalities: Facts, changes: dict[str, Any]
) -> None:
    """Behind a neck too, whose scales the levels have."""
    settings = teacher_settings(taps=["aligned-2", "logits", "aligned-1", "aligned-0"], normed=[], bands="all", statistics="task")
    taught = TAUGHT | {"model": MODEL | {"decoder": "hfam-flow"} | changes}
    card, weights, network = written(tmp_path, settings, taught)
    teacher = open_teacher(card, weights, modalities["optical"])
    raw, valid = tiles(64)
    coarse, logits, middle, fine = teacher(raw, valid)
    with torch.no_grad():
        net, image = network.net, teacher.intake(raw, valid)
        expected = net.decoder.levels(net.neck(net.backbone(image)))
        assert all(torch.equal(*pair) for pair in zip((fine, middle, coarse), expected, strict=True))
        assert torch.equal(logits, net(image))
    side = 4 if changes else 8
    assert teacher.layout(64) == [(8, 2, 64), (5, 16, 64), (8, side, 64), (8, 16, 64)]
    assert teacher.network.strides == [32, 4, 64 // side, 4] and teacher.network.channels == [8, 5, 8, 8]


@pytest.mark.parametrize(("taps", "joined"), [(["aligned-1", "aligned-0"], 0), (["aligned-0", "decoder", "logits"], 1)])
def test_levels_are_made_once_and_joined_on_demand(taps: list[int | str], joined: int) -> None:
    network = TaughtNetwork(MODEL | {"decoder": "hfam-none"}, 4, 5, taps).eval()
    calls: list[str] = []
    for name, module in (("lateral", network.net.decoder.laterals[0]), ("fusion", network.net.decoder.fusion)):
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    network(torch.rand(1, 4, 64, 64))
    assert (calls.count("lateral"), calls.count("fusion")) == (1, joined)


def test_levels_that_a_decoder_lacks_are_refused(teacher_settings: Settings) -> None:
    with pytest.raises(UserError, match=r"taps \[1, 2, 4\], decoder, logits, .* and aligned-2, not \['aligned-3'\]"):
        TaughtNetwork(MODEL | {"decoder": "hfam-none"}, 4, 5, ["aligned-3"])
    with pytest.raises(UserError, match=r"decoder and logits, not \['aligned-0'\]"):
        TaughtNetwork(MODEL, 4, 5, ["aligned-0"])
    with pytest.raises(UserError, match="only networks taught here have aligned-0"):
        build_network(teacher_settings(taps=["aligned-0"]), None, None)


def test_taps_that_a_teacher_lacks_are_refused(teacher_settings: Settings) -> None:
    with pytest.raises(UserError, match=r"taps \[1, 2, 4\], decoder and logits, not \[3\]"):
        TaughtNetwork(MODEL, 4, 5, [1, 3])
    with pytest.raises(UserError, match="only networks taught here have logits"):
        build_network(teacher_settings(taps=[1, "logits"]), None, None)


def test_another_band_count_can_be_built_in(teacher_settings: Settings) -> None:
    assert build_network(teacher_settings(), None, 5).net.patch_embed.proj.in_channels == 5


def test_the_first_modality_of_the_unit_is_read(teacher_settings: Settings, modalities: Facts) -> None:
    settings = teacher_settings()
    assert modality_for(settings, modalities) == "optical"
    assert modality_for({"name": "t", "settings": settings | {"unit": "dB"}}, modalities) == "sar"
    with pytest.raises(UserError, match=r"teachers\.t\.unit: reads reflectance; the task has sar in dB"):
        modality_for({"name": "t", "settings": settings}, {"sar": modalities["sar"]})


@pytest.mark.parametrize(
    ("name", "taps", "normed", "channels", "stride"),
    [
        ("vit_small_patch14_dinov2.lvd142m", [2, 5, 8, 11], [11], [384] * 4, 14),
        ("vit_base_patch14_dinov2.lvd142m", [11], [11], [768], 14),
        ("vit_large_patch14_clip_quickgelu_224.openai", [23], [], [1024], 14),
        ("samvit_base_patch16.sa1b", [11], [11], [256], 16),
        ("samvit_base_patch16.sa1b", [2, 11], [], [768, 768], 16),
        ("vit_base_patch16_dinov3.lvd1689m", [2, 11], [11], [768, 768], 16),
    ],
)
def test_known_architectures_have_their_taps_and_strides(
    name: str, taps: list[int], normed: list[int], channels: list[int], stride: int
) -> None:
    with torch.device("meta"):
        network = TapNetwork(name, taps, normed).eval()
        maps = network(torch.zeros(1, 3, 4 * stride, 4 * stride))
    assert network.channels == channels and network.strides == [stride] * len(taps) and network.multiple == stride
    assert [tuple(map_.shape) for map_ in maps] == [(1, count, 4, 4) for count in channels]


def test_every_ready_teacher_s_network_can_be_built() -> None:
    params = load_params(PARAMS)
    teachers = [resolve_teacher(params, name) for name in params.teachers]
    for settings in (teacher for teacher in teachers if teacher.network is not None):
        with torch.device("meta"):
            network = build_network(settings.model_dump(), None, None)
        assert len(network.channels) == len(settings.taps)
        assert settings.origin != "hub" or hub_repository(str(settings.network))


def test_half_precision_weights_still_give_float32_maps(tmp_path: Path, teacher_settings: Settings, modalities: Facts) -> None:
    card, weights, _ = written(tmp_path, teacher_settings())
    teacher = open_teacher(card, weights, modalities["optical"])
    with torch.autocast("cpu", torch.bfloat16):
        maps = teacher(*tiles())
    assert isinstance(teacher, TeacherNetwork) and {map_.dtype for map_ in maps} == {torch.float32}
