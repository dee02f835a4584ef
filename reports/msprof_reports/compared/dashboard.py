"""The Grafana dashboard of a comparison: imports as it is, asks only which data source holds the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_msprof.side_by_side import SideBySide

__all__ = ["dashboard", "write_dashboard"]

PLUGIN = "frser-sqlite-datasource"
SOURCE = {"type": PLUGIN, "uid": "${datasource}"}
SCHEMA_VERSION = 41
WIDTH, HEIGHT, HEADING = 24, 9, 4
STATISTICS = ("mean", "p50", "p90", "p99", "max", "min")
COMPARED = "label AS metric, golden_data, input_data, difference, relative, verdict, reason"
TITLES = {"service": "Service", "request": "Requests", "batch": "Batches", "spans": "Spans"}


def write_dashboard(comparison: SideBySide, path: Path) -> None:
    """Write the dashboard to *path*."""
    path.write_text(json.dumps(dashboard(comparison), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def dashboard(comparison: SideBySide) -> dict[str, Any]:
    """Return the model of the dashboard: a heading, then a chart and a table for each dimension."""
    present = {row.dimension for row in comparison.rows}
    panels = [_heading(), *_service(), *_batch_sizes()]
    for dimension in ("request", "batch", "spans"):
        if dimension in present or dimension != "spans":
            panels += _distributions(dimension)
    return {
        "id": None,
        "uid": None,
        "title": "Comparison of serving performance",
        "tags": ["pytest-msprof"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 0,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "",
        "templating": {"list": [_datasource(), _statistic()]},
        "annotations": {"list": []},
        "panels": list(_placed(panels)),
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "compare_result.db",
        "type": "datasource",
        "query": PLUGIN,
        "refresh": 1,
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "options": [],
        "current": {},
    }


def _statistic() -> dict[str, Any]:
    options = [{"text": name, "value": name, "selected": name == "p90"} for name in STATISTICS]
    return {
        "name": "statistic",
        "label": "Statistic",
        "type": "custom",
        "query": ",".join(STATISTICS),
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "options": options,
        "current": {"text": "p90", "value": "p90"},
    }


def _heading() -> dict[str, Any]:
    sql = "SELECT verdict, input_path, golden_path, reasons, notes FROM comparisons"
    return _panel("Verdict", "table", sql, height=HEADING, width=WIDTH)


def _service() -> Iterator[dict[str, Any]]:
    sql = f"SELECT {COMPARED} FROM service"  # noqa: S608 - constants
    yield _panel("Service: golden and input", "table", sql)
    yield _panel("Service: change relative to golden", "barchart", "SELECT label AS metric, relative FROM service")


def _batch_sizes() -> Iterator[dict[str, Any]]:
    sql = (
        "SELECT CAST(batch_size AS TEXT) AS size, "
        "SUM(CASE WHEN side = 'golden_data' THEN batches ELSE 0 END) AS golden_data, "
        "SUM(CASE WHEN side = 'input_data' THEN batches ELSE 0 END) AS input_data "
        "FROM batch_size GROUP BY batch_size ORDER BY batch_size"
    )
    yield _panel("Batches: how many of each size", "barchart", sql, width=WIDTH)


def _distributions(dimension: str) -> Iterator[dict[str, Any]]:
    title = TITLES[dimension]
    chosen = f"FROM {dimension} WHERE statistic = '$statistic'"
    yield _panel(f"{title}: $statistic, golden and input", "table", f"SELECT {COMPARED} {chosen}")
    sql = f"SELECT label AS metric, relative {chosen} ORDER BY relative DESC"
    yield _panel(f"{title}: $statistic, change relative to golden", "barchart", sql)


def _panel(title: str, kind: str, sql: str, *, height: int = HEIGHT, width: int = WIDTH // 2) -> dict[str, Any]:
    target = {
        "refId": "A",
        "datasource": SOURCE,
        "queryType": "table",
        "queryText": sql,
        "rawQueryText": sql,
        "timeColumns": [],
    }
    shares = {
        "matcher": {"id": "byName", "options": "relative"},
        "properties": [{"id": "unit", "value": "percentunit"}],
    }
    return {
        "type": kind,
        "title": title,
        "datasource": SOURCE,
        "gridPos": {"h": height, "w": width, "x": 0, "y": 0},
        "targets": [target],
        "fieldConfig": {"defaults": {}, "overrides": [shares]},
        "options": {},
    }


def _placed(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give each panel its number and its place: left to right, then the next line."""
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        place = panel["gridPos"]
        if x + place["w"] > WIDTH:
            x, y = 0, y + HEIGHT
        yield {**panel, "id": number, "gridPos": {**place, "x": x, "y": y}}
        x += place["w"]
        if x >= WIDTH:
            x, y = 0, y + place["h"]
