"""Which model the runner suites measure: `--msprof-model`, or a tiny one that is made on the spot."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from pytest_msprof.tiny_models import make_model

if TYPE_CHECKING:
    from pathlib import Path

collect_ignore_glob = [] if find_spec("torch") and find_spec("transformers") else ["test_*.py"]


@pytest.fixture(scope="session")
def model_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path | str:
    """The folder of the model."""
    chosen: str | None = request.config.getoption("msprof_model")
    return chosen or make_model("tiny-llama", tmp_path_factory.mktemp("models") / "tiny-llama")
