"""HFD-Net: what its loss is made of at every point, what stays in the network, and what is refused in words."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.streams import open_stream
from georelay.errors import UserError
from georelay.methods.base import Batches
from georelay.methods.hfdnet import HallucinatingStudent, HfdNetMethod, walk
from georelay.models import student as students
from georelay.models.decoders.blocks import ConvUnit, resize
from georelay.models.decoders.fpn import FpnDecoder
from georelay.models.heterogeneous import feature_error, logit_error, on_grid, whole_cells
from georelay.models.losses import cross_entropy
from georelay.models.weights import load_weights, read_weights
from georelay.train import run
from georelay.train.run import build_method
from invented import TWIN, InventedFeatures, InventedStore, make_plan, write_teacher

torch.set_num_threads(1)  # on networks this small a second thread costs more than it brings
PLAIN: dict[str, Any] = {"ramp": 0.0, "gate": "none", "tolerance": 0, "feature_weight": 1.0, "logit_weight": 0.0}
LEVELS = [{"tap": f"aligned-{level}", "channels": 8, "stride": 4 << level} for level in range(2)]
STAGES, (FUSED, LOGITS) = TWIN["taps"][:2], TWIN["taps"][2:]
POINTS: dict[str, list[dict[str, Any]]] = {"encoder": STAGES, "aligned": LEVELS, "fused": [FUSED], "logits": [LOGITS]}


class LevelledDecoder(FpnDecoder):
    """A pyramid that shows its levels."""

    def __init__(self, channels: Any, strides: Any, width: int, *rest: Any) -> None:
        super().__init__(channels, strides, width, *rest)
        self.tops = torch.nn.ModuleList(ConvUnit(width, width, 1) for _ in channels)

    def levels(self, maps: Any) -> list[Tensor]:
        return [top(lateral(map_)) for top, lateral, map_ in zip(self.tops, self.laterals, maps, strict=True)]

    def gather(self, levels: Any) -> Tensor:
        joined: Tensor = self.smooth(torch.stack([resize(level, levels[0]) for level in levels]).sum(0))
        return joined

    def embed(self, maps: Any) -> Tensor:
        return self.gather(self.levels(maps))


@pytest.fixture(autouse=True)
def levelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(students.DECODERS, "levelled", LevelledDecoder)


def build(root: Path | None = None, **changes: Any) -> HfdNetMethod:
    """As a run would: one that compares aligned levels has a decoder with levels. Under `root` lies an online teacher."""
    changes["options"] = PLAIN | changes.get("options", {})
    if changes["options"].get("at") == "aligned":
        changes["model"] = {"decoder": "levelled"} | changes.get("model", {})
    if taps := changes.pop("taps", [*LEVELS, *TWIN["taps"]]):
        changes = {"teachers": {"seer": TWIN | {"taps": taps}}} | changes
    if root:
        changes |= {"teacher_view": "online", "teachers": {"seer": write_teacher(root, "seer", TWIN)}, "features": {}}
    if not changes["teachers"]:
        changes["features"] = {}
    method = build_method(make_plan("hfdnet", **changes), 0, root or Path())
    assert isinstance(method, HfdNetMethod)
    return method.train()


def batches(method: HfdNetMethod, step: int = 0, gaps: bool = False) -> Batches:
    plan, store = method.plan, InventedStore()
    if gaps:
        for tile in range(0, 48, 4):
            store.hide(tile, slice(0, tile % 32))
    features = {name: InventedFeatures(store, plan["teachers"][name]) for name in plan["features"]}
    return {name: open_stream(store, plan, name, 0, features).batch(step, 0, 1) for name in method.streams}


def taught(method: HfdNetMethod, given: Batches, word: str | int) -> Tensor:
    place = [tap["tap"] for tap in method.plan["teachers"]["seer"]["taps"]].index(word)
    return torch.cat([batch.features["seer"][place].float() for batch in given.values()])


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize("unlabelled", [True, False])
def test_the_loss_at_each_point(at: str, unlabelled: bool) -> None:
    """Put together from the student's parts, by words instead of by a walk."""
    options = {"at": at, "unlabelled": unlabelled, "feature_weight": 0.7, "logit_weight": 0.3, "supervised_weight": 0.5}
    method = build(options=options).eval()
    given = batches(method, gaps=True)
    assert list(given) == (["labelled", "unlabelled"] if unlabelled else ["labelled"])
    losses, student = method.loss(given, 0), method.student
    image, valid = (torch.cat([getattr(batch, key) for batch in given.values()]) for key in ("image", "valid"))
    assert 0 < valid.float().mean() < 1
    maps = student.backbone(image)
    logits = student(image)
    points = {"encoder": lambda: maps, "fused": lambda: [student.embed(image)], "logits": lambda: [logits]}
    own = (points | {"aligned": lambda: student.decoder.levels(maps)})[at]()
    assert len(own) == len(method.adapters) == len(POINTS[at])
    errors = []
    for adapter, map_, tap in zip(method.adapters, own, POINTS[at], strict=True):
        seen = whole_cells(valid, (map_.shape[-2], map_.shape[-1]))
        errors.append(feature_error("nl2", adapter(map_), taught(method, given, tap["tap"]), seen).mean())
    feature = torch.stack(errors).mean()
    seen = whole_cells(valid, (8, 8))
    logit = logit_error(logits, taught(method, given, "logits"), seen, temperature=2.0).mean()
    label = given["labelled"].label
    plain = cross_entropy(logits[: len(label)], label, stride=4, ignore=255, at="output")
    for name, expected in (("feature", feature), ("logit", logit), ("cross_entropy", plain)):
        torch.testing.assert_close(losses.parts[name], expected)
    torch.testing.assert_close(losses.total, 0.5 * plain + 0.7 * feature + 0.3 * logit)


