"""Where prompts come from, and what is no prompt."""

from __future__ import annotations

import pytest

from msprof_runners.prompt_sources import PRESET, prompts_for, read_prompts
from msprof_runners.runner_settings import DataConfig
from pytest_msprof.errors import InvalidWorkload


def prompts(**data):
    return prompts_for(DataConfig(**data), vocabulary=20, special=frozenset({0, 1}))


def test_preset_prompts_fill_the_batch():
    assert prompts(batch_size=3) == [PRESET[0]] * 3


def test_a_file_has_texts_or_tables_and_is_repeated(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('"one"\n\n{"prompt": "two"}\n{"text": "three", "id": 3}\n')
    assert read_prompts(path) == ["one", "two", "three"]
    assert prompts(dataset=str(path), batch_size=4) == ["one", "two", "three", "one"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "line 1 is no JSON"), ('"a"\n{"x": 1}', "line 2 must be a text"), ("\n", "holds no prompt")],
)
def test_what_is_no_prompt_is_named_by_its_line(tmp_path, text, said):
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidWorkload, match=said):
        read_prompts(path)
    with pytest.raises(InvalidWorkload, match="cannot read"):
        read_prompts(tmp_path / "none")


def test_synthetic_prompts_have_their_length_and_no_special_token():
    found = prompts(dataset="synthetic", batch_size=3, input_max_len=50)
    assert [len(row) for row in found] == [50] * 3
    assert not {0, 1} & {token for row in found for token in row}
    assert found == prompts(dataset="synthetic", batch_size=3, input_max_len=50)
    assert found[0] != found[1]


def test_a_set_of_prompts_that_is_not_here_is_refused_with_what_is_possible():
    with pytest.raises(InvalidWorkload, match=r"unknown dataset 'LongBench' .*synthetic, or the path of a JSON lines"):
        prompts_for(DataConfig(dataset="LongBench"), vocabulary=9, special=frozenset())
