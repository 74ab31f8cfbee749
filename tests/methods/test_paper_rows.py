"""The rows of published experiments: whole, buildable, of the published size; what only their data and a GPU can show is not."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from georelay.files import digest
from georelay.methods.base import Method, input_bands, method_class
from georelay.params import load_params
from georelay.rows import resolve, resolve_teacher, studies, teacher_row
from georelay.settings import Row
from georelay.teachers.network import build_network

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
ROWS = [name for study, names in studies(PARAMS).items() if study.startswith("paper-") for name in names]


def networks() -> list[str]:
    """One row of each network: shares of labels, splits, lengths of training and weights of classes build nothing else."""
    found: dict[str, str] = {}
    for name in ROWS:
        row = resolve(PARAMS, name)
        options = {key: value for key, value in row.options.items() if key not in ("class_weights", "pixel_weights")}
        found.setdefault(digest([row.method, row.teachers, row.model.model_dump(), options]), name)
    return list(found.values())


RGB = {
    "bands": ["red", "green", "blue"],
    "unit": "reflectance",
    "scale": 1 / 255,
    "nodata": None,
    "mean": [100.0] * 3,
    "std": [50.0] * 3,
}


def classes(row: Row) -> list[str]:
    """Names of the right number."""
    return ["class"] * len(PARAMS.sources[PARAMS.tasks[row.task].source].classes)  # type: ignore[union-attr]


def modalities(row: Row) -> dict[str, dict[str, Any]]:
    """Of a source of several sensors all of them, else red, green and blue; statistics are invented."""
    source = PARAMS.sources[PARAMS.tasks[row.task].source]
    if source.kind != "paired":
        return {"optical": RGB}
    facts = {name: modality.model_dump() for name, modality in source.modalities.items()}
    return {name: fact | {"mean": [0.0] * len(fact["bands"]), "std": [1.0] * len(fact["bands"])} for name, fact in facts.items()}


def card(name: str) -> dict[str, Any]:
    """A teacher's card, as `teach` would write it."""
    settings, row = resolve_teacher(PARAMS, name).model_dump(), teacher_row(PARAMS, name)
    taught = None
    if row is not None:
        facts = {"bands": sum(len(modalities(row)[key]["bands"]) for key in row.inputs), "classes": len(classes(row))}
        taught = {"model": row.model.model_dump(), **facts}
    network = build_network(settings, taught, None)
    listed = zip(settings["taps"], network.channels, network.strides, strict=True)
    taps = [{"tap": tap, "channels": channels, "stride": stride} for tap, channels, stride in listed]
    return {"settings": settings, "taught": taught, "taps": taps, "sha256": "0" * 64}


def built(name: str) -> Method:
    """A row's method without memory for its weights."""
    row = resolve(PARAMS, name)
    settings: dict[str, Any] = {key: getattr(row, key).model_dump() for key in ("model", "train", "augment", "predict")}
    with torch.device("meta"):
        plan = {
            "experiment": name,
            "classes": classes(row),
            "ignore": 255,
            "inputs": row.inputs,
            "pair": [],
            "train_domain": "main",
            "teacher_view": row.teacher_view,
            "modalities": modalities(row),
            "settings": settings | {"method": row.options},
            "teachers": {teacher: card(teacher) for teacher in row.teachers},
        }
        kind = method_class(row.method)
        return kind(plan, kind.build_student(plan))


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no memory has no precision to choose either: torch refuses to be asked."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def millions(module: Any) -> float:
    return round(sum(parameter.numel() for parameter in module.parameters()) / 1e6, 2)


@pytest.mark.parametrize("name", networks())
def test_a_published_row_can_be_built(name: str) -> None:
    method = built(name)
    assert millions(method.student) > 1
    with torch.device("meta"):
        image = torch.empty(2, input_bands(method.plan), 266, 266)  # whole patches of 14
        logits = method.train().student(image)
    assert logits.shape[:2] == (2, len(method.plan["classes"]))


def test_the_method_has_the_published_number_of_parameters() -> None:
    """Section by section, as counted on the public code; stage norms of the backbone are 0.004 million of it."""
    method = built("paper-ktda-grass")
    student = method.student
    parts = (student.fam, student.neck, student.fmm, student.decoder, method.heads)
    assert [millions(part) for part in parts] == [1.48, 23.6, 113.41, 32.26, 1.77]
    assert millions(student.backbone) + millions(student.norms) == pytest.approx(87.57, abs=0.01)
    assert millions(method) == pytest.approx(260.1, abs=0.05)


