"""An objective says the figure, the limit, and which side of it is a failure."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_msprof import Run, Sample, Samples, Workload, measure
from pytest_msprof.objectives import parse_limit, parse_objective

RUN = Run.of(
    measure(
        Samples.of(
            [Sample(due=0.0, start=0.5, ttft=0.1, latency=wait, closed=wait, output_tokens=2) for wait in (1, 2, 3)]
        ),
        3.0,
    ),
    id="run",
    launch_id="launch",
    workload=Workload(),
    workload_hash="",
    started_at="2026-01-01T00:00:00Z",
)


@pytest.mark.parametrize(
    ("text", "met", "told"),
    [
        ("latency_due.p50:2.5", True, "latency_due.p50 2.50 s, wanted ≤ 2.50 s"),
        ("latency_due.p50>2.4", False, "latency_due.p50 2.50 s, wanted ≤ 2.40 s"),
        ("output_throughput:2", True, "output_throughput 2.00 token/s, wanted ≥ 2.00 token/s"),
        ("output_throughput < 2.1", False, "output_throughput 2.00 token/s, wanted ≥ 2.10 token/s"),
        ("output_throughput>1.9", False, "output_throughput 2.00 token/s, wanted ≤ 1.90 token/s"),
        ("goodput:1", False, "goodput: this run has no metric 'goodput'"),
    ],
)
def test_a_run_meets_an_objective_or_says_by_which_figures_not(text, met, told):
    outcome = parse_objective(text).judge(RUN)
    assert (outcome.met, outcome.text[: len(told)]) == (met, told)


def test_where_requests_were_due_times_count_from_there():
    assert parse_objective("ttft.p50:0.3").judge(RUN).value == pytest.approx(0.6)


@pytest.mark.parametrize("text", ["ttft:0.5", " ttft = 5e-1 "])
def test_a_limit_is_a_name_and_a_number(text):
    assert parse_limit(text) == ("ttft", 0.5)
    assert np.isfinite(parse_limit(text)[1])
