"""Finding out which tool wrote a file, and reading it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from msprof_plugins.tool_results.result import ToolResult
from pytest_msprof.errors import UnknownName

__all__ = ["READERS", "read_result"]

TOOLS = ("aiperf", "ais_bench", "evalscope", "genai_perf", "guidellm", "inference_perf", "sglang", "vllm")
READERS: Mapping[str, str] = {name: f"msprof_plugins.tool_results.{name}" for name in TOOLS}
"""The tools whose files can be read, and the module that reads each; `vllm` is its twin in Rust as well."""


def read_result(path: Path, tool: str) -> ToolResult:
    """Read what *tool* wrote to *path*, a file or a folder.

    Raises `UnknownName` for a tool without a reader, and `LoadError` for what is no result of it.
    """
    if tool not in READERS:
        raise UnknownName("load generator with a reader", tool, READERS)
    read: Callable[[Path], ToolResult] = import_module(READERS[tool]).read
    return read(path)
