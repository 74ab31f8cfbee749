"""Prepared views of an experiment: its rows as a table with the columns that decide, and charts and maps of them.

MLflow's page keeps a shared view as JSON in a tag of the experiment and opens it by its name in the address. The description
links to both views; where another release reads them otherwise, they are lost and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from georelay.report.links import MENU

TAG = "mlflow.sharedViewState."
ROWS, CHARTS = "georelay-rows", "georelay-charts"
COLUMNS = ("miou", "miou.sd", "difference", "difference.low", "difference.high", "p_holm", "val_miou", "run.seconds")
RUNS = 20  # in a chart, at most
AXES = 4  # parameters in parallel coordinates, beyond which their names run into each other


def view_tags(params: Sequence[str], pictures: Sequence[str]) -> dict[str, str]:
    """Tags of the two views; `params` and the keys of `pictures` are those that the study's runs have."""
    table = {**_rows("metrics.`miou`"), "selectedColumns": [f"metrics.`{name}`" for name in COLUMNS]}
    sections = {"compareRunSections": [_section("charts", "Charts", 2, 340), _section("maps", "Maps", 1, 900)]}
    charts = {**_rows("metrics.`miou`"), **sections, "compareRunCharts": _charts(params, pictures), "isAccordionReordered": False}
    return {TAG + ROWS: json.dumps(table, sort_keys=True), TAG + CHARTS: json.dumps(charts, sort_keys=True)}


def view_links(experiment: str) -> dict[str, str]:
    """Where the views are on the page, by name."""
    place = f"#/experiments/{experiment}/runs{MENU}&viewStateShareKey="
    return {"rows": place + ROWS, "charts": f"{place}{CHARTS}&compareRunsMode=CHART"}


def _rows(order: str) -> dict[str, Any]:
    found = {"searchFilter": 'tags.kind = "row"', "lifecycleFilter": "Active", "startTime": "ALL", "datasetsFilter": []}
    return {**found, "modelVersionFilter": "All Runs", "orderByKey": order, "orderByAsc": False}


def _section(name: str, title: str, columns: int, height: int) -> dict[str, Any]:
    """A part of the page: how many charts stand side by side, and how high they are in pixels."""
    state = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {**state, "uuid": f"georelay-{name}", "name": title, "columns": columns, "cardHeight": height}


def _charts(params: Sequence[str], pictures: Sequence[str]) -> list[dict[str, Any]]:
    line = {"metricKey": "val_miou", "selectedMetricKeys": ["val_miou"], "xAxisKey": "step", "xAxisScaleType": "linear"}
    axes = {"xaxis": {"key": "run.seconds", "type": "METRIC"}, "yaxis": {"key": "miou", "type": "METRIC"}}
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("charts", {"type": "BAR", "metricKey": "miou"}),
        ("charts", {"type": "LINE", **line, "lineSmoothness": 0, "scaleType": "linear"}),
        ("charts", {"type": "SCATTER", **axes}),
        ("charts", {"type": "PARALLEL", "selectedParams": list(params[:AXES]), "selectedMetrics": ["miou"]}),
        *([("maps", {"type": "IMAGE", "imageKeys": list(pictures), "step": 0})] if pictures else []),
    ]
    shared = {"runsCountToCompare": RUNS, "deleted": False, "isGenerated": False}
    placed = ({**chart, **shared, "metricSectionId": f"georelay-{section}"} for section, chart in wanted)
    return [{**chart, "uuid": f"georelay-{index}"} for index, chart in enumerate(placed)]
