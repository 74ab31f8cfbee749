"""Features: what the last convolution reads, at the same pixels for all, and components that linear algebra agrees with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evidence import row
from georelay.evaluate.predict import Mapper
from georelay.evaluate.scores import Scores, write_scores
from georelay.files import write_json
from georelay.methods.base import run_facts
from georelay.models.weights import save_weights
from georelay.report import features
from georelay.report.features import Sample, draw, principal, sample_pixels, student_maps
from georelay.report.study import Study
from georelay.train.run import build_method
from invented import CLASSES, InventedStore, make_plan

ROWS = [row("s-first", "s"), row("s-other", "s", "s-first")]


def trained(root: Path, name: str = "s-first", method: str = "supervised", **changes: Any) -> dict[str, Any]:
    """A plan and weights of a student that has learnt nothing."""
    plan = make_plan(method, experiment=name, **changes)
    student = build_method(plan, 0, root).student
    save_weights(weights(root, name), student, run_facts(plan))
    write_json(root / "results/plans" / f"{name}.json", plan)
    write_scores(Scores(tuple(CLASSES), ("t-0",), np.ones((1, 4, 4), int)), name, 0, root)
    return plan


def weights(root: Path, name: str = "s-first") -> Path:
    return root / "results/runs" / name / "seed0" / "model.safetensors"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two rows whose tiles are in memory."""
    for name in ("s-first", "s-other"):
        plan = trained(tmp_path, name)
    path = tmp_path / plan["tiles"]["path"]
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr(features, "TileStore", lambda path: InventedStore())
    return Study("s", ROWS, (0,), tmp_path, 1)


@torch.no_grad()
def test_features_are_what_the_last_convolution_reads(tmp_path: Path) -> None:
    plan, store, tiles = trained(tmp_path), InventedStore(), np.array([3, 7])
    maps = student_maps(plan, weights(tmp_path), store, tiles)  # type: ignore[arg-type]
    mapper = Mapper.open(plan, weights(tmp_path))
    values, valid = torch.from_numpy(store.array("optical")[tiles].astype(np.float32)), torch.ones(2, 1, 32, 32, dtype=torch.bool)
    expected = mapper.probabilities([([values[place]], valid[place]) for place in range(2)])
    logits = mapper.student.decoder.classify(maps)
    stride = 32 // logits.shape[-1]
    fine = torch.nn.functional.interpolate(logits, scale_factor=stride, mode="bilinear")
    assert np.allclose(fine.softmax(1).numpy(), expected, atol=1e-5)


def test_of_two_decoders_both_are_seen(tmp_path: Path) -> None:
    plan = trained(tmp_path, method="stdasegnet")
    maps = student_maps(plan, weights(tmp_path), InventedStore(), np.array([3]))  # type: ignore[arg-type]
    assert maps.shape[1] == 2 * plan["settings"]["model"]["width"]


def test_pixels_are_of_test_tiles_as_many_of_each_class(tmp_path: Path) -> None:
    store, plan = InventedStore(), make_plan()
    store.hide(3, slice(0, 32))
    sample = sample_pixels(store, plan)  # type: ignore[arg-type]
    assert set(sample.tiles) <= set(store.select("test")) and 3 not in sample.tiles[sample.tile]
    counts = np.bincount(sample.label)
    assert counts.tolist() == [min(features.PIXELS, int(n)) for n in np.bincount(store.array("label")[sample.tiles[1:]].ravel())]
    rows, columns = (sample.row * 32).astype(int), (sample.column * 32).astype(int)
    assert (store.array("label")[sample.tiles[sample.tile], rows, columns] == sample.label).all()
    assert (sample_pixels(store, plan).row == sample.row).all()  # type: ignore[arg-type]


def test_a_pixel_has_the_vector_of_its_cell() -> None:
    maps = torch.arange(2 * 3 * 2 * 4).reshape(2, 3, 2, 4).float()
    place = {"row": np.array([0.1, 0.9]), "column": np.array([0.3, 0.99])}
    sample = Sample(np.array([5, 9]), np.array([0, 1]), label=np.array([0, 1]), **place)
    assert sample.of(maps).tolist() == [maps[0, :, 0, 1].tolist(), maps[1, :, 1, 3].tolist()]


def test_components_agree_with_the_eigenvectors_of_the_covariance() -> None:
    vectors, labels = np.random.default_rng(0).normal(size=(200, 5)) * [9, 4, 1, 1, 1], np.arange(200) % 2
    points, shares = principal(vectors, labels)
    values = np.linalg.eigvalsh(np.cov(vectors.T))[::-1]
    assert shares == pytest.approx(values[:2] / values.sum())
    assert points[:, 0].std() == pytest.approx(1) and points[:, 1].std() == pytest.approx((values[1] / values[0]) ** 0.5)
    assert points[:, 0] @ points[:, 1] == pytest.approx(0, abs=1e-9)
    assert (points[labels == 0].mean(0) < 0).all() and np.allclose(principal(-vectors, labels)[0], points)


def test_every_student_has_a_panel_and_every_class_a_sign(study: Study) -> None:
    first, other = [axes for axes in draw(study).axes if axes.get_visible()]
    assert [line.get_label() for line in first.lines] == CLASSES
    assert len({line.get_marker() for line in first.lines}) == len(CLASSES)
    assert first.get_title(loc="left").startswith("first\n") and other.get_title(loc="left").startswith("other\n")
    sizes = [len(line.get_xdata()) for line in first.lines]
    assert sizes == [features.PIXELS] * len(CLASSES)


def test_weights_that_are_missing_or_of_another_plan_are_no_reason_to_fail(study: Study) -> None:
    weights(study.root, "s-other").write_bytes(b"no weights")
    assert len([axes for axes in draw(study).axes if axes.get_visible()]) == 1
    weights(study.root).unlink()
    (text,) = draw(study).texts
    assert "weights" in text.get_text()
