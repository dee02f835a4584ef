"""From prompts to a padded batch."""

from __future__ import annotations

import pytest

from msprof_runners.prompts import batch_of
from pytest_msprof.errors import InvalidWorkload


def words(text):
    return {"input_ids": [len(word) for word in text.split()]}


def test_prompts_are_padded_on_the_left():
    batch = batch_of(["a bb", "ccc"], words, longest=8, pad_token=0)
    assert batch.padded == [[1, 2], [0, 3]]
    assert batch.padding == (0, 1)
    assert not batch.notes


def test_prompts_that_are_too_long_are_cut_and_that_is_said():
    batch = batch_of(["a bb ccc", [7]], words, longest=2, pad_token=0)
    assert batch.rows == ((1, 2), (7,))
    assert batch.notes == ("1 of 2 prompts were cut to 2 tokens; the longest had 3",)


def test_one_text_is_a_batch_of_one():
    assert len(batch_of("a bb", words, longest=8, pad_token=0)) == 1


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(InvalidWorkload, match="at least one prompt, but got none"):
        batch_of([], words, longest=8, pad_token=0)
    with pytest.raises(InvalidWorkload, match="prompt 1 of 2 has none"):
        batch_of(["a", ""], words, longest=8, pad_token=0)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_parts_of_a_batch_are_equally_large_and_hold_every_prompt_in_order(count):
    batch = batch_of([[1], [2, 2, 2], [3]], words, longest=8, pad_token=0)
    parts = [batch.part(count, index) for index in range(count)]
    assert {len(part) for part in parts} == {-(-3 // count)}
    assert {part.width for part in parts} == {3}
    together = [row for part in parts for row in part.padded]
    assert together[:3] == batch.padded
    assert all(row == batch.padded[-1] for row in together[3:])
