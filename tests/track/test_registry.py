"""The registered student: loads with MLflow, answers raw values as the run's own prediction does, and is made once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow
from mlflow import MlflowClient

from evidence import Project, finish_study
from georelay.evaluate.predict import Mapper, Rasters, open_receipt
from georelay.files import read_json, sha256_file, write_json
from georelay.methods.base import method_class, run_facts
from georelay.models.weights import save_weights
from georelay.track.mlflow import Study, track_runs
from georelay.track.served import open_served
from georelay.track.store import make_embedded

MODEL = {"backbone": "test_resnet", "stages": [1, 2], "decoder": "fpn", "width": 8, "dropout": 0.0, "arguments": {}}
MODEL |= {"neck": [], "normed": [], "positions": "timm", "weights": None}
PREDICT = {"window": 16, "overlap": 0, "batch": 2, "multiple": 0, "blend": "smooth", "scales": [1.0], "missing": []}
TRAIN = {"device": "cpu", "lr": 0.003, "steps": 200, "precision": "fp32", "threads": 1, "channels_last": False}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows and two seeds, with weights of students that nobody trained."""
    root = tmp_path_factory.mktemp("project")
    rows = finish_study(Project(root, scenes=2), "clouds", {"clouds-student": 0.4, "clouds-method": 0.1}, [0, 1])
    receipt = sha256_file(root / "data/raw/clouds/receipt.json")
    for row in (row["experiment"] for row in rows):
        for seed in (0, 1):
            folder = root / "results/runs" / row / f"seed{seed}"
            plan = read_json(folder / "plan.json")
            plan["source"]["receipt"], plan["settings"] = (
                receipt,
                {**plan["settings"], "model": MODEL, "train": TRAIN, "predict": PREDICT},
            )
            plan["modalities"]["optical"] |= {"mean": [900.0, 1000.0, 1100.0, 1500.0], "std": [300.0, 310.0, 320.0, 400.0]}
            write_json(folder / "plan.json", plan)
            torch.manual_seed(seed)
            save_weights(folder / "model.safetensors", method_class("supervised").build_student(plan), run_facts(plan))
    write_json(root / "results/tiles/clouds.json", {"tile": 16, "licence": "CC0-1.0"})
    make_embedded(root)
    bring(root, rows)
    write_json(root / "rows.json", rows)
    return root


def bring(root: Path, rows: list[dict[str, Any]]) -> None:
    track_runs([Study("clouds", rows, None)], [0, 1], root, None, 1)


def client(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root / 'results/mlflow/mlflow.db'}")


def test_it_is_chosen_by_validation_and_says_so(root: Path) -> None:
    version = client(root).get_model_version_by_alias("georelay-clouds", "best")
    curves = {seed: (root / f"results/runs/clouds-method/seed{seed}/history.csv").read_text() for seed in (0, 1)}
    last = {seed: float(text.splitlines()[-1].rsplit(",", 1)[1]) for seed, text in curves.items()}
    assert version.tags["row"] == "clouds-method" and float(version.tags["val_miou"]) == max(last.values())
    assert client(root).get_run(version.run_id).data.tags["georelay.run"].startswith("clouds-method/seed")
    assert "validation mIoU" in version.description and "highest of 2 rows" in version.description
    assert "Test scenes were not looked at" in client(root).get_registered_model("georelay-clouds").description


def test_it_takes_raw_values_in_batches_of_any_size(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = client(root).get_model_version_by_alias("georelay-clouds", "best")
    folder = root / "results/runs" / client(root).get_run(version.run_id).data.tags["georelay.run"]
    plan = read_json(folder / "plan.json")
    place = Path(version.source.removeprefix("file://"))
    served = mlflow.pytorch.load_model(str(place))
    mapper, receipt = Mapper.open(plan, folder / "model.safetensors"), open_receipt(plan, root)
    rasters = Rasters.open(receipt.scenes[0], root / "data/raw/clouds", mapper.modalities)
    windows = [rasters.window((row, col), 16)[:2] for row, col in ((0, 0), (0, 16), (16, 8))]
    windows[0][0][0][:, :4, :4] = 0  # no data
    windows[0][1][:, :4, :4] = False
    expected = mapper.probabilities(windows)
    raw = torch.stack([torch.cat(values) for values, _ in windows])
    for count in (1, 3):
        found = served(raw[:count]).softmax(dim=1).detach().numpy()
        assert found.shape == (count, 4, 16, 16) and abs(found - expected[:count]).max() < 1e-6


def test_it_has_a_signature_and_an_example_and_nothing_pickled(root: Path) -> None:
    version = client(root).get_model_version_by_alias("georelay-clouds", "best")
    place = Path(version.source.removeprefix("file://"))
    model = mlflow.models.Model.load(str(place))
    assert model.signature.inputs.inputs[0].shape == (-1, 4, 16, 16) and model.signature.outputs.inputs[0].shape == (
        -1,
        4,
        16,
        16,
    )
    assert model.load_input_example(str(place)).shape == (2, 4, 16, 16)
    assert (place / "data/model.pt2").is_file() and not list(place.rglob("*.p*kl")) + list(place.rglob("*.pth"))


def test_the_same_student_is_registered_once_and_another_anew(root: Path) -> None:
    rows = read_json(root / "rows.json")
    name = "name = 'georelay-clouds'"
    before = [version.version for version in client(root).search_model_versions(name)]
    bring(root, rows)
    assert [version.version for version in client(root).search_model_versions(name)] == before == [1]
    weights = root / "results/runs/clouds-method"
    saved = {seed: (weights / f"seed{seed}/model.safetensors").read_bytes() for seed in (0, 1)}
    for seed in (0, 1):
        (weights / f"seed{seed}/model.safetensors").write_bytes(saved[1 - seed])
    left = (
        client(root).create_logged_model("1", name="half", tags={"georelay.digest": "x"}).model_id
    )  # as a killed import leaves it
    bring(root, rows)
    assert client(root).get_model_version_by_alias("georelay-clouds", "best").version == 2
    assert left not in {model.model_id for model in client(root).search_logged_models(["1"])}


def test_without_weights_nothing_is_registered(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = finish_study(Project(tmp_path, scenes=1), "grass", {"grass-student": 0.4}, [0])
    (tmp_path / "results/mlflow").mkdir()
    (tmp_path / "results/mlflow/mlflow.db").write_bytes((root / "results/mlflow/mlflow.db").read_bytes())
    track_runs([Study("grass", rows, None)], [0], tmp_path, None, 1)
    assert "georelay-grass is not registered" in capsys.readouterr().err
    assert not client(tmp_path).search_registered_models("name = 'georelay-grass'")


def test_inputs_that_are_missing_at_test_are_no_inputs(root: Path) -> None:
    folder = root / "results/runs/clouds-method/seed0"
    plan = read_json(folder / "plan.json")
    plan["inputs"], plan["modalities"]["sar"] = (
        ["optical", "sar"],
        {**plan["modalities"]["optical"], "bands": ["vv", "vh"], "nodata": None},
    )
    plan["modalities"]["sar"] |= {"mean": [-10.0, -17.0], "std": [3.0, 3.0]}
    plan["settings"]["predict"] = {**PREDICT, "missing": ["optical"]}
    save_weights(root / "both.safetensors", method_class("supervised").build_student(plan), run_facts(plan))
    served = open_served(plan, root / "both.safetensors")
    assert served.bands == [2] and served(torch.full((2, 2, 16, 16), -10.0)).shape == (2, 4, 16, 16)
