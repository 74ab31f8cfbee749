"""A teacher's network as the student: what is trained of it, what it sees, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from georelay.batches.streams import Batch, open_stream
from georelay.errors import UserError
from georelay.methods.transfer import TransferMethod
from georelay.models.weights import load_weights, save_weights
from georelay.teachers.network import open_teacher
from georelay.train.distributed import World
from georelay.train.optimizer import Optimisers
from georelay.train.run import build_method
from invented import CARD, MODALITIES, SIDE, TWIN, InventedStore, make_plan, write_teacher

torch.set_num_threads(1)  # on networks this small a second thread costs more than it brings


def build(
    root: Path, settings: dict[str, Any] | None = None, card: dict[str, Any] | None = None, **changes: Any
) -> TransferMethod:
    """As a run would; `settings` change those of the teacher's card."""
    card = write_teacher(root, "seer", card)
    card |= {"settings": card["settings"] | (settings or {})}
    method = build_method(make_plan("transfer", **({"teachers": {"seer": card}} | changes)), 0, root)
    assert isinstance(method, TransferMethod)
    return method.train()


def batch(method: TransferMethod) -> Batch:
    return open_stream(InventedStore(), method.plan, "labelled", 0).batch(0, 0, 1)


def trained(method: TransferMethod, steps: int = 3) -> TransferMethod:
    settings = method.plan["settings"]["train"] | {"steps": steps, "warmup_steps": 0}
    updater = Optimisers(method.parameter_groups(), settings, torch.device("cpu"), World(0, 1, 0))
    for step in range(steps):
        updater.set_rates(step)
        method.step([{"labelled": batch(method)}], step, updater)
    return method


def network(method: TransferMethod) -> dict[str, Tensor]:
    """Weights and statistics of the teacher's part."""
    return {key: tensor.clone() for key, tensor in method.student.backbone.network.state_dict().items()}


def test_frozen_it_keeps_its_bits_and_its_mode(tmp_path: Path) -> None:
    """Running statistics of norms too, though the decoder around it is in training mode."""
    method = build(tmp_path, options={"frozen": True})
    before, head = network(method), method.student.decoder.classify.weight.clone()
    after = network(trained(method))
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not torch.equal(method.student.decoder.classify.weight, head)
    assert method.student.decoder.training
    assert not any(module.training for module in method.student.backbone.modules())
    assert not any(parameter.requires_grad for parameter in method.student.backbone.parameters())


def test_not_frozen_it_is_trained_on_but_for_what_no_tap_reads(tmp_path: Path) -> None:
    method = build(tmp_path)
    before, after = network(method), network(trained(method))
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    unused = {key for key in before if key.startswith("net.decoder.classify.")}
    assert unused and not changed & unused
    assert changed == set(before) - unused
    assert all(module.training for module in method.student.backbone.modules())


@pytest.mark.parametrize(
    ("taps", "dead"), [([2], "net.decoder."), ([1], "net.decoder."), (["logits"], None), (["decoder"], "net.decoder.classify.")]
)
def test_what_is_not_trained_depends_on_the_taps(taps: list[Any], dead: str | None, tmp_path: Path) -> None:
    method = build(tmp_path, settings={"taps": taps})
    for name, parameter in method.student.backbone.network.named_parameters():
        after_the_tap = (dead is not None and name.startswith(dead)) or (taps == [1] and "layer2" in name)
        assert parameter.requires_grad != after_the_tap, name


def test_it_starts_from_the_teacher_s_weights(tmp_path: Path) -> None:
    method = build(tmp_path)
    teacher = open_teacher(CARD | {"name": "seer"}, tmp_path / "results/teachers/seer.safetensors", MODALITIES["optical"])
    theirs, own = teacher.network.state_dict(), network(method)
    assert theirs.keys() == own.keys()
    assert all(torch.equal(theirs[key], own[key]) for key in own)


