"""The page of a study for people: what stands in its tables, beside them and below them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from evidence import RIGHT, RIGHT_SCENES, compare_rows, right_miou, row, score_right
from georelay.evaluate.scores import Scores, write_scores


def test_the_readable_table_has_classes_and_definitions(root: Path) -> None:
    compare_rows(root, [row("base", "s", why="a | b"), row("better", "s", "base")])
    text = (root / "results/tables/s.md").read_text()
    iou = 100 * np.mean([right_miou(right) for right in RIGHT["base"].values()])
    assert f"| base | {iou:.1f} | {iou:.1f} | – |" in text  # the third class is absent
    assert "a \\| b" in text and "left out" in text and "(200 samples)" in text


def test_differences_of_classes_are_bold_where_zero_is_left_out(root: Path) -> None:
    """Class a gains by every seed and scene; b gains and loses by turns; a row without a parent has none."""
    for experiment, gain in (("plain", 0), ("changed", 15)):
        for seed in (0, 1, 2):
            right_b = 60 + (gain if seed % 2 else -gain)
            counts = np.array([[[60 + gain, 0, 40 - gain], [0, right_b, 100 - right_b], [0, 0, 50]]] * 2)
            write_scores(Scores(("a", "b", "c"), RIGHT_SCENES, np.pad(counts, ((0, 0), (0, 1), (0, 0)))), experiment, seed, root)
    lines = compare_rows(root, [row("plain", "s"), row("changed", "s", "plain"), row("better", "s", "plain")])
    text = (root / "results/tables/s.md").read_text()
    part = text[text.index("## IoU per class: difference to the parent row") : text.index("## Definitions")]
    cells = [line for line in part.splitlines() if line.startswith("| ")]
    assert cells[0] == "| row | a | b | c |" and len(cells) == 3 and cells[2].startswith("| changed | **+15.0** | −5.0 | ")
    assert (lines["changed"]["difference a"], lines["changed"]["low a"]) == (0.15, 0.15)
    assert lines["changed"]["low b"] < 0 < lines["changed"]["high b"]
    assert "bold where its 95 % interval" in part


def page(root: Path, *rows: dict[str, Any]) -> str:
    compare_rows(root, rows)
    return (root / "results/tables/s.md").read_text()


def test_p_and_effect_stand_in_the_table_and_the_baseline_has_its_own(root: Path) -> None:
    """scipy's paired tests: better to base 0.00539, best to better 0.184, best to base 0.00035; effects mean / sd / sqrt(pi)."""
    for seed, right in enumerate((72, 75, 73)):
        score_right(root, "best", seed, right)
    text = page(root, row("base", "s"), row("better", "s", "base"), row("best", "s", "better"))
    table, part = text[: text.index("## Against base")], text[text.index("## Against base") : text.index("## IoU per class")]
    assert "| row | n | mIoU | Δ | 95 % interval | p (Holm) | effect | why |" in table
    assert re.findall(r"\| (\S+) \| (\S+) \| to see \|", table) == [("–", "–"), ("0.011", "+4.4"), ("0.18", "+0.7")]
    found = re.findall(r"\| (be\S+) \| (\S+) \| \[.*\] \| (.+) \|", part)
    assert found == [("better", "+11.3", "0.005"), ("best", "+13.0", "< 0.001")]


def test_where_the_baseline_is_every_parent_nothing_is_said_twice(root: Path) -> None:
    score_right(root, "other", 0, 70)
    text = page(root, row("base", "s"), row("better", "s", "base"), row("other", "s", "base"))
    assert "## Against" not in text and "differences to base" not in text


def test_warnings_stand_below_the_table(root: Path) -> None:
    for seed, right in enumerate((61, 63, 63)):
        score_right(root, "alike", seed, right)
    text = page(root, row("base", "s"), row("alike", "s", "base"))
    said = text[text.index("| ↳ alike") : text.index("## IoU per class")]
    assert (
        "cannot be told: that takes three rows" in said
        and "every 95 % interval of the differences to a parent holds zero" in said
    )
    assert "class never: left out of mIoU" in said


def test_every_number_of_the_tables_is_defined(root: Path) -> None:
    text = page(root, row("base", "s"), row("better", "s", "base"))
    definitions = text[text.index("## Definitions") :]
    for name in ("n", "mIoU", "Δ", "95 % interval", "p (Holm)", "effect", "against the baseline", "rank agreement"):
        assert f"- **{name}**: " in definitions