def test_the_published_grids() -> None:
    """256 pixels: FAM 19 x 19, neck 76, 38, 19 and 9."""
    student = built("paper-ktda-grass").student
    with torch.device("meta"):
        aligned = student.align(torch.empty(1, 3, 256, 256))
        refined = student.refine(aligned)
    assert {tuple(map_.shape[1:]) for map_ in aligned} == {(768, 19, 19)}
    assert [map_.shape[-1] for map_ in refined] == [76, 38, 19, 9]


def test_what_the_paper_decides_by_letters_differs_where_it_says() -> None:
    """One or two settings a row: the rest is the parent's."""
    letters = {name: resolve(PARAMS, name) for name in ROWS if name.startswith("paper-ktda-grass")}
    changed = {
        name: {key for key in row.options if row.options[key] != letters[row.parent].options[key]}
        for name, row in letters.items()
        if row.parent in letters and row.method == "ktda"
    }
    assert changed["paper-ktda-grass-mlp-kl"] == {"kd"} and changed["paper-ktda-grass-mlp4"] == {"modulation"}
    assert changed["paper-ktda-grass-femto-large"] == {"channels"} and not changed["paper-ktda-grass-no-neck"]


def test_rs_mtdf_has_the_published_number_of_parameters() -> None:
    """Encoder 22.1, decoder 2.74, translators 2.63, ways back 0.69 million; one unit of their decoder is never called."""
    student = built("paper-loveda-mtdf-5").student
    parts = (student.backbone, student.decoder, student.fusion.translators, student.fusion.back)
    never_called = 2 * (9 * 64 * 64 + 64) / 1e6
    assert [millions(part) for part in parts] == [22.06, pytest.approx(2.74 - never_called, abs=0.01), 2.63, 0.69]
    assert millions(student) == pytest.approx(28.1 - never_called, abs=0.05)


@pytest.mark.parametrize(
    ("data", "batches"), [("potsdam", (101, 97, 92)), ("deepglobe", (372, 357, 338)), ("loveda", (312, 299, 283))]
)
def test_rs_mtdf_trains_as_long_as_published(data: str, batches: tuple[int, int, int]) -> None:
    """60 passes over the unlabelled list, eight tiles a step on each of four GPUs."""
    for study in (f"paper-{data}", f"paper-{data}-scenes"):
        for share, count in zip((1, 5, 10), batches, strict=True):
            rows = [resolve(PARAMS, f"{study}-{method}-{share}") for method in ("fixmatch", "unimatch", "mtdf")]
            assert {(row.train.steps, row.train.batch, row.labels, row.study) for row in rows} == {
                (60 * count, 32, f"{share}%", study)
            }


def test_rs_mtdf_s_rows_differ_in_the_split_alone() -> None:
    """Tiles one by one as published, whole scenes beside."""
    for method in ("", "fixmatch-", "unimatch-", "mtdf-"):
        tiles, scenes = (resolve(PARAMS, f"paper-potsdam{split}-{method}5") for split in ("", "-scenes"))
        assert (PARAMS.tasks[tiles.task].split.rule, PARAMS.tasks[scenes.task].split.rule) == ("tiles", "scenes")
        same = {"name", "study", "task", "parent"}
        assert tiles.model_dump(exclude=same) == scenes.model_dump(exclude=same)


ST_DASEGNET = [name for name in ROWS if resolve(PARAMS, name).method == "stdasegnet"]
WHOLE = [name for name in ST_DASEGNET if name.endswith(("-segformer", "-deeplab"))]
# In millions: either backbone, decoder and average of one, the neck, either discriminator, all together.
SIZES = {"segformer": (81.44, 0.545, 3.10, 1.18, 170.5), "deeplab": (23.53, 18.36, 49.29, 4.86, 179.5)}


