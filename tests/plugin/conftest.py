"""Every test here has a project of its own, and pytest run in it."""

from __future__ import annotations

import pytest
from fake_project import Project


@pytest.fixture
def project(pytester: pytest.Pytester, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    return Project(pytester, request.node.name.partition("[")[0])
