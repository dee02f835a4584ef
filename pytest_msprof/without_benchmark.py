"""Stands in for pytest-benchmark's fixture when that plugin is switched off."""

from __future__ import annotations

import pytest

__all__ = ["benchmark"]


@pytest.fixture
def benchmark() -> None:
    """Publish nowhere; runs are stored all the same."""
