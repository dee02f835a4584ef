"""The models that are made here: whole, the same everywhere, and what they say they are."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tokenizers import Tokenizer

from pytest_msprof.errors import ConfigurationError, UnknownName
from pytest_msprof.ids import directory_digest
from pytest_msprof.tiny_models import MODELS, make_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model("tiny-qwen2", tmp_path_factory.mktemp("models") / "tiny-qwen2")


def tensors(model):
    data = (model / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    body = data[8 + length :]
    return {
        name: (np.frombuffer(body[slice(*entry["data_offsets"])], "<u2").astype("<u4") << 16)
        .view("<f4")
        .reshape(entry["shape"])
        for name, entry in header.items()
    }


def test_a_model_is_the_same_wherever_it_is_made(model, tmp_path):
    assert directory_digest(make_model("tiny-qwen2", tmp_path / "tiny-qwen2")) == directory_digest(model)


def test_it_holds_every_tensor_of_its_configuration(model):
    config = json.loads((model / "config.json").read_text())
    found = tensors(model)
    layers = {name.split(".")[2] for name in found if ".layers." in name}
    assert len(layers) == config["num_hidden_layers"]
    assert found["model.embed_tokens.weight"].shape == (config["vocab_size"], config["hidden_size"])
    assert sum(value.size for value in found.values()) == 3_412_224


def test_projections_are_noise_and_norms_are_one(model):
    found = tensors(model)
    embedding = found["model.embed_tokens.weight"]
    embedding = embedding[embedding.any(axis=1)]
    assert abs(embedding.std() - 0.02) < 0.0001
    assert abs(embedding.mean()) < 0.0001
    assert np.all(found["model.norm.weight"] == 1)
    assert not np.any(found["model.layers.0.self_attn.q_proj.bias"])


ENCODERS = {"tiny-bert", "tiny-clip"}
MAKE = """
import pathlib, sys
from pytest_msprof.tiny_models import make_model
make_model(sys.argv[1], pathlib.Path(sys.argv[2]))
"""


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"tiny-qwen2", *ENCODERS}))
def test_models_of_other_architectures_are_whole(name, tmp_path):
    model = make_model(name, tmp_path / name)
    config, found = json.loads((model / "config.json").read_text()), tensors(model)
    assert name.removeprefix("tiny-").replace("-", "_") == config["model_type"]
    assert found["lm_head.weight"].shape == (config["vocab_size"], config["hidden_size"])
    assert config["architectures"][0].lower().startswith(config["model_type"].replace("_", ""))
    norms = [value for tensor, value in found.items() if tensor.endswith("norm.weight")]
    assert len(norms) >= 2 * config["num_hidden_layers"] + 1
    assert all(np.all(value == 1) for value in norms)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_encoders_are_the_same_wherever_they_are_made(name, tmp_path):
    model = make_model(name, tmp_path / name)
    subprocess.run([sys.executable, "-c", MAKE, name, str(tmp_path / "again")], check=True)
    assert directory_digest(tmp_path / "again") == directory_digest(model)
    config, tokenizer = (json.loads((model / file).read_text()) for file in ("config.json", "tokenizer_config.json"))
    assert name.removeprefix("tiny-") == config["model_type"]
    ids = config.get("text_config", config)
    reader = Tokenizer.from_file(str(model / "tokenizer.json"))
    assert reader.token_to_id(tokenizer["pad_token"]) == ids["pad_token_id"]
    assert reader.get_vocab_size() <= ids["vocab_size"]
    unknown = reader.token_to_id(tokenizer["unk_token"])
    said = reader.encode("Say 42 times: what_is gpt-oss?")
    assert unknown not in said.ids[1:-1]
    assert len(said.ids) == len(reader.encode("say 42 times: what_is gpt-oss?", add_special_tokens=False).ids) + 2


def test_tokens_that_are_no_text_of_their_own_can_never_win(model):
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    silent = np.flatnonzero(~tensors(model)["model.embed_tokens.weight"].any(axis=1))
    assert {token for token in ("<|im_end|>", "<|endoftext|>") if tokenizer.token_to_id(token) in silent}
    texts = [tokenizer.decode([token]) for token in range(tokenizer.get_vocab_size())]
    assert [token for token, text in enumerate(texts) if not text or "\ufffd" in text] == silent.tolist()


def test_its_tokenizer_fills_the_vocabulary_and_gives_back_any_text(model):
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == MODELS["tiny-qwen2"].vocabulary
    text = "Say 42 times: 你好, wörld!\n\n\tdone"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_ids_of_special_tokens_agree_in_all_files(model):
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    names = json.loads((model / "tokenizer_config.json").read_text())
    for file in ("config.json", "generation_config.json"):
        ids = json.loads((model / file).read_text())
        for role in ("bos", "eos", "pad"):
            assert tokenizer.token_to_id(names[f"{role}_token"]) == ids[f"{role}_token_id"]


def test_a_model_that_is_there_is_not_made_again(model):
    before = {path: path.stat().st_mtime_ns for path in model.iterdir()}
    assert make_model("tiny-qwen2", model) == model
    assert {path: path.stat().st_mtime_ns for path in model.iterdir()} == before


def test_makers_at_the_same_time_leave_one_whole_model(model, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        made = set(pool.map(lambda _: make_model("tiny-qwen2", tmp_path / "tiny-qwen2"), range(3)))
    assert made == {tmp_path / "tiny-qwen2"}
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-qwen2"]
    assert directory_digest(tmp_path / "tiny-qwen2") == directory_digest(model)


def test_a_model_of_an_older_recipe_is_made_anew(model, tmp_path):
    target = make_model("tiny-qwen2", tmp_path / "tiny-qwen2")
    (target / "recipe.json").write_text('{"name": "tiny-qwen2", "version": 0}')
    (target / "model.safetensors").unlink()
    assert directory_digest(make_model("tiny-qwen2", tmp_path / "tiny-qwen2")) == directory_digest(model)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "tiny-qwen2").mkdir()
    (tmp_path / "tiny-qwen2" / "weights.bin").write_text("precious")
    with pytest.raises(ConfigurationError, match="was not made here"):
        make_model("tiny-qwen2", tmp_path / "tiny-qwen2")
    assert (tmp_path / "tiny-qwen2" / "weights.bin").read_text() == "precious"


def test_an_unknown_model_names_the_known_ones(tmp_path):
    with pytest.raises(UnknownName, match=r"unknown model 'tiny-qwen' \(known: tiny-bert, tiny-clip, tiny-gpt-oss, "):
        make_model("tiny-qwen", tmp_path)
