"""Reports that people read: a page for the browser, a workbook for the spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pluggy import HookimplMarker

if TYPE_CHECKING:
    from pytest_msprof.side_by_side import SideBySide
    from pytest_msprof.summary import SessionSummary

__all__ = ["pytest_msprof_write_comparison", "pytest_msprof_write_report"]

hookimpl = HookimplMarker("pytest")
"""pytest's own mark; a command needs it and no more of pytest."""


@hookimpl
def pytest_msprof_write_report(name: str, summary: SessionSummary, folder: Path) -> Path | None:
    """Write the report `html` or `xlsx`; leave every other name to the next plugin.

    Raises `ModuleNotFoundError` where the extra `reports` is not installed.
    """
    if name == "html":
        from msprof_reports.html import write_html

        return write_html(summary, folder)
    if name == "xlsx":
        from msprof_reports.xlsx import write_xlsx

        return write_xlsx(summary, folder)
    return None


@hookimpl
def pytest_msprof_write_comparison(comparison: SideBySide, folder: Path) -> list[Path]:
    """Write the tables of `pytest-msprof compare`; those that need the extra `reports` only where it is installed."""
    from msprof_reports.compared import write_comparison

    return write_comparison(comparison, folder)
