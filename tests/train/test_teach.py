"""Teachers made ready: ours with equal bytes however often stopped, those of others whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from georelay.batches.streams import open_stream
from georelay.files import sha256_file
from georelay.models.backbones import create_network
from georelay.models.weights import read_weights, save_weights
from georelay.params import load_params
from georelay.plan import make_plan
from georelay.rows import resolve_teacher, teacher_row
from georelay.teachers.features import Witness
from georelay.teachers.network import TaughtNetwork, open_teacher
from georelay.tiles.read import TileStore
from georelay.train import loop
from georelay.train.teach import CALIBRATION_STEPS
from workshop import PATCHES, SIDE, TRAINING, Workshop, make_workshop

NORMS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = make_workshop(tmp_path_factory.mktemp("teach"))
    for name in ("own", "untrained"):
        made.run("teach", name)
    return made


@pytest.fixture
def workshop(ready: Workshop, tmp_path: Path) -> Workshop:
    """A copy that knows nothing of the finished teachers."""
    made = ready.copy(tmp_path / "copy")
    for path in (made.folder / "results/teachers").iterdir():
        path.unlink()
    return made


def weights(workshop: Workshop, name: str) -> Path:
    return workshop.folder / "results/teachers" / f"{name}.safetensors"


def tensors_of(workshop: Workshop, name: str) -> dict[str, Tensor]:
    return read_weights(weights(workshop, name))[0]


def refused(workshop: Workshop, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a refused command says: one message, and nothing of its own is left."""
    before = workshop.written()
    capsys.readouterr()
    workshop.run(*words, expect=2)
    said = capsys.readouterr().err
    assert workshop.written() == before and "Traceback" not in said
    return said


def test_a_teacher_of_our_own_has_the_same_bytes_each_time(ready: Workshop, workshop: Workshop) -> None:
    workshop.run("teach", "own")
    assert weights(workshop, "own").read_bytes() == weights(ready, "own").read_bytes()
    assert workshop.card("teachers", "own") == ready.card("teachers", "own")
    workshop.change("teachers", "own", "taught", seed=1)
    workshop.run("teach", "own")
    assert weights(workshop, "own").read_bytes() != weights(ready, "own").read_bytes()