@pytest.mark.parametrize("network", SIZES)
def test_st_dasegnet_has_the_published_number_of_parameters(network: str) -> None:
    method: Any = built(f"paper-isprs-irrg-p2v-{network}")
    student, (backbone, decoder, neck, judge, total) = method.student, SIZES[network]
    assert [millions(student.backbones[style]) for style in ("source", "target")] == [pytest.approx(backbone, abs=0.01)] * 2
    decoders = [part[style] for part in (student.decoders, method.answering) for style in ("source", "target")]
    assert [millions(part) for part in decoders] == [pytest.approx(decoder, abs=0.006)] * 4
    assert millions(student.neck) == pytest.approx(neck, abs=0.01)
    assert [millions(part) for part in method.discriminators.children()] == [pytest.approx(judge, abs=0.01)] * 2
    assert millions(method) == pytest.approx(total, abs=0.05)


@pytest.mark.parametrize(("network", "cells", "logits"), [("segformer", (96, 48, 24, 12), 1), ("deeplab", (96, 48, 48, 48), 4)])
def test_st_dasegnet_s_published_grids(network: str, cells: tuple[int, ...], logits: int) -> None:
    """Crops of 384 pixels."""
    method: Any = built(f"paper-isprs-irrg-p2v-{network}")
    with torch.device("meta"):
        maps = method.student.maps(torch.empty(2, 3, 384, 384))
    assert tuple(map_.shape[-1] for map_ in maps["source"]) == cells
    assert method.discriminators["source"](maps["source"][-1]).shape == (2, 1, logits, logits)


def test_st_dasegnet_s_rows_are_twelve_pairs_and_seven_ablations() -> None:
    assert len(WHOLE) == 12 and len(ST_DASEGNET) == 12 + 7
    for name in WHOLE:
        row, source = resolve(PARAMS, name), resolve(PARAMS, f"{name}-source")
        same = {"name", "why", "parent", "method", "options"}
        assert source.method == "supervised" and row.model_dump(exclude=same) == source.model_dump(exclude=same)
        classes = len(PARAMS.sources[PARAMS.tasks[row.task].source].classes)  # type: ignore[union-attr]
        lists = [*row.options["class_weights"].values(), row.options["pixel_weights"]]
        assert [len(weights) for weights in lists] == [classes] * 3
        assert f"paper-{row.task}" == row.study and row.train.steps == 40000
    ablations = [resolve(PARAMS, name) for name in ST_DASEGNET if name not in WHOLE]
    whole = resolve(PARAMS, "paper-isprs-irrg-p2v-segformer")
    changed = [{key for key, value in row.options.items() if value != whole.options[key]} for row in ablations]
    assert all(len(keys) == 1 for keys in changed) and len(set().union(*changed)) == 7
    assert {row.parent for row in ablations} == {whole.name}


@pytest.mark.parametrize(
    ("name", "images", "weights"),
    [
        ("isprs-irrg-p2v-segformer", 2, ("1 1 1 1.25 1.5 1.5", "1 1 1.25 1.25 1.5 1.5")),
        ("isprs-irrg-v2p-segformer", 2, ("1 1 1.25 1.25 1.5 1.5", "1 1 1.25 1.25 1.5 1.5")),
        ("isprs-rgb-p2v-segformer", 2, ("1 1 1 1.25 1.5 1.5", "1 1 1.25 1.25 1.5 1.5")),
        ("isprs-rgb-v2p-segformer", 2, ("1 1 1 1.25 1.5 1.5", "1 1 1.25 1.25 1.5 1.5")),
        ("isprs-irrg-p2v-deeplab", 3, ("1 1 1 1.25 1.5 1.5", "1 1 1 1.25 1.5 1.5")),
        ("isprs-irrg-v2p-deeplab", 3, ("1 1 1 1.25 1.5 1.5", "1 1 1 1.25 1.5 1.5")),
        ("isprs-rgb-p2v-deeplab", 3, ("1 1 1 1.25 1.5 1.5", "1 1 1 1.25 1.5 1.5")),
        ("isprs-rgb-v2p-deeplab", 1, ("1 1 1 1.25 1.5 1.5", "1 1 1 1.25 1.5 1.5")),
        ("loveda-r2u-segformer", 1, ("1.25 1 1.25 1 1.5 1.25 1", "1.25 1 1.25 1 1.5 1.25 1")),
        ("loveda-r2u-deeplab", 1, ("1.25 1 1.25 1 1.5 1.25 1", "1.25 1 1.25 1 1.5 1.25 1")),
        ("loveda-u2r-segformer", 1, ("1 1.25 1.25 1 1.5 1.5 1.25", "1 1.25 1.25 1 1.5 1.5 1.25")),
        ("loveda-u2r-deeplab", 1, ("1 1.25 1.25 1 1.5 1.5 1.25", "1 1.25 1.25 1 1.5 1.5 1.25")),
    ],
)
def test_st_dasegnet_s_published_table(name: str, images: int, weights: tuple[str, str]) -> None:
    """Images on each of two GPUs, weights of classes in either decoder; a class's pixels weigh by the same steps."""
    row = resolve(PARAMS, f"paper-{name}")
    given = tuple(row.options["class_weights"][style] for style in ("source", "target"))
    assert row.train.batch == 2 * images
    assert given == tuple([float(weight) for weight in line.split()] for line in weights)
    steps = {1.0: 1.01, 1.25: 1.51, 1.5: 2.01}
    isprs = [1.01, 1.01, 1.51, 1.51, 2.01, 2.01]
    loveda = [steps[weight] for weight in given[0]]
    if name.startswith("loveda-u2r"):
        loveda[5] = 2.01
    assert row.options["pixel_weights"] == (isprs if name.startswith("isprs") else loveda)
    adam, sgd = (6e-5, 800, 1.0, 0.0, 1.0, 1e-5), (1e-3, 0, 0.9, 1e-5, 2.0, 2.5e-4)
    train, own = row.train, row.options
    rates = (train.lr, train.warmup_steps, train.power, train.floor, own["head_rate"], own["discriminator"]["lr"])
    assert rates == (sgd if name.endswith("deeplab") else adam)


