"""Measured values become pytest-benchmark's rounds unchanged, under names that sort by metric."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from pytest_msprof import Run, Sample, Samples, Workload, measure
from pytest_msprof.recording import MOST_ROUNDS, HandClock, _entries, _labelled, _plain, machine_info, update_json


def recorded(latencies, launch="launch", **values):
    samples = Samples.of(
        [
            Sample(due=0.0, start=0.0, ttft=value / 2, latency=value, output_tokens=3, gaps=(value / 4,))
            for value in latencies
        ]
    )
    found = measure(samples, 2.0)
    facts = {
        "id": f"run-{launch}",
        "launch_id": launch,
        "engine": "fake",
        "workload": Workload(),
        "workload_hash": "hash",
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "duration": 2.0,
        "completed": found.completed,
        "failed": 0,
        "metrics": found.metrics,
        "distributions": found.distributions,
        **values,
    }
    return Run(**facts).with_samples(samples)


def test_the_clock_moves_by_what_it_was_fed_and_nothing_else():
    clock = HandClock()
    clock.feed([0.1, 0.2])
    shown = []
    for _ in range(3):
        clock.reset()
        clock.advance()
        shown.append(clock())

    assert shown == [0.1, 0.2, 0.0]


def test_each_metric_is_an_entry_named_before_the_parameters():
    entries = _entries([recorded([0.1, 0.3])], "test_x[vllm-8]", "a/test_a.py::test_x[vllm-8]")

    assert [entry.name for entry in entries] == [
        f"test_x:{metric}[vllm-8]"
        for metric in ("ttft", "tpot", "itl", "latency", "output_throughput", "request_throughput")
    ]
    assert entries[0].fullname == "a/test_a.py::test_x:ttft[vllm-8]"
    assert [entry.group for entry in entries][:2] == ["ttft", "tpot"]


def test_values_are_the_measured_ones_and_rates_are_periods():
    found = {entry.group: entry.values for entry in _entries([recorded([0.1, 0.3])], "t", "t")}

    assert found["latency"] == [0.1, 0.3]
    assert found["ttft"] == [0.05, 0.15]
    assert found["output_throughput"] == [2.0 / 6]
    assert found["request_throughput"] == [1.0]


def test_several_launches_share_an_entry_with_all_their_values():
    entries = _entries([recorded([0.1], "a"), recorded([0.2, 0.3], "b")], "t", "t")
    found = {entry.group: entry for entry in entries}

    assert found["latency"].values == [0.1, 0.2, 0.3]
    assert len(found["output_throughput"].values) == 2
    assert found["latency"].extra_info["launch_ids"] == ["a", "b"]


def test_a_run_without_requests_gives_its_means():
    found = {entry.group: entry.values for entry in _entries([recorded([0.1, 0.3]).with_samples(None)], "t", "t")}

    assert found["latency"] == [pytest.approx(0.2)]


def test_many_values_are_thinned_to_order_statistics_and_say_so():
    values = np.random.default_rng(0).uniform(0.1, 1.0, 9000).tolist()
    entry = next(found for found in _entries([recorded(values)], "t", "t") if found.group == "latency")

    assert len(entry.values) == MOST_ROUNDS
    assert entry.extra_info["thinned_from"] == 9000
    assert (entry.values[0], entry.values[-1]) == (min(values), max(values))
    assert set(entry.values) <= set(values)
    assert float(np.median(entry.values)) == pytest.approx(float(np.median(values)), rel=0.01)


def test_a_study_is_published_under_its_roles():
    assert _labelled("test_x[vllm-result]", "winner") == "test_x[vllm-winner]"
    assert _labelled("test_x[result]", "default") == "test_x[default]"
    assert _labelled("test_x[vllm-8]", "") == "test_x[vllm-8]"


def test_parameters_that_json_cannot_hold_become_text():
    assert _plain({"a": 1, "b": Workload()}) == {"a": 1, "b": str(Workload())}
    assert _plain(None) is None


def test_the_json_gets_a_block_where_something_was_measured():
    untouched, filled = {}, {}
    update_json(untouched, [])
    update_json(filled, [recorded([0.1])])

    assert untouched == {}
    assert filled["msprof"]["schema_version"] == 1
    assert Run.model_validate(filled["msprof"]["runs"][0]).id == "run-launch"


def test_what_differs_on_every_run_is_no_machine_info():
    info = {"cpu": {"hz_actual": [1, 0], "hz_actual_friendly": "1 Hz", "brand_raw": "x"}, "node": "n"}
    machine_info(info)

    assert info == {"cpu": {"brand_raw": "x"}, "node": "n"}
