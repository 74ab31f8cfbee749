"""What would run: invented results of real keys, changed, taken away and brought back; nothing is drawn or trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from georelay.cache import Cache
from georelay.cli import main
from georelay.files import sha256_file, write_json, write_text
from georelay.outlook import look_ahead, row_of
from georelay.params import load_params
from georelay.plan import card_path, make_plan, plan_path, raw_folder
from georelay.rows import resolve
from georelay.settings import Params
from georelay.stage import Stage
from georelay.stages import RUNS, fetch_stage, predict_stage, tile_stage, train_stage
from test_plan import card

REPOSITORY = Path(__file__).parents[1]
ROW = "clouds-student"
RUN = RUNS / ROW / "seed0"


def finish(stage: Stage, write: Callable[[], None]) -> None:
    """What running a stage leaves: its files, and an entry in the cache."""
    write()
    Cache.here().save(str(stage.key), stage.label, stage.outputs, 20.0)


def finish_data(params: Params) -> None:
    receipt = raw_folder("clouds") / "receipt.json"
    finish(fetch_stage(params, "clouds"), lambda: write_json(receipt, {"files": {}}))
    digest = sha256_file(receipt)
    finish(tile_stage(params, "clouds", digest), lambda: write_tiles(digest))


def write_tiles(receipt: str) -> None:
    write_json(card_path("clouds"), card("clouds") | {"receipt": receipt})
    write_text(card_path("clouds").with_suffix(".zarr.zip"), "tiles")


def finish_run(params: Params, seed: int, weights: str) -> None:
    plan = make_plan(params, resolve(params, ROW), Path("."))
    write_json(plan_path(ROW), plan)
    trained = train_stage(plan, seed)
    finish(trained, lambda: [write_text(path, f"{path.name} {weights}") for path in trained.outputs] and None)
    write_json(trained.outputs[0].with_name("plan.json"), plan)
    predicted = predict_stage(plan, seed, sha256_file(trained.outputs[-1]))
    finish(predicted, lambda: write_json(predicted.outputs[0] / "maps.json", {"scenes": weights}))
    write_json(Path(f"results/scores/{ROW}/seed{seed}.json"), {})


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """The repository's params.yaml in a checkout in which one row is done, with seeds 0, 1 and 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GEORELAY_CACHE", raising=False)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    params = load_params()
    finish_data(params)
    for seed in range(3):
        finish_run(params, seed, f"weights {seed}")
    return params


def states(params: Params) -> dict[str, str]:
    return {job.label: job.state for job in look_ahead(params, [ROW], Path("."))}


def left(params: Params) -> dict[str, str]:
    return {label: state for label, state in states(params).items() if state != "done"}


def with_decay(params: Params, decay: float) -> Params:
    rows = dict(params.experiments)
    rows[ROW] = rows[ROW].model_copy(update={"set": {**rows[ROW].set, "train": {"weight_decay": decay}}})
    return params.model_copy(update={"experiments": rows})


def test_all_is_done(params: Params) -> None:
    assert len(states(params)) == 3 + 3 * 3
    assert left(params) == {}


def test_an_emptied_cache_makes_nothing_undone(params: Params) -> None:
    shutil.rmtree(".georelay/cache")
    assert left(params) == {}


def test_what_is_gone_is_in_the_cache(params: Params) -> None:
    shutil.rmtree("results/runs")
    shutil.rmtree("data")
    Path("results/maps", ROW, "seed1/maps.json").unlink()
    runs = {f"train {ROW} {seed}": "cached" for seed in range(3)}
    assert left(params) == {"fetch clouds": "cached", **runs, f"predict {ROW} 1": "cached", f"evaluate {ROW} 1": "to run"}


def test_a_fresh_clone_sees_through_the_cache(params: Params) -> None:
    for folder in ("data", "results"):
        shutil.rmtree(folder)
    found = states(params)
    kept = {label for label, state in found.items() if state == "cached"}
    assert kept == {label for label in found if label.split()[0] in ("fetch", "tile", "train", "predict")}
    assert list(Path(".").glob("results/*")) == [], "looking writes nothing"


