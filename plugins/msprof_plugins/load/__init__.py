"""The built-in load generator: one process, one event loop, a time stamp where the bytes arrive."""

from __future__ import annotations

from msprof_plugins.load.generator import StreamingLoad

__all__ = ["StreamingLoad"]
