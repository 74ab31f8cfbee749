"""What an MLflow experiment says of itself: the study's task, its rows and why, and how to compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from georelay.report.tables import Row, families

HOW = """\
## How to compare

* [Table of the rows]({rows}) and [charts and maps]({charts}), both prepared.
* **Rows** (`tags.kind = "row"`) are means of their seeds: `miou` with its spread `miou.sd` over `miou.n` seeds, and the paired
  difference to the row it is like, `difference` from `difference.low` to `difference.high` (95 %), with `p_holm`, the p-value
  corrected for the number of rows. A difference whose interval spans zero is not shown to be one.
* **Seeds** (`tags.kind = "seed"`) stand below their row. `loss`, its parts, `lr` and `val_miou` are curves over the steps.
* **Maps** have one key a scene, so that a chart of kind *Image grid* shows the same ground for all selected runs.
* `val_miou` is of validation tiles, all other scores of test scenes. Models are chosen by `val_miou` alone.
"""


def study_note(study: str, rows: Sequence[Row], plan: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """The description in Markdown; `plan` is that of any row of the study, `links` lead to its views."""
    inputs = "; ".join(f"{name} ({', '.join(plan['modalities'][name]['bands'])})" for name in plan["inputs"])
    lines = [
        f"Study **{study}**, task {plan['task']}: {', '.join(plan['classes'])}; from {inputs}.",
        "| row | like | method | why |\n|---|---|---|---|\n" + "\n".join(_line(row) for _, row in families(rows)),
        HOW.format(**links),
    ]
    return "\n\n".join(lines)


def _line(row: Row) -> str:
    cells = (row["experiment"], row["parent"] or "–", row["method"], row["why"])
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"