@pytest.mark.parametrize(
    ("at", "mode", "loss"), [*product(POINTS, ["mimic"], ["nl2", "aff"]), *product(list(POINTS)[:3], ["hallucinate"], ["at"])]
)
def test_every_trained_parameter_gets_a_gradient(at: str, mode: str, loss: str) -> None:
    method = build(options={"at": at, "mode": mode, "loss": loss, "pool": True, "gate": "sure", "logit_weight": 1.0})
    losses = method.loss(batches(method), 3)
    losses.total.backward()
    assert losses.total.isfinite() and all(part > 0 for part in losses.parts.values())
    assert not [name for name, parameter in method.named_parameters() if parameter.grad is None]


def test_settings_reach_the_errors() -> None:
    values = {}
    changes: list[dict[str, Any]] = [
        {},
        {"loss": "mse"},
        {"tolerance": 1},
        {"pool": True},
        {"temperature": 4.0},
        {"label_smoothing": 0.2},
    ]
    for change in changes:
        method = build(options={"logit_weight": 1.0} | change).eval()
        values[str(change)] = [round(part.item(), 6) for part in method.loss(batches(method), 0).parts.values()]
    plain = values.pop("{}")
    differs = {key: [a != b for a, b in zip(found, plain, strict=True)] for key, found in values.items()}
    only_features, only_logits, only_labels = [False, True, False], [False, False, True], [True, False, False]
    assert list(differs.values()) == [only_features] * 3 + [only_logits, only_labels]


def test_both_weights_rise() -> None:
    method = build(options={"ramp": 0.5, "logit_weight": 0.4}).eval()
    given = batches(method)
    for step, share in ((0, 0.0), (3, 0.5), (6, 1.0), (11, 1.0)):
        losses = method.loss(given, step)
        torch.testing.assert_close(
            losses.total, losses.parts["cross_entropy"] + share * (losses.parts["feature"] + 0.4 * losses.parts["logit"])
        )


def test_a_student_that_is_its_teacher_has_nothing_to_learn(tmp_path: Path) -> None:
    for at in ("encoder", "fused", "logits"):
        method = build(tmp_path, options={"at": at, "adapter": "identity", "logit_weight": 1.0}).eval()
        (network,) = method.teachers()
        method.student.load_state_dict(network.network.net.state_dict())
        losses = method.loss(batches(method), 0)
        assert losses.parts["feature"].abs() < 1e-9 and losses.parts["logit"].abs() < 1e-9
        other = build(tmp_path, options={"at": at, "adapter": "identity", "logit_weight": 1.0}).eval()
        assert other.loss(batches(other), 0).parts["feature"] > 1e-4


