"""What each process holds: everything once, in equal parts, and nothing whole by accident."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msprof_runners.division import Division
from msprof_runners.parallel import check_world
from msprof_runners.world import World
from pytest_msprof.errors import ConfigurationError

HEADS, KEY_VALUE_HEADS, EXPERTS = 8, 2, 8
SHAPES = {
    "model.embed_tokens.weight": (64, 6),
    "model.layers.3.self_attn.q_proj.weight": (HEADS * 2, 6),
    "model.layers.3.self_attn.v_proj.weight": (KEY_VALUE_HEADS * 4, 6),
    "model.layers.3.self_attn.o_proj.weight": (6, HEADS * 2),
    "model.layers.3.self_attn.sinks": (HEADS,),
    "model.layers.3.mlp.experts.gate_up_proj": (EXPERTS, 6, 16),
    "model.layers.3.mlp.experts.down_proj": (EXPERTS, 8, 6),
    "lm_head.weight": (64, 6),
}
CONFIG = SimpleNamespace(model_type="gpt_oss", num_key_value_heads=KEY_VALUE_HEADS)


def layout_of(world, **sizes):
    return check_world(world, {"attn_tp_size": world, **sizes})


@given(world=st.sampled_from([1, 2, 4, 8]), data=st.data())
def test_all_processes_together_hold_every_element_equally_often(world, data):
    size = st.sampled_from([size for size in (1, 2, 4, 8) if world % size == 0])
    sizes = {key: data.draw(size, key) for key in ("moe_tp_size", "embed_tp_size", "lmhead_tp_size")}
    divisions = [Division(CONFIG, layout_of(world, **sizes), rank) for rank in range(world)]
    for name, shape in SHAPES.items():
        held = np.zeros(shape, int)
        for division in divisions:
            held[division.part(name, shape).places] += 1
        assert held.min() == held.max() > 0, name


@given(world=st.sampled_from([2, 4, 8]), data=st.data())
def test_a_bias_of_a_sum_is_added_once_to_each_element(world, data):
    tp = data.draw(st.sampled_from([size for size in (1, 2, 4, 8) if world % size == 0]))
    added = np.zeros((EXPERTS, 6), int)
    for rank in range(world):
        part = Division(CONFIG, layout_of(world, moe_tp_size=tp), rank).part(
            "model.layers.0.mlp.experts.down_proj_bias", added.shape
        )
        if not part.is_zero:
            added[part.places] += 1
    assert (added == 1).all()


def test_processes_share_a_key_value_head_where_there_are_too_few():
    name = "model.layers.0.self_attn.k_proj.weight"
    parts = [Division(CONFIG, layout_of(4), rank).part(name, (KEY_VALUE_HEADS * 4, 6)) for rank in range(4)]
    assert [part.places[0] for part in parts] == [slice(0, 4), slice(0, 4), slice(4, 8), slice(4, 8)]
    assert parts[0].shape == (4, 6)


def test_what_nobody_knows_how_to_divide_is_refused_by_name():
    with pytest.raises(
        ConfigurationError, match=r"'mamba' cannot be divided over 2 processes \(possible: gpt_oss, llama"
    ):
        Division(SimpleNamespace(model_type="mamba", num_key_value_heads=2), layout_of(2), 0)
    with pytest.raises(ConfigurationError, match=r"how to divide the weight model\.layers\.0\.mixer\.weight"):
        Division(CONFIG, layout_of(2), 0).part("model.layers.0.mixer.weight", (4, 4))
    with pytest.raises(ConfigurationError, match=r"lmhead_tp_size must divide attn_tp_size 1 .* but is 2"):
        Division(CONFIG, check_world(2, {"attn_tp_size": 1, "lmhead_tp_size": 2}), 0)


def test_another_number_of_processes_than_the_settings_say_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert World.of(4) == World(4, 1, 1)
    assert World.of(1) == World()
    with pytest.raises(ConfigurationError, match="world_size is 2, but 4 processes were started"):
        World.of(2)
