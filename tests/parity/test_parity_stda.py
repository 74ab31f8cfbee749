"""ST-DASegNet's parts against arrays from its public code: neck, adversaries, pseudo-labels, averages, losses, decoders."""

from __future__ import annotations

import pytest
import torch
from recorded import Recording, assert_close_to
from torch import Tensor, nn

from georelay.models.adversary import Discriminator, adversarial_loss, spatial_softmax
from georelay.models.decoders.blocks import Decoder
from georelay.models.decoders.deeplab import DeeplabDecoder
from georelay.models.decoders.segformer import SegformerDecoder
from georelay.models.disentangle import DisentanglingNeck
from georelay.models.ema import Average
from georelay.models.losses import cross_entropy
from georelay.models.pseudo import weighted_pseudo_labels

# Their names to ours, first the neck's.
SIDES = {"expand_s": "expand_own", "expand_t": "expand_other"}
UNIVERSAL = {"fuse_conv": "universal.fuse", "uni_s": "universal.narrow_own", "uni_t": "universal.narrow_other"}
NECK = SIDES | {f"stage{stage}.gate.": f"gates.{stage - 1}." for stage in (1, 2, 3, 4)} | {"stage4.": ""} | UNIVERSAL
ONE_STAGE = SIDES | {"gate.": "gates.0."} | UNIVERSAL
DEEPLAB = {
    ".bn.": ".norm.",
    "_conv.": ".",
    "image_pool.1": "pooled",
    "aspp_modules": "branches",
    "c1_bottleneck": "fine",
    "sep_bottleneck": "refine",
    "conv_seg": "classify",
}
SEGFORMER = {"convs.": "levels.", "fusion_conv.": "fusion.", "conv_seg.": "classify.", ".bn.": ".norm."}


def loaded_neck(recording: Recording, channels: list[int], names: dict[str, str], universal: bool = True) -> nn.Module:
    neck = DisentanglingNeck(channels, recording.plain("L"), universal=universal)
    return recording.load(neck, names, prefix="w.")


@pytest.mark.parametrize(("case", "universal"), [("01_gate_a", False), ("02_ddm_full_a", True)])
def test_one_stage_and_all_its_gradients(case: str, universal: bool) -> None:
    recording = Recording(f"stda_{case}")
    maps = [recording[f"x_{side}"].requires_grad_() for side in "st"]
    neck = loaded_neck(recording, [maps[0].shape[1]], ONE_STAGE, universal)
    (own,), (other,) = neck(maps[:1], maps[1:])
    assert neck.channels == [own.shape[1]]
    assert_close_to(own, recording["y_s"])
    assert_close_to(other, recording["y_t"])
    loss = own.square().mean() + 0.5 * other.square().mean()
    assert_close_to(loss, recording["loss"])
    loss.backward()
    for map_, side in zip(maps, "st", strict=True):
        assert_close_to(map_.grad, recording[f"grad_x_{side}"])
    recorded = recording.named("grad.", ONE_STAGE)
    parameters = dict(neck.named_parameters())
    assert recorded.keys() == parameters.keys()
    for name, gradient in recorded.items():
        assert_close_to(parameters[name].grad, gradient)


def test_four_stages() -> None:
    recording = Recording("stda_03_ddm_multilevel")
    own, other = ([recording[f"x_{side}{stage}"] for stage in (1, 2, 3, 4)] for side in "st")
    neck = loaded_neck(recording, [map_.shape[1] for map_ in own], NECK)
    for side, found in zip("st", neck(own, other), strict=True):
        assert [map_.shape[1] for map_ in found] == neck.channels
        for stage, map_ in enumerate(found, start=1):
            assert_close_to(map_, recording[f"y_{side}{stage}"])


def test_spatial_softmax() -> None:
    recording = Recording("stda_04_spatial_softmax")
    assert_close_to(spatial_softmax(recording["feat"]), recording["out"])


@pytest.mark.parametrize("case", [0, 1])
def test_discriminator_and_what_it_tells_the_backbone(case: int) -> None:
    """12 and 13 cells a side, both to one logit."""
    recording = Recording("stda_05_disc_numconv2")
    map_ = recording[f"feat_{case}"].requires_grad_()
    judge = recording.load(Discriminator(map_.shape[1], 2, recording.plain("base_channels")), {"conv": "convs."}, prefix="w.")
    shares = spatial_softmax(map_)
    assert_close_to(shares, recording[f"prob_{case}"])
    logits = judge(shares)
    assert_close_to(logits, recording[f"logit_{case}"])
    size, weight = tuple(recording.plain(f"up_size_{case}")), 0.005
    assert_close_to(adversarial_loss(logits, False, size, weight), recording[f"loss_as_fake_{case}"])
    loss = adversarial_loss(logits, True, size, weight)
    assert_close_to(loss, recording[f"loss_as_real_{case}"])
    loss.backward()
    assert_close_to(map_.grad, recording[f"grad_feat_real_{case}"])


