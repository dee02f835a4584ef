"""From the ends of steps to figures: nothing is left out, and requests end when their answers do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msprof_runners.measurement import Passage, measured


def passage(ends, lengths, *, asked=None, stopped=None):
    return Passage(
        step_ends=np.array(ends),
        input_tokens=tuple(asked or [10] * len(lengths)),
        answers=tuple(tuple(range(length)) for length in lengths),
        stopped=tuple(stopped or [False] * len(lengths)),
        memory={"host_memory": 1000},
    )


def test_the_first_step_is_the_prefill_and_every_other_one_counts():
    found = measured(passage([0.5, 0.6, 0.9], [3]), {"load_time": 2.0})
    assert found.distributions["ttft"]["mean"] == 0.5
    assert found.distributions["tpot"]["mean"] == pytest.approx(0.2)
    assert found.series["decode_step"].values.tolist() == pytest.approx([0.1, 0.3])
    assert found.metrics["prefill_throughput"] == 20
    assert found.metrics["decode_throughput"] == pytest.approx(5)
    assert found.metrics["load_time"] == 2.0
    assert found.metrics["host_memory"] == 1000


def test_a_request_whose_answer_ends_early_has_its_own_latency():
    found = measured(passage([0.5, 0.6, 0.9], [3, 2], stopped=[False, True]), {})
    assert found.samples is not None
    assert found.samples.latency.tolist() == [0.9, 0.6]
    assert found.samples.finish_reason.tolist() == ["length", "stop"]
    assert found.metrics["output_throughput"] == pytest.approx(5 / 0.9)


def test_an_answer_of_one_token_has_no_decode_figures():
    found = measured(passage([0.5], [1]), {})
    assert "decode_throughput" not in found.metrics
    assert "tpot" not in found.distributions
    assert "decode_step" not in found.series


@given(
    steps=st.lists(st.floats(1e-4, 10), min_size=1, max_size=30),
    rows=st.lists(st.integers(1, 30), min_size=1, max_size=5),
)
def test_steps_and_gaps_add_up_to_the_latency(steps, rows):
    lengths = [min(row, len(steps)) for row in rows]
    found = measured(passage(np.cumsum(steps), lengths), {})
    assert found.samples is not None
    for sample in found.samples:
        assert sample.ttft + sum(sample.gaps) == pytest.approx(sample.latency, rel=1e-5)
    assert sum(found.series["prefill"].values) + sum(
        found.series["decode_step"].values if "decode_step" in found.series else []
    ) == pytest.approx(found.duration)