def test_it_shows_the_network_what_the_teacher_sees(tmp_path: Path) -> None:
    """The maps of its decoder are those of the teacher for the tile in raster units."""
    method = build(tmp_path, options={"frozen": True}, augment={"flip": False, "turn": False}).eval()
    path = tmp_path / "results/teachers/seer.safetensors"
    teacher = open_teacher(CARD | {"name": "seer"}, path, MODALITIES["optical"])
    given = batch(method)
    raw = torch.from_numpy(InventedStore().array("optical").astype("float32"))[given.index]
    maps = teacher(raw, torch.ones(len(raw), 1, SIDE, SIDE, dtype=torch.bool))
    for found, expected in zip(method.student.backbone(given.image), maps, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_saved_weights_predict_the_same_bits(frozen: bool, fit: str, tmp_path: Path) -> None:
    method = trained(build(tmp_path, options={"frozen": frozen}, settings={"fit": fit})).eval()
    save_weights(tmp_path / "weights.safetensors", method.student, {})
    torch.manual_seed(99)
    student = TransferMethod.build_student(method.plan)
    load_weights(tmp_path / "weights.safetensors", student)
    other = TransferMethod(method.plan, student).eval()
    image = batch(method).image[..., :27, :21]
    assert torch.equal(other.predict(image), method.predict(image))
    assert other.predict(image).shape == (8, 4, 27, 21)


@pytest.mark.parametrize(("fit", "stride"), [("resize", None), ("pad", 4)])
def test_a_resized_image_is_spanned_and_a_padded_one_cut(fit: str, stride: int | None, tmp_path: Path) -> None:
    method = build(tmp_path, settings={"fit": fit}).eval()
    assert method.student.stride == stride
    image = batch(method).image[..., :27, :21]
    logits = method.student(image)
    assert logits.shape[-2:] == (8, 6)  # 32 x 24 pixels, the next multiples of 8
    corner = method.predict(image)[..., -1, -1]
    assert torch.allclose(corner, logits[..., -1, -1]) == (fit == "resize")


def test_neck_and_decoder_are_the_row_s(tmp_path: Path) -> None:
    method = build(tmp_path, model={"decoder": "uper", "neck": [2, 1], "width": 4})
    assert method.student.neck.scales == [2, 1]
    assert method.student.decoder.stride == 2
    assert method.loss({"labelled": batch(method)}, 0).total.isfinite()


def test_a_fixed_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)teachers\.seer\.size: .*at 64 pixels.*set it to null"):
        build(tmp_path, settings={"size": 64})


@pytest.mark.parametrize("inputs", [["sar"], ["optical", "sar"]])
def test_inputs_that_the_teacher_does_not_read_are_refused(inputs: list[str], tmp_path: Path) -> None:
    message = rf"(?s)experiments\.invented\.inputs: teacher seer reads optical, .*{', '.join(inputs)}.*set inputs: \[optical\]"
    with pytest.raises(UserError, match=message):
        build(tmp_path, inputs=inputs)


def test_other_weights_than_the_card_s_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)seer\.safetensors: is damaged.*georelay teach seer"):
        build(tmp_path, teachers={"seer": CARD})


def whole(root: Path, frozen: bool, taps: list[Any]) -> TransferMethod:
    """A teacher of the task's own classes, as a whole; tiles are seen as they lie."""
    as_they_lie = {"flip": False, "turn": False}
    return build(root, {"taps": taps}, TWIN, options={"frozen": frozen, "whole": True}, augment=as_they_lie)


def test_a_whole_teacher_answers_as_itself_and_learns_nothing(tmp_path: Path) -> None:
    method = whole(tmp_path, True, [1, "logits"])
    own = {key: tensor.clone() for key, tensor in method.student.state_dict().items()}
    assert method.parameter_groups() == {}
    after = trained(method).student.state_dict()
    assert all(torch.equal(own[key], after[key]) for key in own)
    given, path = batch(method.eval()), tmp_path / "results/teachers/seer.safetensors"
    card = TWIN | {"name": "seer", "settings": TWIN["settings"] | {"taps": ["logits"]}}
    raw = torch.from_numpy(InventedStore().array("optical").astype("float32"))[given.index]
    (expected,) = open_teacher(card, path, MODALITIES["optical"])(raw, torch.ones(len(raw), 1, SIDE, SIDE, dtype=torch.bool))
    torch.testing.assert_close(method.student(given.image), expected, atol=1e-4, rtol=1e-4)
    assert method.predict(given.image).shape == (8, 4, SIDE, SIDE)


def test_a_whole_teacher_that_is_not_frozen_is_trained_to_its_classifier(tmp_path: Path) -> None:
    method = whole(tmp_path, False, ["logits"])
    before, after = network(method), network(trained(method))
    assert not torch.equal(before["net.decoder.classify.weight"], after["net.decoder.classify.weight"])


def test_a_whole_teacher_needs_logits_of_the_task_s_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)whole: teacher seer keeps no logits, only \[1\].*add logits to its taps"):
        whole(tmp_path, True, [1])
    with pytest.raises(UserError, match=r"tells 3 classes apart, the task has 4"):
        build(tmp_path, {"taps": ["logits"]}, options={"whole": True})
