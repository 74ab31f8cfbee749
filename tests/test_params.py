"""params.yaml: what is refused, in which words, and how rows are merged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from georelay.errors import UserError
from georelay.params import load_params
from georelay.reading import load_yaml
from georelay.rows import resolve, resolve_teacher, rows, studies, teacher_row

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def values() -> dict[str, Any]:
    return load_yaml(REPOSITORY / "params.yaml")


def loaded(values: dict[str, Any], folder: Path) -> Any:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return load_params(path)


def test_both_yaml_dialects_and_ours_read_the_same_values() -> None:
    path = REPOSITORY / "params.yaml"
    ours, old = load_yaml(path), yaml.safe_load(path.read_text())
    new = YAML(typ="safe", pure=True).load(path.read_text())
    assert ours == old == new


def assert_refused(values: dict[str, Any], tmp_path: Path, path: tuple[str, ...], value: object, message: str, hint: str) -> None:
    """With another value at a path of keys the file is refused, in these words."""
    place = values
    for part in path[:-1]:
        place = place.setdefault(part, {})
    place[path[-1]] = value
    with pytest.raises(UserError) as caught:
        loaded(values, tmp_path)
    assert message in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1.0e-3", 0.001), ("010", 10), ("off", "off"), ("12:30", "12:30"), ("true", True), ("~", None), ("3", 3)],
)
def test_scalars_follow_yaml_1_2_as_in_dvc(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"key: {text}\n")
    assert load_yaml(path) == {"key": value}
    assert YAML(typ="safe", pure=True).load(path.read_text()) == {"key": value}


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(UserError, match='"a" is given twice'):
        load_yaml(path)


@pytest.mark.parametrize(
    ("section", "key", "value", "message", "hint"),
    [
        (("defaults", "train"), "stepz", 5, "defaults.train.stepz: unknown key", 'did you mean "steps"?'),
        (("tasks", "clouds"), "tyle", 5, "tasks.clouds.tyle: unknown key", 'did you mean "tile"?'),
        (("tasks", "clouds", "split"), "bufer", 5, "tasks.clouds.split.bufer: unknown key", 'did you mean "buffer"?'),
        (("defaults", "train"), "steps", "many", "defaults.train.steps", "not 'many'"),
        (("defaults", "train"), "lr", "fast", "defaults.train.lr", "not 'fast'"),
        (("defaults", "train"), "steps", -1, "defaults.train.steps", "greater than 0"),
        (("tasks", "clouds"), "source", "cloudz", 'tasks.clouds.source: unknown source "cloudz"', 'did you mean "clouds"?'),
        (("tasks", "clouds"), "inputs", ["sar"], 'tasks.clouds.inputs: unknown modality "sar"', "optical"),
        (("tasks", "clouds"), "stride", 65, "tasks.clouds.stride", "leaves gaps"),
        (("tasks", "clouds"), "labels", "5 %", "tasks.clouds.labels", "a count, a share such as \"5%\", or null, not '5 %'"),
        (("tasks", "clouds"), "labels", "0%", "tasks.clouds.labels", "a share such as"),
        (("tasks", "clouds"), "labels", "100.5%", "tasks.clouds.labels", "a share such as"),
        (("tasks", "clouds"), "labels", 0, "tasks.clouds.labels", "not 0"),
        (("tasks", "clouds"), "labels", 0.05, "tasks.clouds.labels", "not 0.05"),
        (("experiments", "clouds-student"), "set", {"labels": "all"}, "clouds-student.labels", "a share such as"),
        (
            ("tasks", "potsdam-tiles", "split"),
            "buffer",
            1.0,
            "potsdam-tiles.split.buffer: rule tiles puts neighbours",
            "set it to 0",
        ),
        (("tasks", "potsdam-tiles", "split"), "seed", None, "potsdam-tiles.split: rule tiles needs seed", ""),
        (("tasks", "potsdam-tiles", "split"), "rule", "blocks", "potsdam-tiles.split: rule blocks needs block", ""),
        (("tasks", "potsdam-tiles", "split"), "of", "held-out", "split: the source has no splits", "draw with rule scenes"),
        (("tasks", "potsdam-tiles", "split"), "rule", "scene", "split: the source has no splits", "draw with rule scenes"),
        (("tasks", "potsdam-scenes", "split", "fractions"), "val", 0.1, "split.fractions: fractions add up to 0.9, not 1", ""),
        (("sources", "clouds"), "sead", 5, "sources.clouds.sead: unknown key", 'did you mean "seed"?'),
        (("sources", "clouds"), "size", 0, "params.yaml: sources.clouds.size: input should be greater than 0", ""),
        (("sources", "clouds", "scenes"), "tran", 5, "sources.clouds.scenes.tran: unknown key", 'did you mean "train"?'),
        (("sources", "clouds"), "kind", "folders", "sources.clouds: input tag 'folders'", "'synthetic', 'folder'"),
        (("sources", "ktda-grass"), "band", ["red"], "sources.ktda-grass.band: unknown key", 'did you mean "bands"?'),
        (("sources", "ktda-grass", "splits"), "tests", "x", "sources.ktda-grass.splits.tests: unknown key", '"test"'),
        (
            ("sources", "ktda-grass"),
            "classes",
            [{"name": "low", "color": [1, 2, 3]}, {"name": "high", "colour": [3, 2, 1]}],
            "ktda-grass.classes.0.color: unknown key",
            '"colour"',
        ),
        (("sources", "loveda"), "dataset", "lovda", 'sources.loveda.dataset: unknown data set "lovda"', 'did you mean "loveda"?'),
        (("sources", "loveda"), "kind", "datasets", "sources.loveda: input tag 'datasets'", "'dataset'"),
        (("sources", "loveda"), "gsd", "fine", "sources.loveda.gsd: input should be a valid number", "not 'fine'"),
        (("sources", "loveda"), "path", "", "sources.loveda.path: string should have at least 1 character", ""),
        (("sources", "spacenet6", "modalities", "sar"), "band", ["hh"], "modalities.sar.band: unknown key", '"bands"'),
        (("sources", "ktda-grass"), "ignore", 256, "sources.ktda-grass.ignore", "less than or equal to 255"),
        (("experiments", "clouds-student"), "method", "supervized", 'unknown method "supervized"', 'did you mean "supervised"?'),
        (("experiments", "clouds-student"), "task", "cloud", 'unknown task "cloud"', 'did you mean "clouds"?'),
        (
            ("experiments", "clouds-student"),
            "set",
            {"label_smothing": 0.1},
            "set.label_smothing: not a setting",
            "label_smoothing",
        ),
        (
            ("experiments", "clouds-student"),
            "set",
            {"train": {"stepz": 1}},
            "set.train.stepz: unknown key",
            'did you mean "steps"?',
        ),
        (("experiments", "clouds-student"), "set", {"train": 3}, "set.train: must be a mapping", ""),
        (
            ("experiments", "allweather-fusion"),
            "set",
            {"inputs": ["eo", "sar"], "predict": {"missing": ["eos"]}},
            'set.predict.missing: unknown input "eos"',
            'did you mean "eo"?',
        ),
        (
            ("experiments", "allweather-sar-only"),
            "set",
            {"predict": {"missing": ["sar"]}},
            "set.predict.missing: nothing is left to see",
            "leave at least one input there",
        ),
        (("experiments", "clouds-student"), "why", "", "experiments.clouds-student.why", ""),
        (
            ("active",),
            "tasks",
            ["clouds", "grass", "landcover", "allweather", "allweather-lessons", "corpus"],
            'active.tasks: crosscity-source-only needs "crosscity"',
            "add crosscity to active.tasks",
        ),
        (("compare", "gaps"), "crosscty", {"lower": "a", "upper": "b"}, 'gaps.crosscty: unknown study "crosscty"', '"crosscity"'),
        (("compare", "gaps", "crosscity"), "lowr", "a", "compare.gaps.crosscity.lowr: unknown key", 'did you mean "lower"?'),
        (
            ("compare", "gaps", "crosscity"),
            "lower",
            "crosscity-sourceonly",
            'compare.gaps.crosscity.lower: unknown experiment "crosscity-sourceonly"',
            'did you mean "crosscity-source-only"?',
        ),
        (
            ("compare", "gaps", "crosscity"),
            "upper",
            "mild-target-supervised",
            "compare.gaps.crosscity.upper: mild-target-supervised stands in study crosscity-mild",
            "name one of crosscity-source-only, crosscity-target-supervised,",
        ),
        (
            ("compare", "gaps", "crosscity"),
            "upper",
            "crosscity-source-only",
            "compare.gaps.crosscity.upper: crosscity-source-only is the lower bound already",
            "",
        ),
        (
            ("active",),
            "experiments",
            ["clouds-studnet"],
            'active.experiments: unknown experiment "clouds-studnet"',
            "clouds-student",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_key(
    values: dict[str, Any], tmp_path: Path, section: tuple[str, ...], key: str, value: object, message: str, hint: str
) -> None:
    assert_refused(values, tmp_path, (*section, key), value, message, hint)


def test_names_are_slugs(values: dict[str, Any], tmp_path: Path) -> None:
    values["experiments"]["Clouds_Student"] = values["experiments"]["clouds-student"]
    with pytest.raises(UserError, match="a-z, 0-9 and -"):
        loaded(values, tmp_path)


def test_a_circle_of_likes_is_shown_whole(values: dict[str, Any], tmp_path: Path) -> None:
    values["experiments"] |= {"a": {"like": "b", "why": "x"}, "b": {"like": "a", "why": "y"}}
    with pytest.raises(UserError, match="circle: a -> b -> a"):
        loaded(values, tmp_path)


def test_like_and_set_merge_from_the_eldest_down(values: dict[str, Any], tmp_path: Path) -> None:
    values["experiments"] |= {
        "child": {"like": "clouds-student", "why": "longer", "set": {"train": {"steps": 7, "lr": 0.5}}},
        "grandchild": {"like": "child", "why": "and fewer labels", "set": {"train": {"lr": 0.25}, "labels": 4}},
    }
    params = loaded(values, tmp_path)
    row = resolve(params, "grandchild")
    assert (row.train.steps, row.train.lr, row.labels, row.parent) == (7, 0.25, 4, "child")
    assert (row.study, row.task, row.method, row.core) == ("clouds", "clouds", "supervised", False)
    assert row.train.batch == params.defaults.train.batch
    assert [row.name for row in rows(params, "clouds", active=False)][-2:] == ["child", "grandchild"]
    assert studies(params)["clouds"][-2:] == ["child", "grandchild"]


def test_an_inactive_parent_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    values["experiments"]["child"] = {"like": "base", "why": "x"}
    values["experiments"]["base"] = values["experiments"]["clouds-student"]
    values["active"]["experiments"].append("child")
    with pytest.raises(UserError, match=r'active.experiments: child needs "base"'):
        loaded(values, tmp_path)


def test_the_committed_schema_is_the_one_the_classes_make() -> None:
    import json

    from georelay.settings import Params

    committed = json.loads((REPOSITORY / "workflow/schemas/params.schema.json").read_text())
    assert committed == Params.model_json_schema(), "run `georelay schema` and commit the result"


ROW = ("experiments", "distil-attributes")
FEATURES = {"landcover--attributes": {"task": "landcover", "teacher": "attributes"}}
TEACHER = {"why": "x", "licence": "none", "taps": [2], "network": "test_resnet", "bands": ["red"]}
TEACHER |= {"statistics": {"mean": [0.1], "std": [0.1], "white": None}}
LESSON = {"task": "corpus", "method": "pretext", "seed": 0, "set": {"targets": ["light"]}}


@pytest.mark.parametrize(
    ("section", "key", "value", "message", "hint"),
    [
        (ROW, "teachers", ["atributes"], 'teachers: unknown teacher "atributes"', 'did you mean "attributes"?'),
        (ROW, "teachers", [], "teachers: method distil takes 1 to 8 teachers, not 0", ""),
        (ROW, "teachers", ["attributes", "attributes"], "teachers: the same teacher twice", ""),
        (("experiments", "clouds-student"), "teachers", ["attributes"], "method supervised takes 0 teachers, not 1", ""),
        (ROW, "set", {"teacher_view": "live"}, "teacher_view: input should be 'cached' or 'online'", "not 'live'"),
        (ROW, "set", {"teacher_vew": "online"}, "set.teacher_vew: not a setting of method distil", '"teacher_view"'),
        (("active",), "teachers", ["atributes"], 'active.teachers: unknown teacher "atributes"', "attributes"),
        (("active",), "features", FEATURES, 'active.features: clouds-ktda-fam needs "clouds--attributes"', ""),
        (("active", "features"), "landcover-attributes", FEATURES["landcover--attributes"], "must be named", "landcover--attr"),
        (("active", "features", "landcover--attributes"), "task", "land", 'attributes.task: unknown task "land"', ""),
        (("active", "features", "landcover--attributes"), "taek", "clouds", "attributes.taek: unknown key", '"task"'),
        (("teachers", "attributes"), "tapz", [1], "teachers.attributes.tapz: unknown key", 'did you mean "taps"?'),
        (("teachers", "attributes", "taught"), "sed", 1, "teachers.attributes.taught.sed: unknown key", 'did you mean "seed"?'),
        (("teachers", "attributes"), "taps", [], "teachers.attributes.taps", "at least 1"),
        (("teachers", "attributes"), "taps", ["aligned-x"], "teachers.attributes.taps.0: ", "decoder, logits, or aligned-0"),
        (("teachers", "attributes"), "taps", [-1], "teachers.attributes.taps.0: ", "must be the number of a block"),
        (("teachers", "attributes"), "normed", [3], "teachers.attributes.normed: tap 3 is not among the taps", ""),
        (("teachers", "attributes", "taught"), "task", "corpos", 'attributes.taught.task: unknown task "corpos"', "corpus"),
        (("teachers", "attributes", "taught"), "method", "pretexts", 'taught.method: unknown method "pretexts"', "pretext"),
        (
            ("teachers", "attributes"),
            "taught",
            LESSON | {"method": "distil", "set": {}},
            "taught.teachers: method distil takes",
            "",
        ),
        (("teachers", "attributes", "taught", "set"), "maskd", 0.1, "maskd: not a setting of method pretext", '"masked"'),
        (("teachers", "attributes", "taught", "set"), "pair", ["sar"], 'set.pair: unknown modality "sar"', "optical"),
    ],
)
def test_what_is_wrong_with_teachers_is_said_with_its_key(
    values: dict[str, Any], tmp_path: Path, section: tuple[str, ...], key: str, value: object, message: str, hint: str
) -> None:
    assert_refused(values, tmp_path, (*section, key), value, message, hint)


@pytest.mark.parametrize(
    ("origin", "changes", "message"),
    [
        ("taught", {"taught": None, "network": None}, "a teacher of origin taught needs `taught`"),
        ("random", {"taught": None, "network": None}, "a teacher of origin random needs `taught`"),
        ("hub", {"network": None}, "a teacher of origin hub needs `network`"),
        ("hub", {"bands": None}, "a teacher of origin hub needs `bands`"),
        ("hub", {"statistics": None}, "a teacher of origin hub needs `statistics`"),
        ("file", {}, "a teacher of origin file needs `file`"),
        ("file", {"file": "w.pth", "network": None}, "a teacher of origin file needs `network`"),
        ("taught", {"taught": LESSON}, "a teacher of origin taught has no use for `network`"),
        ("hub", {"taught": LESSON}, "a teacher of origin hub has no use for `taught`"),
        ("hub", {"file": "w.pth"}, "a teacher of origin hub has no use for `file`"),
        ("random", {"taught": LESSON, "network": None, "file": "w.pth"}, "a teacher of origin random has no use for `file`"),
        ("url", {}, "origin: input should be 'taught', 'random', 'hub' or 'file', not 'url'"),
    ],
)
def test_what_a_teacher_needs_follows_from_its_origin(
    values: dict[str, Any], tmp_path: Path, origin: str, changes: dict[str, Any], message: str
) -> None:
    values["teachers"]["other"] = TEACHER | {"origin": origin} | changes
    with pytest.raises(UserError) as caught:
        loaded(values, tmp_path)
    assert "teachers.other" in str(caught.value) and message in str(caught.value)


def test_a_teacher_is_its_ancestor_with_changes(values: dict[str, Any], tmp_path: Path) -> None:
    change = {"like": "attributes", "why": "longer", "taught": {"set": {"train": {"steps": 7}}}, "dtype": "bf16"}
    values["teachers"]["child"] = change
    params = loaded(values, tmp_path)
    child, parent = (resolve_teacher(params, name) for name in ("child", "attributes"))
    assert (child.why, child.dtype, child.licence, child.taps) == ("longer", "bf16", parent.licence, parent.taps)
    row, taught = teacher_row(params, "child"), teacher_row(params, "attributes")
    assert row is not None and taught is not None
    assert (row.train.steps, row.model, row.options) == (7, taught.model, taught.options)


def test_a_circle_of_teachers_is_shown_whole(values: dict[str, Any], tmp_path: Path) -> None:
    values["teachers"] |= {"a": {"like": "b", "why": "x"}, "b": {"like": "a", "why": "y"}}
    with pytest.raises(UserError, match=r"teachers\.b\.like: `like` runs in a circle: a -> b -> a"):
        loaded(values, tmp_path)


@pytest.mark.parametrize(
    ("key", "name", "who"),
    [
        ("teachers", "attributes", "clouds--attributes"),
        ("tasks", "corpus", "teacher attributes"),
        ("sources", "corpus", "teacher attributes"),
    ],
)
def test_what_a_teacher_stands_on_must_be_active(values: dict[str, Any], tmp_path: Path, key: str, name: str, who: str) -> None:
    values["active"][key].remove(name)
    with pytest.raises(UserError) as caught:
        loaded(values, tmp_path)
    assert f'active.{key}: {who} needs "{name}"' in str(caught.value)


def test_an_online_row_needs_its_teacher_but_no_features(values: dict[str, Any], tmp_path: Path) -> None:
    values["active"]["experiments"] = ["distil-student", "distil-attributes", "distil-online"]
    values["experiments"]["distil-attributes"]["set"] = {"teacher_view": "online"}
    values["active"] |= {"teachers": ["attributes"], "features": {}, "studies": ["landcover-teachers"]}
    assert [row.teacher_view for row in rows(loaded(values, tmp_path))] == ["cached", "online", "online"]
    values["active"]["teachers"] = []
    with pytest.raises(UserError, match=r'active\.teachers: distil-attributes needs "attributes"'):
        loaded(values, tmp_path)


def test_a_row_is_refused_whose_change_the_default_run_replaces(values: dict[str, Any], tmp_path: Path) -> None:
    own = {"like": "clouds-student", "why": "how much of a gain is a larger step?", "set": {"train": {"lr": 6.0e-3}}}
    values["experiments"]["clouds-rated"] = own
    loaded(values, tmp_path)  # not active: it may be a row of the reference
    values["active"]["experiments"].append("clouds-rated")
    with pytest.raises(UserError, match=r"replaces all that clouds-rated changes, which leaves clouds-student"):
        rows(loaded(values, tmp_path))
    own["set"]["train"]["weight_decay"] = 0.5
    assert rows(loaded(values, tmp_path))[-1].train.weight_decay == 0.5


ALONE = """
like: {base}
active:
  {{sources: [clouds], tasks: [clouds], teachers: [], features: {{}}, studies: [clouds],
    experiments: [clouds-student, clouds-own], seeds: [7]}}
