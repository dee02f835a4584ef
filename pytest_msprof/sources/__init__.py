"""What `pytest-msprof compare` can read: one `Source` a measured launch."""

from __future__ import annotations

from pytest_msprof.sources.reading import read_side
from pytest_msprof.sources.runs import of_measurement
from pytest_msprof.sources.source import Figures, Name, Source

__all__ = ["Figures", "Name", "Source", "of_measurement", "read_side"]