@pytest.mark.parametrize("loss", ["nl2", "cwd", "aff"])
def test_parts_of_a_batch_give_what_the_whole_does(loss: str) -> None:
    """With other gaps in each tile; norms apart, whose statistics are those of a part."""
    method = build(options={"loss": loss, "logit_weight": 1.0, "gate": "right"}).eval()
    given = batches(method, gaps=True)
    counts = [int(batch.valid.sum()) for batch in given["labelled"].parts(2)]
    assert counts[0] != counts[1]
    whole = method.loss(given, 0).parts
    halves = [dict(zip(given, pair, strict=True)) for pair in zip(*(batch.parts(2) for batch in given.values()), strict=True)]
    parts = [method.loss(half, 0).parts for half in halves]
    for name in ("feature", "logit"):
        torch.testing.assert_close(torch.stack([part[name] for part in parts]).mean(), whole[name])


def test_what_the_teacher_says_of_gaps_changes_nothing() -> None:
    method = build(options={"at": "fused", "logit_weight": 1.0}).eval()
    given = batches(method, gaps=True)

    def spoilt(map_: Tensor, valid: Tensor) -> Tensor:
        return torch.where(whole_cells(valid, (map_.shape[-2], map_.shape[-1])).unsqueeze(1), map_, 6e4)

    other = {
        name: replace(batch, features={"seer": tuple(spoilt(map_, batch.valid) for map_ in batch.features["seer"])})
        for name, batch in given.items()
    }
    assert not torch.equal(taught(method, given, "decoder"), taught(method, other, "decoder"))
    assert torch.equal(method.loss(given, 0).total, method.loss(other, 0).total)


@pytest.mark.parametrize(("gate", "decided"), [("right", "by labels"), ("sure", "by confidence")])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("sure", [True, False])
def test_whom_a_gate_believes(gate: str, decided: str, right: bool, sure: bool) -> None:
    """Labels of unlabelled tiles never decide; an answer may be right without being sure."""
    method = build(options={"logit_weight": 1.0, "feature_weight": 0.0, "gate": gate, "gate_threshold": 0.9}).eval()

    def told(batch: Any) -> Any:
        cells = F.one_hot((batch.label[:, ::4, ::4] + (not right)) % 4, 4).permute(0, 3, 1, 2)
        return replace(batch, features={"seer": (*batch.features["seer"][:-1], (20.0 if sure else 0.1) * cells.half())})

    given = {name: told(batch) for name, batch in batches(method).items()}
    trusted = method._trusted(method._targets(list(given.values())), list(given.values()))
    assert trusted is not None
    labelled, others = (part.mean() > 0.6 for part in trusted.split(8))
    assert labelled == (right if decided == "by labels" else sure)
    assert others == sure
    everything = build(options={"logit_weight": 1.0, "feature_weight": 0.0}).eval().loss(given, 0).parts["logit"]
    assert method.loss(given, 0).parts["logit"] < everything


def test_losses_at_pixels_instead_of_cells() -> None:
    method = build(options={"logit_weight": 1.0}, train={"loss_at": "label"}).eval()
    given = batches(method, gaps=True)
    image, valid = (torch.cat([getattr(batch, key) for batch in given.values()]) for key in ("image", "valid"))
    fine = partial(F.interpolate, size=(32, 32), mode="bilinear")
    expected = logit_error(fine(method.student(image)), fine(taught(method, given, "logits")), valid).mean()
    torch.testing.assert_close(method.loss(given, 0).parts["logit"], expected)


def test_maps_that_overhang_an_image_do_not_count_there() -> None:
    """28 pixels are 7 cells of 4, and 4 of 8: half of the last row of the coarse level is no image."""
    method = build(options={"unlabelled": False}).eval()
    batch = batches(method)["labelled"]
    cut = {key: getattr(batch, key)[..., :28, :28] for key in ("image", "label", "valid")}
    maps = [map_[..., :size, :size] for map_, size in zip(batch.features["seer"][2:4], (8, 4), strict=True)]
    given = {"labelled": replace(batch, **cut)}
    own = method.student.backbone(cut["image"])
    assert [map_.shape[-1] for map_ in own] == [8, 4]
    errors = []
    for adapter, map_, target, inside in zip(method.adapters, own, maps, (7, 3), strict=True):
        seen = torch.zeros(8, map_.shape[-2], map_.shape[-1], dtype=torch.bool)
        seen[:, :inside, :inside] = True
        errors.append(feature_error("nl2", adapter(map_), on_grid(target.float(), (map_.shape[-2], map_.shape[-1])), seen).mean())
    torch.testing.assert_close(method.loss(given, 0).parts["feature"], torch.stack(errors).mean())


