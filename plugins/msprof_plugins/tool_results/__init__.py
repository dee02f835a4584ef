"""Reading the result files of other load generators, as they were meant: pure, one module a tool."""

from __future__ import annotations

from msprof_plugins.tool_results.finding import READERS, read_result
from msprof_plugins.tool_results.result import NothingSucceeded, ToolResult

__all__ = ["READERS", "NothingSucceeded", "ToolResult", "read_result"]
