"""Files of a model: whole ones are listed, others are refused by name, without torch."""

from __future__ import annotations

import json

import pytest

from msprof_runners.checkpoint import INDEX, check_weights, read_config
from pytest_msprof.errors import CheckpointError, ModelNotFound
from pytest_msprof.tiny_models import make_model


@pytest.fixture
def model(tmp_path):
    return make_model("tiny-qwen2", tmp_path / "tiny-qwen2")


def test_every_weight_of_a_whole_checkpoint_is_listed(model):
    found = check_weights(model)
    assert found["model.embed_tokens.weight"].shape == (4096, 256)
    assert found["model.embed_tokens.weight"].nbytes == 4096 * 256 * 2
    assert read_config(model)["model_type"] == "qwen2"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelNotFound, match="make-models"):
        read_config(tmp_path / "none")


def test_a_file_that_ends_too_soon_is_damaged(model):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged: '.*' should end at byte \d+, but"):
        check_weights(model)


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x08\0\0\0\0\0\0\0{broken}"]
)
def test_a_file_of_another_kind_is_refused(model, content):
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        check_weights(model)


def test_files_and_weights_that_an_index_promises_must_be_there(model):
    weights = {"model.norm.weight": "model.safetensors", "model.extra.weight": "model.safetensors"}
    (model / INDEX).write_text(json.dumps({"weight_map": weights}))
    with pytest.raises(CheckpointError, match=r"model\.extra\.weight"):
        check_weights(model)
    (model / INDEX).write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(CheckpointError, match="lacks 1 of 1 files of weights: model-00001-of-00002"):
        check_weights(model)


def test_a_folder_without_weights_is_refused(model):
    (model / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors"):
        check_weights(model)


def test_a_configuration_that_cannot_be_read_is_refused(model):
    (model / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is no JSON"):
        read_config(model)