def test_without_cache_and_results_all_is_to_run(params: Params) -> None:
    for folder in ("data", "results", ".georelay"):
        shutil.rmtree(folder)
    assert set(states(params).values()) == {"to run"}


def test_a_changed_setting_undoes_the_runs_of_its_row_and_says_so(params: Params) -> None:
    jobs = {job.label: job for job in look_ahead(with_decay(params, 0.5), [ROW], Path("."))}
    assert {label for label, job in jobs.items() if job.state == "done"} == {"fetch clouds", "tile clouds"}
    assert jobs[f"train {ROW} 2"].reason == "train.weight_decay: 0.01 -> 0.5"
    assert jobs[f"predict {ROW} 2"].waits


def test_back_again_is_in_the_cache_and_half_done_is_not_done(params: Params) -> None:
    other = with_decay(params, 0.5)
    finish_run(other, 0, "other weights")
    assert f"train {ROW} 0" not in left(other) and left(params)[f"train {ROW} 0"] == "cached"
    # Interrupted between training and maps: those that lie there are of the weights of before.
    shutil.rmtree(RUN)
    finish_run(params, 0, "weights 0")
    shutil.copy(Path("results/maps", ROW, "seed1/maps.json"), Path("results/maps", ROW, "seed0/maps.json"))
    assert left(params) == {f"predict {ROW} 0": "cached", f"evaluate {ROW} 0": "to run"}


def test_tiles_of_other_settings_are_to_be_cut_anew(params: Params) -> None:
    tasks = dict(params.tasks)
    tasks["clouds"] = tasks["clouds"].model_copy(update={"stride": 32})
    jobs = {job.label: job for job in look_ahead(params.model_copy(update={"tasks": tasks}), [ROW], Path("."))}
    assert jobs["tile clouds"].reason == "made by other settings, code or data"
    assert {label for label, job in jobs.items() if job.state == "done"} == {"fetch clouds"}


@pytest.mark.parametrize(
    ("label", "row"),
    [("train a-row 2", "a-row"), ("features clouds vit", "clouds--vit"), ("tile clouds", "clouds"), ("report", "")],
)
def test_the_row_of_a_label(label: str, row: str) -> None:
    assert row_of(label) == row


def test_the_commands_speak_of_it(params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", ROW]) == 0
    assert capsys.readouterr().out == f"{ROW}, seeds 0, 1, 2: nothing: the stored run is current\n"
    shutil.rmtree(RUN)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("    weight_decay: 0.01", "    weight_decay: 0.02", 1))
    assert main(["why", ROW]) == 0
    said = capsys.readouterr().out
    assert f"{ROW}, seed 0: no stored run; to be trained" in said
    assert f"{ROW}, seeds 1, 2: the run of now is to be trained\n  train.weight_decay: 0.01 -> 0.02" in said
    assert main(["plan", "--estimate", ROW, "--cores", "1"]) == 0
    said = capsys.readouterr().out
    # Three runs of 20 s, as the cache has it; nothing has told yet how long a plan and the scores take.
    assert "3 runs to train; at least 2.0 minutes on 1 cores" in said, "20 s to train and 20 s for the maps, three times"
    assert "(plan, evaluate)" in said and "train clouds-student (2 seeds): to run: train.weight_decay: 0.01 -> 0.02" in said


def test_what_nobody_knows_of_is_refused(params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--estimate", "cloudz"]) == 2
    assert 'unknown experiment "cloudz"' in capsys.readouterr().err
    card_path("clouds").unlink()
    assert main(["why", ROW]) == 2
    assert "clouds.json: file is missing" in capsys.readouterr().err
    shutil.rmtree(RUN.parent)
    assert main(["why", ROW]) == 0
    assert "no stored run, and not yet all that it is made of: results/tiles/clouds.json" in capsys.readouterr().out