def unreadable(*_: Any) -> None:
    raise AssertionError("nothing of a teacher is read")


@pytest.mark.parametrize("teacher", ["none", "online"])
def test_without_weights_a_run_is_supervised_to_the_bit(teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the real loop, with dropout, gaps and crops; the teacher's file is not there."""
    monkeypatch.setattr(run, "TileStore", lambda path: InventedStore())
    monkeypatch.setattr(run, "FeatureStore", unreadable)
    common: dict[str, Any] = {
        "model": {"decoder": "levelled", "dropout": 0.3},
        "augment": {"crop": 24, "gain": 0.1, "noise": 0.1},
        "train": {"accumulate": 2, "ema": 0.9},
    }
    teachers = {} if teacher == "none" else {"seer": TWIN}
    off = {"feature_weight": 0.0, "logit_weight": 0.0, "gate": "none", "at": "aligned"}
    plans = {
        "plain": make_plan("supervised", **common),
        "ours": make_plan("hfdnet", **common, teachers=teachers, features={}, teacher_view="online", options=off),
    }
    found = {}
    for name, plan in plans.items():
        run.train_run(plan, 0, tmp_path / name, "f")
        folder = tmp_path / name / "results" / "runs" / "invented" / "seed0"
        found[name] = (read_weights(folder / "model.safetensors")[0], (folder / "history.csv").read_text())
    (ours, our_history), (plain, their_history) = found["ours"], found["plain"]
    assert our_history == their_history
    assert ours.keys() == plain.keys() and all(torch.equal(ours[key], plain[key]) for key in plain)


@pytest.mark.parametrize("mode", ["mimic", "hallucinate"])
def test_what_is_saved(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student that mimics is that of plain training; one that hallucinates keeps what tells, and predicts with it alone."""
    store = InventedStore()
    monkeypatch.setattr(run, "TileStore", lambda path: store)
    monkeypatch.setattr(run, "FeatureStore", lambda path: InventedFeatures(store, TWIN))
    plan = make_plan("hfdnet", options={"mode": mode, "at": "encoder"}, train={"lr": 1e-2})
    run.train_run(plan, 0, tmp_path, "f")
    path = tmp_path / "results/runs/invented/seed0/model.safetensors"
    names, plain = set(read_weights(path)[0]), set(build_method(make_plan(), 0, tmp_path).student.state_dict())
    added = {name.split(".")[0] for name in names - plain}
    assert plain <= names and added == (set() if mode == "mimic" else {"psi", "gamma"})
    student = HfdNetMethod.build_student(plan)
    load_weights(path, student, read_weights(path)[1])
    image = torch.rand(2, 4, 32, 32)
    logits = student.eval()(image)
    assert logits.isfinite().all()
    if mode == "hallucinate":
        assert student.gamma.abs().min() > 0
        student.gamma.data.zero_()
        assert not torch.equal(student(image), logits)


def test_a_student_may_start_as_its_teacher_but_for_the_first_layer(tmp_path: Path) -> None:
    """The mode that hallucinates has layers that no teacher has: they start as ever."""
    write_teacher(tmp_path, "seer", TWIN)
    theirs, _ = read_weights(tmp_path / "results/teachers/seer.safetensors")
    for mode in ("mimic", "hallucinate"):
        options = ({"mode": mode, "start": start, "at": "encoder"} for start in ("random", "teacher"))
        plain, started = (build(tmp_path, options=each).student.state_dict() for each in options)
        first = {key for key in plain if key.startswith("backbone.net.conv1.0.")}
        assert first and all(torch.equal(started[key], theirs[key]) for key in set(theirs) - first)
        assert all(torch.equal(started[key], plain[key]) for key in first | (set(plain) - set(theirs)))
        assert not torch.equal(plain["decoder.classify.weight"], started["decoder.classify.weight"])


def test_a_teacher_of_another_architecture_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)start: teacher seer is not of the student's architecture.*set it to random"):
        build(tmp_path, options={"start": "teacher", "at": "encoder"}, model={"width": 4})


@pytest.mark.parametrize("at", ["encoder", "aligned", "fused"])
def test_what_is_hallucinated_starts_without_a_say(at: str) -> None:
    """gamma is 0: the plain student's bits. Its maps are told to be the teacher's, and with gamma 1 they are added."""
    ours, plain = (build(options={"at": at, "mode": mode}).eval() for mode in ("hallucinate", "mimic"))
    assert isinstance(ours.student, HallucinatingStudent) and not ours.adapters
    given = batches(ours)
    image = given["labelled"].image
    assert torch.equal(ours.student(image), plain.student(image))
    for method in (ours, plain):
        method.loss(given, 0).parts["cross_entropy"].backward()
    theirs = dict(plain.student.named_parameters())
    same = [torch.equal(parameter.grad, theirs[key].grad) for key, parameter in ours.student.named_parameters() if key in theirs]
    assert len(same) == len(theirs) and all(same)
    ours.zero_grad()
    seen, _ = walk(plain.student, image, at)
    told, _ = ours.student.told(image)
    for psi, map_, other in zip(ours.student.psi, seen, told, strict=True):
        assert torch.equal(psi(map_), other)
    ours.student.gamma.data.fill_(1.0)
    _, expected = walk(plain.student, image, at, lambda maps: [map_ + other for map_, other in zip(maps, told, strict=True)])
    assert torch.equal(ours.student(image), expected)
    ours.loss(given, 0).parts["feature"].backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in ours.student.psi.parameters())


def test_without_a_weight_a_hallucination_is_not_supervised() -> None:
    """The control of its parameters: no teacher, the same network."""
    method = build(taps=None, teachers={}, options={"mode": "hallucinate", "feature_weight": 0.0})
    losses = method.loss(batches(method), 0)
    losses.total.backward()
    assert list(losses.parts) == ["cross_entropy"]
    assert method.student.gamma.grad.any()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no levels": (
        {"options": {"at": "aligned"}, "model": {"decoder": "fpn"}},
        r"(?s)\.at: decoder fpn has no aligned levels.*hfam-flow",
    ),
    "no teacher": ({"taps": None, "teachers": {}}, r"(?s)\.teachers: there is no teacher.*both weights to 0"),
    "no level tapped": (
        {"options": {"at": "aligned"}, "taps": TWIN["taps"]},
        r"(?s)no map of \['aligned-0', 'aligned-1'\], only of.*give it",
    ),
    "no stage tapped": ({"taps": [STAGES[1], LOGITS]}, r"no map of \[1\]"),
    "no logits tapped": ({"taps": STAGES, "options": {"logit_weight": 1.0}}, r"no map of \['logits'\]"),
    "no logits for the gate": ({"taps": STAGES, "options": {"gate": "sure"}}, r"no map of \['logits'\]"),
    "other classes": (
        {"taps": [*STAGES, LOGITS | {"channels": 3}], "options": {"gate": "right"}},
        "tells 3 classes apart, the task has 4",
    ),
    "other widths": (
        {"taps": [STAGES[0] | {"channels": 9}, STAGES[1]], "options": {"adapter": "identity"}},
        "32 channels, the teacher's 9",
    ),
    "other widths told": (
        {"taps": [STAGES[0] | {"channels": 9}, STAGES[1]], "options": {"mode": "hallucinate"}},
        "32 channels, the teacher's 9",
    ),
    "told logits": ({"options": {"at": "logits", "mode": "hallucinate"}}, r"(?s)\.mode: .*not logits"),
    "told by nothing": ({"options": {"adapter": "identity", "mode": "hallucinate"}}, r"(?s)\.mode: .*not by the identity"),
    "no nearest cell": (
        {"options": {"loss": "cwd", "tolerance": 1}},
        r"(?s)\.tolerance: cwd compares no single cells.*nl2 or mse",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_words(case: str) -> None:
    changes, words = REFUSED[case]
    with pytest.raises(UserError, match=words):
        build(**changes)


def test_maps_of_other_widths_can_be_compared_by_their_cells_alone() -> None:
    taps = [STAGES[0] | {"channels": 9}, STAGES[1]]
    for loss in ("at", "aff"):
        method = build(taps=taps, options={"adapter": "identity", "loss": loss})
        assert not list(method.adapters.parameters())
        assert method.loss(batches(method), 0).parts["feature"] > 0
