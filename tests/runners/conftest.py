"""Tests that need torch and transformers; elsewhere there is nothing to collect here."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from pytest_msprof.tiny_models import make_model

collect_ignore_glob = [] if find_spec("torch") and find_spec("transformers") else ["test_*.py"]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Return a function that makes a tiny model, once a session."""
    folder = tmp_path_factory.mktemp("models")
    return lambda name: make_model(name, folder / name)


@pytest.fixture
def settings(models):
    """Return a function that makes settings for a tiny model in single precision."""

    def make(name="tiny-qwen2", *, model=None, data=None, **others):
        return {
            "model_name": name,
            "model_path": str(models(name)),
            "device": "cpu",
            "model_config": {"dtype": "float32", **(model or {})},
            "data_config": {"input_max_len": 64, "max_new_tokens": 16, **(data or {})},
            **others,
        }

    return make
