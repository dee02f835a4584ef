"""What `pytest-msprof compare` writes: a workbook, a database and its dashboard, a page, JSON, JUnit XML, markdown."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pytest_msprof.side_by_side import SideBySide

__all__ = ["write_comparison"]


MARKDOWN = "compare_report.md"


class _Report(NamedTuple):
    name: str
    needs: str
    """The module that must be installed."""
    write: Callable[[SideBySide, Path], None]


def write_comparison(comparison: SideBySide, folder: Path) -> list[Path]:
    """Write every report whose library is installed, all of them or none, and return their paths.

    On GitHub the summary of the job gets the markdown as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [report for report in _reports() if find_spec(report.needs)]
    with tempfile.TemporaryDirectory(prefix=".compare-", dir=folder) as beside:
        for report in wanted:
            report.write(comparison, Path(beside) / report.name)
        for report in wanted:
            os.replace(Path(beside) / report.name, folder / report.name)  # noqa: PTH105 - the rename that replaces
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("ab") as file:
            file.write((folder / MARKDOWN).read_bytes())
    return [folder / report.name for report in wanted]


def _reports() -> tuple[_Report, ...]:
    """Return what can be written, the workbook last: openpyxl is the one that is not silent where a disk is full."""
    return (
        _Report("compare_result.db", "sqlite3", _database),
        _Report("compare_visualization.json", "json", _dashboard),
        _Report("compare_result.json", "json", _json),
        _Report("compare_junit.xml", "xml", _junit),
        _Report("compare_report.html", "jinja2", _page),
        _Report(MARKDOWN, "textwrap", _markdown),
        _Report("compare_result.xlsx", "openpyxl", _xlsx),
    )


def _xlsx(comparison: SideBySide, path: Path) -> None:
    from msprof_reports.compared.workbook import write_workbook

    write_workbook(comparison, path)


def _database(comparison: SideBySide, path: Path) -> None:
    from msprof_reports.compared.database import write_database

    write_database(comparison, path)


def _dashboard(comparison: SideBySide, path: Path) -> None:
    from msprof_reports.compared.dashboard import write_dashboard

    write_dashboard(comparison, path)


def _json(comparison: SideBySide, path: Path) -> None:
    path.write_text(comparison.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _junit(comparison: SideBySide, path: Path) -> None:
    from msprof_reports.compared.junit import write_junit

    write_junit(comparison, path)


def _page(comparison: SideBySide, path: Path) -> None:
    from msprof_reports.compared.page import write_page

    write_page(comparison, path)


def _markdown(comparison: SideBySide, path: Path) -> None:
    from msprof_reports.compared.markdown import markdown

    path.write_text(markdown(comparison), encoding="utf-8", errors="replace")