@pytest.mark.parametrize("real", [True, False])
def test_adversarial_loss(real: bool) -> None:
    recording = Recording("stda_06_gan_loss")
    logits = recording["x"]
    found = adversarial_loss(logits, real, (logits.shape[-2], logits.shape[-1]), recording.plain("loss_weight"))
    assert_close_to(found, recording[f"vanilla.real{int(real)}.isdisc0"], 1e-6)


@pytest.mark.parametrize("case", "abcdf")
def test_pseudo_labels_and_their_weights(case: str) -> None:
    """Six classes; fewer weights than classes; weights that are class numbers; no weights; three classes."""
    recording = Recording(f"stda_07_pseudo_{case}")
    low = recording.plain("low_threshold")
    weights = recording.plain("class_weight") or None
    options = (recording.plain("threshold"), low if low >= 0 else None, weights)
    found = weighted_pseudo_labels(recording["teacher_logits"], *options, as_published=True)
    assert torch.equal(found.label, recording["label"][:, 0])
    assert_close_to(found.share, recording["q"], 0)
    assert_close_to(found.weight, recording["weight"], 1e-7)


def test_a_plain_table_differs_where_weights_are_class_numbers() -> None:
    """1.0, 2.0, 3.0, 1.5, 2.0, 5.0: there classes 0, 1 and 2 all end at class 3's."""
    recording = Recording("stda_07_pseudo_c")
    options = [recording.plain(key) for key in ("threshold", "low_threshold", "class_weight")]
    found = weighted_pseudo_labels(recording["teacher_logits"], *options)
    there, differs = recording["weight"], found.weight != recording["weight"]
    assert found.label[differs].unique().tolist() == [0, 1, 2]
    assert (there[differs & (found.label == 1)] == 0.5 * 1.5).all()
    assert (found.weight[differs & (found.label == 1)] == 0.5 * 2.0).all()


@pytest.mark.parametrize("side", "st")
def test_averages_of_parameters_alone(side: str) -> None:
    """They begin as networks of their own; the first update is step 1's."""
    recording = Recording("stda_08_ema_sequence")
    student = nn.Module()
    student.register_buffer("running_mean", recording["teacher_bn_running_mean_after"])
    student.weights = nn.Parameter(recording[f"teacher_{side}0"])
    average = Average(student, 0.999, buffers=False)
    student.running_mean = recording["student_bn_running_mean"]
    for call, step in enumerate(recording.plain("iters")):
        student.weights.data = recording[f"student_{side}"][call]
        average.update(student, step)
        assert_close_to(average.network.weights, recording[f"teacher_{side}"][call], 1e-6)
    assert torch.equal(average.network.running_mean, recording["teacher_bn_running_mean_after"])


@pytest.mark.parametrize("kind", ["plain", "weighted"])
def test_cross_entropy_with_weights(kind: str) -> None:
    recording = Recording("stda_09_seg_ce")
    logits = recording["logits"].requires_grad_()
    weights = {"class_weights": recording.plain("class_weight")}
    if kind == "weighted":
        weights["pixel_weights"] = recording["pixel_weight"]
    options = {"stride": 4, "ignore": recording.plain("ignore_index"), "at": "label", "over_all": True}
    loss = cross_entropy(logits, recording["label"][:, 0], **options, **weights)
    assert_close_to(loss, recording[f"loss_{kind}"], 1e-6)
    loss.backward()
    assert_close_to(logits.grad, recording[f"grad_{kind}"])


def segformer() -> tuple[Recording, Decoder, dict[str, str], list[Tensor]]:
    recording = Recording("stda_10_head_segformer")
    maps = [recording[f"x{stage}"] for stage in (1, 2, 3, 4)]
    return recording, SegformerDecoder([map_.shape[1] for map_ in maps], [4, 8, 16, 32], 16, 6, 0.0), SEGFORMER, maps


def deeplab() -> tuple[Recording, Decoder, dict[str, str], list[Tensor]]:
    recording = Recording("stda_11_head_deeplabv3plus")
    maps = [recording[f"x{stage}"] for stage in (1, 4)]
    first, *dilations = recording.plain("dilations")
    assert first == 1  # that branch is the plain 1x1 unit
    return recording, DeeplabDecoder([8, 20], [4, 8], 12, 6, 0.0, dilations, fine_width=6), DEEPLAB, maps


@pytest.mark.parametrize("build", [segformer, deeplab])
def test_decoders_in_evaluation_and_in_training(build: object) -> None:
    """Training answers by the batch's statistics, and leaves the running ones as recorded."""
    recording, decoder, names, maps = build()  # type: ignore[operator]
    recording.load(decoder, names, prefix="w.")
    assert_close_to(decoder(maps), recording["y_eval"])
    assert_close_to(decoder.train()(maps), recording["y_train_nodrop"])
    left = dict(decoder.named_buffers())
    for name, recorded in recording.named("after_train.", names).items():
        assert_close_to(left[name], recorded)