def test_its_card_says_all_that_its_users_need(ready: Workshop) -> None:
    card = ready.card("teachers", "own")
    assert set(card) == {"name", "origin", "licence", "sha256", "settings", "taught", "taps", "parameters"}
    assert (card["name"], card["origin"], card["licence"]) == ("own", "taught", "none")
    assert card["sha256"] == sha256_file(weights(ready, "own"))
    assert card["parameters"] == sum(t.numel() for name, t in tensors_of(ready, "own").items() if not name.endswith(NORMS))
    assert card["taught"]["bands"] == 4 and card["taught"]["classes"] == 6  # three levels of two targets
    network = TaughtNetwork(**card["taught"], taps=card["settings"]["taps"]).eval()
    maps = network(torch.zeros(1, 4, SIDE, SIDE))
    for tap, facts, map_ in zip(["decoder", 2], card["taps"], maps, strict=True):
        assert facts == {"tap": tap, "channels": map_.shape[1], "stride": SIDE // map_.shape[-1]}


def test_it_will_be_shown_what_it_was_taught_with_in_physical_units(ready: Workshop) -> None:
    card, facts = ready.card("teachers", "own"), ready.card("tiles", "corpus")["modalities"]["optical"]
    assert card["settings"]["bands"] == ["blue", "green", "red", "nir"]
    statistics = card["settings"]["statistics"]
    assert statistics["white"] is None
    for key in ("mean", "std"):
        assert statistics[key] == pytest.approx([value * 1e-4 for value in facts[key]])
    intake = open_teacher(card, weights(ready, "own"), facts).intake
    raw, valid = torch.rand(1, 4, 8, 8) * 5000, torch.ones(1, 1, 8, 8, dtype=torch.bool)
    mean, std = (torch.tensor(facts[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(intake(raw, valid), (raw - mean) / std)


def test_an_interrupted_lesson_goes_on_where_it_was(
    ready: Workshop, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []
    usual = loop._step

    def step(session: loop.Session, number: int) -> None:
        if number == 5 and seen.count(5) == 0:
            seen.append(number)
            raise KeyboardInterrupt
        seen.append(number)
        usual(session, number)

    monkeypatch.setattr(loop, "_step", step)
    workshop.run("teach", "own", expect=2)
    assert [Path(name).name for name in workshop.written()] == ["last.pt"]
    workshop.run("teach", "own")
    assert seen == [*range(6), 4, 5] and f"resumed at step 4 of {TRAINING['steps']}" in capsys.readouterr().err
    assert weights(workshop, "own").read_bytes() == weights(ready, "own").read_bytes()
    assert workshop.written() == ["results/teachers/own.json", "results/teachers/own.safetensors"]


def test_an_untrained_teacher_is_the_other_s_start(ready: Workshop, workshop: Workshop) -> None:
    workshop.run("teach", "untrained")
    assert weights(workshop, "untrained").read_bytes() == weights(ready, "untrained").read_bytes()
    taught, untrained = (tensors_of(ready, name) for name in ("own", "untrained"))
    assert all(not torch.equal(taught[name], tensor) for name, tensor in untrained.items() if not name.endswith(NORMS))
    cards = [ready.card("teachers", name) for name in ("own", "untrained")]
    assert cards[1]["origin"] == "random"
    assert all(cards[0][key] == cards[1][key] for key in ("taught", "taps", "parameters", "licence"))
    workshop.change("teachers", "own", "taught", "set", train={"steps": 3})
    workshop.run("teach", "untrained")
    found = tensors_of(workshop, "untrained")
    assert all(torch.equal(tensor, untrained[name]) for name, tensor in found.items()), "no step was taken"


def test_its_norms_know_their_inputs(ready: Workshop) -> None:
    """Of the first layer by hand: mean over the batches of each batch's mean after the first convolution."""
    params = load_params(ready.folder / "params.yaml")
    row = teacher_row(params, "untrained")
    assert row is not None
    plan, tensors = make_plan(params, row, ready.folder), tensors_of(ready, "untrained")
    stream = open_stream(TileStore(ready.folder / plan["tiles"]["path"]), plan, "unlabelled", 0)
    images = [stream.batch(step, 0, 1).image for step in range(CALIBRATION_STEPS)]
    tracked = [int(tensor) for name, tensor in tensors.items() if name.endswith("num_batches_tracked")]
    assert tracked and set(tracked) == {CALIBRATION_STEPS}
    means = [F.conv2d(image, tensors["backbone.net.conv1.0.weight"], stride=2, padding=1).mean((0, 2, 3)) for image in images]
    torch.testing.assert_close(tensors["backbone.net.conv1.1.running_mean"], torch.stack(means).mean(0), atol=1e-5, rtol=1e-4)


def test_the_weights_of_others_arrive_unchanged(workshop: Workshop) -> None:
    path = workshop.foreign()
    workshop.run("teach", "theirs")
    given, kept = read_weights(path)[0], tensors_of(workshop, "theirs")
    assert kept.keys() == given.keys() and all(torch.equal(tensor, given[name]) for name, tensor in kept.items())
    torch.save({"state_dict": given}, path.with_suffix(".pth"))
    workshop.change("teachers", "theirs", file="w.pth", sha256=sha256_file(path.with_suffix(".pth")))
    before = weights(workshop, "theirs").read_bytes()
    workshop.run("teach", "theirs")
    assert weights(workshop, "theirs").read_bytes() == before, "whichever form they come in"


def test_the_card_of_a_teacher_of_others(workshop: Workshop) -> None:
    workshop.foreign(taps=[4, 1])
    workshop.run("teach", "theirs")
    card = workshop.card("teachers", "theirs")
    assert card["taught"] is None and card["settings"]["statistics"] == "task" and card["licence"] == "none"
    assert card["taps"] == [{"tap": 4, "channels": 96, "stride": 32}, {"tap": 1, "channels": 32, "stride": 4}]
    assert card["parameters"] == sum(p.numel() for p in create_network("test_resnet", {}).parameters())
    resolved = resolve_teacher(load_params(workshop.folder / "params.yaml"), "theirs").model_dump()
    assert {key: resolved[key] for key in card["settings"]} == card["settings"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sha256": "0" * 64}, "w.safetensors: is not the file that the settings name\n  its sha256 is"),
        ({"sha256": None}, "teachers.theirs.sha256: the digest of the file is not given\n  set `sha256: "),
        ({"file": "none.safetensors"}, "none.safetensors: weight file is missing"),
        ({"network": "test_vit"}, "weights do not fit the network: missing cls_token, pos_embed, "),
        ({"arguments": {"num_classes": 3}}, "of another shape fc.weight, fc.bias"),
        ({"taps": [2, 7]}, "teacher.taps: test_resnet has taps 0 to 4, not [7]"),
        ({"taps": ["decoder"]}, "only networks taught here have decoder"),
        ({"taps": [2], "normed": [2]}, "test_resnet has no final norm"),
        ({"network": "test_resnat"}, 'unknown network "test_resnat"\n  did you mean "test_resnet"?'),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_stays(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], settings: dict[str, Any], message: str
) -> None:
    workshop.foreign()
    workshop.change("teachers", "theirs", **settings)
    assert message in refused(workshop, capsys, "teach", "theirs")


def test_missing_and_extra_keys_are_listed(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    path = workshop.foreign()
    tensors = read_weights(path)[0]

    def give(changed: dict[str, Tensor], **settings: Any) -> None:
        torch.save(changed, path.with_suffix(".pth"))
        workshop.change("teachers", "theirs", file="w.pth", sha256=sha256_file(path.with_suffix(".pth")), **settings)

    give({name: tensor for name, tensor in tensors.items() if name != "conv1.0.weight"})
    assert "missing conv1.0.weight" in refused(workshop, capsys, "teach", "theirs")
    extra = {"mask_token": torch.zeros(1), "neck.weight": torch.zeros(1)}
    give(tensors | extra)
    assert "unexpected mask_token, neck.weight" in refused(workshop, capsys, "teach", "theirs")
    give(tensors | extra, ignored_keys=["mask_*"])
    assert "unexpected neck.weight" in refused(workshop, capsys, "teach", "theirs")
    give(tensors | extra, ignored_keys=["mask_*", "neck.*"])
    workshop.run("teach", "theirs")
    assert tensors_of(workshop, "theirs").keys() == tensors.keys()


def test_a_tap_that_our_network_lacks_is_refused_before_the_lesson(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_step", lambda session, number: pytest.fail("a step was taken"))
    workshop.change("teachers", "own", taps=["decoder", 3])
    assert "this teacher has taps [1, 2], decoder and logits, not [3]" in refused(workshop, capsys, "teach", "own")


def test_a_lesson_on_two_modalities_or_another_unit_is_refused(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    workshop.change("teachers", "own", "taught", "set", inputs=["optical", "layers"])
    what = "reads one modality in reflectance; it is taught on optical in reflectance, layers in layer"
    assert what in refused(workshop, capsys, "teach", "own")


def test_all_bands_are_read_through_an_adapted_stem(workshop: Workshop) -> None:
    workshop.foreign(bands="all")
    for words in (("teach", "theirs"), ("features", "pairs", "theirs")):
        workshop.run(*words)
    note = workshop.card("features", "pairs--theirs")["note"]
    assert note == "bands blue, green, red, nir of 4; the stem's 3 bands are repeated to 4, times 3/4"


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("pairs", {"bands": ["red", "nir"]}, "teachers.theirs.bands: reads 3 bands and is shown 2"),
        ("pairs", {"bands": ["red", "green", "swir"], "missing": "refuse"}, "reads swir; the modality has blue, green, red, nir"),
        ("radar", {"bands": "all"}, "teachers.theirs.unit: reads reflectance; the task has sar in dB"),
        ("pairs", {**PATCHES, "taps": [1], "size": 40}, "an input of 40 pixels is no multiple of 14\n  use 42"),
        ("pairs", {**PATCHES, "taps": [1], "size": 28, "fit": "pad"}, "a tile of 32 pixels cannot be padded to 28"),
    ],
)
def test_features_that_cannot_be_are_refused_and_nothing_stays(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], task: str, settings: dict[str, Any], message: str
) -> None:
    workshop.foreign(**settings)
    workshop.run("teach", "theirs")
    assert message in refused(workshop, capsys, "features", task, "theirs")


def test_weights_that_answer_nan_leave_no_features(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    path = workshop.foreign()
    network = create_network("test_resnet", {})
    save_weights(path, network.requires_grad_(False).apply(lambda module: [p.fill_(torch.nan) for p in module.parameters()]), {})
    workshop.change("teachers", "theirs", sha256=sha256_file(path))
    workshop.run("teach", "theirs")
    assert "tile 0, tap 2: the map holds NaN or inf" in refused(workshop, capsys, "features", "city", "theirs")


def test_an_interrupted_store_is_finished_by_the_same_command(
    ready: Workshop, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = "results/features/city--own.zarr.zip"
    whole = ready.copy(tmp_path / "whole")
    whole.run("features", "city", "own")
    workshop.run("teach", "own")
    usual = Witness.maps

    def maps(witness: Witness, ids: np.ndarray) -> list[Tensor]:
        if ids[0] > 5:
            raise KeyboardInterrupt
        return usual(witness, ids)

    monkeypatch.setattr(Witness, "maps", maps)
    workshop.run("features", "city", "own", expect=2)
    assert not any("features/" in name for name in workshop.written())
    monkeypatch.setattr(Witness, "maps", usual)
    workshop.run("features", "city", "own")
    assert (workshop.folder / store).read_bytes() == (whole.folder / store).read_bytes()
    assert workshop.card("features", "city--own") == whole.card("features", "city--own")
    assert not any("resume" in name for name in workshop.written())


def test_finished_teachers_and_features_come_back_from_the_cache(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("teach", "own"), ("features", "city", "own")):
        workshop.run(*words)
    files = [path for kind in ("teachers", "features") for path in (workshop.folder / "results" / kind).iterdir()]
    before = {path: path.read_bytes() for path in files}
    for path in files:
        path.unlink()
    workshop.change("teachers", "own", why="another reason")
    for words in (("teach", "own"), ("features", "city", "own")):
        workshop.run(*words)
    assert capsys.readouterr().err.count("restored from the cache") == 2
    assert {path: path.read_bytes() for path in files} == before
