"""The record of a run, one row a step; it also notices when the numbers stop being numbers."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import torch

from georelay.errors import UserError
from georelay.methods.base import Losses
from georelay.train.distributed import World

HINT = "try a smaller train.lr, train.clip: 1.0, more train.warmup_steps, or train.precision: fp32"


class History:
    """Rows of plain numbers. Losses wait as tensors until `flush`, so that a GPU need not be waited for each step."""

    def __init__(self, rows: list[dict[str, float]] | None = None) -> None:
        self.rows: list[dict[str, float]] = rows or []
        self.waiting: list[tuple[int, float, Losses]] = []

    def add(self, step: int, rate: float, losses: Losses) -> None:
        """Note a step."""
        self.waiting.append((step, rate, losses))

    def flush(self, where: str, world: World) -> None:
        """Turn what waits into numbers, means over all ranks; the first that is not finite ends the run."""
        for step, rate, losses in self.waiting:
            numbers = [losses.total, *losses.parts.values()]
            values = world.mean(torch.stack([number.detach().float() for number in numbers])).tolist()
            parts = dict(zip(losses.parts, values[1:], strict=True))
            if not all(map(math.isfinite, values)):
                shown = ", ".join(f"{name} {value:g}" for name, value in parts.items())
                raise UserError(f"the loss is {values[0]:g} at step {step} ({shown})", where, HINT)
            self.rows.append({"step": step, "lr": rate, "loss": values[0], **parts})
        self.waiting.clear()

    def score(self, miou: float) -> None:
        """Note a validation score beside the last step."""
        self.rows[-1]["val_miou"] = miou

    def text(self) -> str:
        """The rows as CSV; blank where nothing was measured."""
        names = [name for name in self.rows[0] if name != "val_miou"] + ["val_miou"]
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_shown(row.get(name)) for name in names] for row in self.rows)
        return stream.getvalue()


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.7g}"
