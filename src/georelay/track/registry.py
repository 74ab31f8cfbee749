"""The best student of a study as a registered model, `georelay-<study>` with the alias `best`.

It is saved as torch's own exported program (pt2), which holds a graph and tensors and nothing that is unpickled.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from georelay.files import digest, read_json, sha256_file
from georelay.progress import say
from georelay.sources.receipt import NAME as RECEIPT
from georelay.track.best import Best
from georelay.track.record import run_folder, run_plan

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ALIAS, DIGEST = "best", "georelay.digest"
LAYOUT = 1  # raise it when models are saved differently
ABOUT = (
    "The best student of study {study}: the best seed, by validation mIoU, of the row whose seeds have the highest mean "
    "validation mIoU. Test scenes were not looked at for it. Alias `best` is the one of the last import."
)
OF_VERSION = (
    "Row **{row}**, {seed}: validation mIoU {score:.3f}, its row's mean {mean:.3f}, the highest of {rows} rows. Takes values as "
    "they are in the rasters ({bands}), float32 (B, bands, {side}, {side}), and returns the logits of {classes}. Normalisation "
    "is inside; a pixel without data in any band is seen as the mean."
)


def register_student(client: MlflowClient, study: str, experiment: str, run: str, best: Best, root: Path) -> None:
    """Register the chosen student of a study, unless the registered one is it."""
    name = f"georelay-{study}"
    weights = run_folder(best.record.shown, root) / "model.safetensors"
    plan = run_plan(best.record.shown, root)
    card = (root / plan["tiles"]["path"]).with_suffix("").with_suffix(".json")
    if missing := [path for path in (weights, card, root / plan["source"]["folder"] / RECEIPT) if not path.is_file()]:
        say(f"track: {name} is not registered, as {missing[0]} is not here")
        return
    made_of = [LAYOUT, best.record.key, best.record.tags["plan.sha256"], sha256_file(weights)]
    tags = {DIGEST: digest(made_of), "row": best.row, "val_miou": f"{best.score:.6f}"}
    current = _current(client, name)
    if current is not None and current.tags.get(DIGEST) == tags[DIGEST] and current.run_id == run:
        return
    _drop_unregistered(client, name, experiment)
    side = read_json(card)["tile"]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        _save(plan, weights, side, root, target)
        model = client.create_logged_model(experiment, name=best.row, source_run_id=run, tags=tags, model_type="student")
        client.log_model_artifacts(model.model_id, str(target))
        client.finalize_logged_model(model.model_id, "READY")
    about = _about(plan, best, side)
    version = client.create_model_version(name, model.artifact_location, run, tags, description=about, model_id=model.model_id)
    client.set_registered_model_alias(name, ALIAS, version.version)
    say(f"track: {name} version {version.version} is {best.record.key}")


def _current(client: MlflowClient, name: str) -> ModelVersion | None:
    """The version that is registered as best; the registered model is made where there is none."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=ABOUT.format(study=name.removeprefix("georelay-")))
    aliases = client.get_registered_model(name).aliases
    return client.get_model_version(name, aliases[ALIAS]) if ALIAS in aliases else None


def _drop_unregistered(client: MlflowClient, name: str, experiment: str) -> None:
    """Delete what an import that was killed before it could register its model has left."""
    registered = {version.model_id for version in client.search_model_versions(f"name = '{name}'")}
    for model in client.search_logged_models([experiment]):
        if DIGEST in model.tags and model.model_id not in registered:
            client.delete_logged_model(model.model_id)


def _about(plan: dict[str, Any], best: Best, side: int) -> str:
    inputs = [name for name in plan["inputs"] if name not in plan["settings"]["predict"]["missing"]]
    bands = "; ".join(f"{name}: {', '.join(plan['modalities'][name]['bands'])}" for name in inputs)
    facts = {"row": best.row, "score": best.score, "mean": best.mean, "rows": best.rows, "bands": bands, "side": side}
    return OF_VERSION.format(**facts, seed=best.record.key.rpartition("/")[2], classes=", ".join(plan["classes"]))


def _save(plan: dict[str, Any], weights: Path, side: int, root: Path, target: Path) -> None:
    import torch
    from mlflow import pytorch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from georelay.track.served import example_tiles, open_served

    served = open_served(plan, weights)
    example = example_tiles(plan, served, side, root)
    with torch.no_grad():
        shapes = [(-1, *values.shape[1:]) for values in (example, served(example))]
    inputs, outputs = (Schema([TensorSpec(example.numpy().dtype, shape)]) for shape in shapes)
    pytorch.save_model(
        served,
        str(target),
        signature=ModelSignature(inputs, outputs),
        input_example=example.numpy(),
        serialization_format="pt2",
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "mlflow"],
    )
