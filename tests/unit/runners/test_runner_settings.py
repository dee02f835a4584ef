"""Settings of a runner: what a file says, what is refused, and how code reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msprof_runners.original_keys import MODEL_KEYS, PARALLEL_KEYS, RENAMED
from msprof_runners.parallel import check_model, check_world
from msprof_runners.runner_settings import ModelConfig, ParallelConfig, RunnerSettings, packaged_settings
from pytest_msprof.errors import InvalidSettings, UnknownName

SEED = {
    "model_name": "gpt_oss_20b",
    "model_path": "models/gpt-oss-20b",
    "exe_mode": "ge_graph",
    "world_size": 2,
    "model_config": {"enable_profiler": False, "enable_online_split_weight": True},
    "data_config": {"input_max_len": 32, "max_new_tokens": 100, "batch_size": 1},
    "parallel_config": {"attn_tp_size": 2, "moe_tp_size": 1, "lmhead_tp_size": 2},
}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 96, "num_local_experts": 4}


@pytest.mark.parametrize("name", packaged_settings())
def test_packaged_files_can_be_read(name):
    assert RunnerSettings.from_yaml(name).model_name == name


def test_keys_of_the_guide_are_known_and_come_back_as_they_went_in():
    kept = RunnerSettings.of(SEED).to_dict()
    for key, value in SEED.items():
        assert kept[key] == value if not isinstance(value, dict) else kept[key].items() >= value.items()


def test_code_of_models_reads_settings_like_a_dict():
    settings = RunnerSettings.of(SEED)
    assert settings.get("parallel_config").get("lmhead_tp_size", 1) == 2
    assert settings.get("parallel_config").get("o_proj_tp_size", 1) == 1
    assert settings["data_config"]["input_max_len"] == 32
    assert dict(settings)["exe_mode"] == "ge_graph"
    assert "model_config" in settings
    assert "model" not in settings


@pytest.mark.parametrize(
    ("change", "near"),
    [
        ({"exe_mod": "eager"}, "exe_mode"),
        ({"data_config": {"max_new_token": 3}}, "max_new_tokens"),
        ({"parallel_config": {"atn_tp_size": 2}}, "attn_tp_size"),
    ],
)
def test_a_misspelt_key_is_an_error_that_names_the_nearest_one(change, near):
    with pytest.raises(UnknownName, match=f"did you mean.*{near}"):
        RunnerSettings.of({**SEED, **change})


def test_keys_of_the_original_that_ask_for_nothing_are_left_out():
    asked = {"next_n": 0, "perfect_eplb": False, "enable_superkernel": False, "mm_quant_mode": "A16W16"}
    settings = RunnerSettings.of(
        {
            **SEED,
            "model_config": {**asked, "enable_auto_split_weight": True},
            "parallel_config": {**SEED["parallel_config"], "o_proj_tp_size": 1, "cp_size": 1},
        }
    )
    assert settings.model.enable_online_split_weight
    assert not set(asked) & set(settings.to_dict()["model_config"])
    assert settings.get("model_config").get("next_n", 0) == 0
    assert settings.replaced(next_n=0) == settings


@pytest.mark.parametrize(
    ("table", "key", "value", "words"),
    [
        ("model_config", "next_n", 2, "must be 0, but is 2: tokens are made one by one here"),
        ("model_config", "perfect_eplb", True, "answers are no longer the model's"),
        ("model_config", "enable_multi_streams", True, "chooses a kernel of CANN"),
        ("parallel_config", "o_proj_tp_size", 2, "is divided as attention is: set attn_tp_size"),
        ("parallel_config", "tp_size", 16, "set attn_tp_size, dense_tp_size"),
    ],
)
def test_a_key_of_the_original_that_nothing_follows_says_what_to_do(table, key, value, words):
    with pytest.raises(InvalidSettings, match=f"settings key '{key}' .*{words}"):
        RunnerSettings.of({**SEED, table: {key: value}})
    with pytest.raises(InvalidSettings, match=key):
        RunnerSettings.of({"model_name": "any"}).replaced(**{key: value})


@pytest.mark.parametrize("originals", [MODEL_KEYS, PARALLEL_KEYS])
def test_no_key_is_followed_and_left_out_at_once(originals):
    assert not set(originals) & {*ModelConfig.model_fields, *ParallelConfig.model_fields, *RENAMED}


def test_a_value_that_cannot_be_used_is_an_error_that_names_its_key():
    with pytest.raises(InvalidSettings, match=r"data_config.batch_size.*greater than or equal to 1, but got 0"):
        RunnerSettings.of({**SEED, "data_config": {"batch_size": 0}})
    with pytest.raises(InvalidSettings, match=r"exe_mode.*but got 'graph'"):
        RunnerSettings.of({**SEED, "exe_mode": "graph"})


def test_single_keys_are_changed_with_or_without_their_table():
    settings = RunnerSettings.from_yaml(
        "gpt_oss_20b", exe_mode="ge_graph", batch_size=8, data_config={"input_max_len": 9}
    )
    assert (settings.exe_mode, settings.data.batch_size, settings.data.input_max_len) == ("ge_graph", 8, 9)
    assert settings.data.max_new_tokens == 100
    assert settings.replaced(seed=3).seed == 3
    with pytest.raises(UnknownName, match="batch_size"):
        RunnerSettings.from_yaml("gpt_oss_20b", batchsize=8)


def test_files_that_hold_no_settings_are_refused_by_their_path(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(InvalidSettings, match=r"list\.yaml must hold keys"):
        RunnerSettings.from_yaml(tmp_path / "list.yaml")
    with pytest.raises(InvalidSettings, match=r"broken\.yaml is no YAML"):
        RunnerSettings.from_yaml(tmp_path / "broken.yaml")
    with pytest.raises(InvalidSettings, match="No such file"):
        RunnerSettings.from_yaml(tmp_path / "none.yaml")
    with pytest.raises(UnknownName, match="gpt_oss_20b"):
        RunnerSettings.from_yaml("gpt_os_20b")


def test_sizes_that_do_not_divide_the_world_are_refused():
    with pytest.raises(InvalidSettings, match="attn_tp_size must divide world_size 2, but is 4"):
        RunnerSettings.of({**SEED, "parallel_config": {"attn_tp_size": 4}})
    with pytest.raises(InvalidSettings, match="attn_tp_size × attn_dp_size must be world_size 2, but is 4"):
        RunnerSettings.of({**SEED, "parallel_config": {"attn_tp_size": 2, "attn_dp_size": 2}})


@given(world=st.sampled_from([1, 2, 4, 8, 16]), data=st.data())
def test_a_layout_fills_the_world(world, data):
    sizes = st.sampled_from([size for size in (1, 2, 4, 8, 16) if world % size == 0])
    layout = check_world(
        world, {"attn_tp_size": data.draw(sizes), "moe_tp_size": data.draw(sizes), "attn_dp_size": None}
    )
    assert layout.attn_tp_size * layout.attn_dp_size == layout.moe_tp_size * layout.moe_ep_size == world


@pytest.mark.parametrize(
    ("sizes", "refusal"),
    [
        ({"attn_tp_size": 16}, "attn_tp_size must divide the model's num_attention_heads 8, but is 16"),
        ({"attn_tp_size": 8}, ""),
        ({"lmhead_tp_size": 64}, "lmhead_tp_size must divide the model's vocab_size 96, but is 64"),
        ({"moe_tp_size": 8}, "moe_ep_size must divide the model's num_local_experts 4, but is 8"),
    ],
)
def test_sizes_that_do_not_divide_the_model_are_refused(sizes, refusal):
    layout = check_world(64, sizes if "moe_tp_size" in sizes else {**sizes, "moe_tp_size": 64})
    if not refusal:
        check_model(HEADS, layout)
        return
    with pytest.raises(InvalidSettings, match=refusal):
        check_model(HEADS, layout)