def test_norms_of_segformer_s_backbones_do_not_decay_but_for_the_last_of_a_stage() -> None:
    method: Any = built("paper-isprs-irrg-p2v-segformer")
    others, decoders, norms = method.parameter_groups()["main"]
    names = {id(parameter): name for name, parameter in method.student.named_parameters()}
    still, moved = ([names[id(parameter)] for parameter in group.parameters] for group in (norms, others))
    assert all(".norm" in name for name in still) and not any(".norm" in name for name in moved if "backbones" in name)
    assert sum(".final." in name for name in moved) == 2 * 4 * 2 and (norms.weight_decay, others.weight_decay) == (0.0, None)
    assert all(name.startswith("decoders") for name in (names[id(parameter)] for parameter in decoders.parameters))


HFD = ("sar-only", "alignment", "distillation", "hfd", "hfd-logits", "eo", "fusion", "fusion-blind")


@pytest.mark.parametrize("data", ["spacenet6", "sen12ms", "dfc2020"])
def test_hfd_net_s_rows_are_two_by_two_and_their_bounds(data: str) -> None:
    """A student without alignment has a teacher without; the teacher saw the student's labels, in optics."""
    rows = {name: resolve(PARAMS, f"paper-{data}-{name}") for name in HFD}
    assert {name for name in ROWS if name.startswith(f"paper-{data}-")} == {row.name for row in rows.values()}
    decoders = {name: row.model.decoder for name, row in rows.items()}
    assert {name for name, decoder in decoders.items() if decoder == "hfam-none"} == {"sar-only", "distillation"}
    for name in ("distillation", "hfd"):
        taught = teacher_row(PARAMS, rows[name].teachers[0])
        assert taught is not None and taught.model == rows[name].model and taught.train == rows[name].train
        assert (taught.task, taught.inputs, rows[name].inputs, rows[name].pair) == (data, ["eo"], ["sar"], ["eo"])
    assert rows["eo"].inputs == ["eo"] and rows["fusion"].inputs == rows["fusion-blind"].inputs == ["eo", "sar"]
    assert rows["fusion-blind"].predict.missing == ["eo"] and rows["fusion-blind"].train == rows["fusion"].train


def test_hfd_net_s_student_has_the_size_of_the_reconstruction() -> None:
    """ResNet-50 and 256 channels: 28.8 million, of which alignment is 0.2."""
    plain, aligned = (millions(built(f"paper-spacenet6-{name}").student) for name in ("sar-only", "alignment"))
    assert aligned == pytest.approx(28.8, abs=0.1) and 0.1 < aligned - plain < 0.4
