"""A table's numbers as DVC reads them."""

from __future__ import annotations

from pathlib import Path

from georelay.files import read_json
from georelay.report.metrics import write_metrics

TABLE = """row,parent,why,n,mean,sd,difference,low,high,p,note
a,,"first, of all",3,0.5,0.01,,,,,
b,a,second,2,0.75,,0.25,-0.1,0.6,0.04,one seed is missing
"""


def table(root: Path, text: str) -> None:
    path = root / "results/tables/sky.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_each_row_has_its_numbers_and_no_empty_cells(tmp_path: Path) -> None:
    table(tmp_path, TABLE)
    write_metrics("sky", tmp_path)
    folder = tmp_path / "results/metrics/sky"
    assert read_json(folder / "a.json") == {"miou": 0.5, "miou_sd": 0.01, "n": 3}
    assert read_json(folder / "b.json") == {"miou": 0.75, "n": 2, "difference": 0.25, "low": -0.1, "high": 0.6, "p": 0.04}


def test_a_row_that_left_the_table_leaves_no_file(tmp_path: Path) -> None:
    for text in (TABLE, TABLE.rsplit("b,", 1)[0]):
        table(tmp_path, text)
        write_metrics("sky", tmp_path)
    assert [path.name for path in (tmp_path / "results/metrics/sky").iterdir()] == ["a.json"]


def test_more_statistics_are_taken_where_a_table_has_them(tmp_path: Path) -> None:
    table(tmp_path, "row,n,mean,p_holm,effect\na,3,0.5,0.2,1.5\n")
    write_metrics("sky", tmp_path)
    assert read_json(tmp_path / "results/metrics/sky/a.json") == {"miou": 0.5, "n": 3, "p_holm": 0.2, "effect": 1.5}