experiments:
  clouds-own: {{like: clouds-student, why: "a row beside those of the other file", set: {{train: {{steps: 3}}}}}}
  clouds-student: {{why: "a word changed"}}
"""


def test_a_project_of_its_own_is_laid_over_another(tmp_path: Path) -> None:
    """Sections are merged, rows key by key; what is active is its own alone."""
    base = Path(os.path.relpath(REPOSITORY / "params.yaml", tmp_path))
    (tmp_path / "params.yaml").write_text(ALONE.format(base=base))
    whole, own = load_params(REPOSITORY / "params.yaml"), load_params(tmp_path / "params.yaml")
    here = whole.model_copy(update={"active": own.active})
    assert own.active.experiments == ["clouds-student", "clouds-own"] and own.active.seeds == [7] and own.active.features == {}
    assert set(own.experiments) == {*whole.experiments, "clouds-own"} and own.defaults == whole.defaults
    assert resolve(own, "clouds-own").train.steps == 3
    assert resolve(own, "clouds-student") == resolve(here, "clouds-student").model_copy(update={"why": "a word changed"})


@pytest.mark.parametrize(
    ("base", "words"), [("nowhere.yaml", r"like: .*nowhere\.yaml is missing"), ("params.yaml", "is like this file in turn")]
)
def test_a_base_that_cannot_be(tmp_path: Path, base: str, words: str) -> None:
    (tmp_path / "params.yaml").write_text(ALONE.format(base=base))
    with pytest.raises(UserError, match=words):
        load_params(tmp_path / "params.yaml")
