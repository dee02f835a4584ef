"""A run answers for its figures by name, and says what it does not have."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from pytest_msprof import Distribution, Run, Sample, Samples, Workload
from pytest_msprof.errors import MetricMissing, SampleTooSmall, UnknownName


@pytest.fixture
def run():
    return Run(
        id="a",
        launch_id="b",
        workload=Workload(),
        workload_hash="c",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        duration=1.0,
        completed=8,
        failed=0,
        load_generator="builtin",
        metrics={"output_throughput": 100.0, "energy": 5.0},
        distributions={"ttft": Distribution({"n": 8, "mean": 0.2, "p50": 0.1})},
    )


def test_a_figure_has_its_name_and_a_distribution_its_statistics(run):
    assert run.output_throughput == run.value("output_throughput") == 100.0
    assert run.ttft.p50 == run.value("ttft.p50") == 0.1
    assert run.value("energy") == 5.0
    assert run.ttft.n == 8


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("goodput", MetricMissing, "no metric 'goodput' .it has: output_throughput, energy, ttft.; load generator"),
        ("ttft", MetricMissing, "'ttft' is a distribution: name a statistic, such as 'ttft.p50'"),
        ("ttft.p99", SampleTooSmall, "p99 needs 100 values, but got 8"),
        ("ttft.p12", MetricMissing, "no statistic 'p12'"),
        ("tpot.p50", MetricMissing, "no metric 'tpot'"),
        ("tfft.p50", UnknownName, "did you mean 'ttft'"),
    ],
)
def test_a_figure_that_is_not_there_is_said_to_be_missing(run, name, error, message):
    with pytest.raises(error, match=message):
        run.value(name)


def test_a_run_is_never_changed(run):
    with pytest.raises(ValidationError, match="frozen"):
        run.duration = 2.0


def test_requests_are_read_when_they_are_asked_for_and_once(run):
    reads = []

    def read():
        reads.append(1)
        return Samples.of([Sample(due=0.0, start=0.0)])

    with_requests = run.with_samples(read)
    assert reads == []
    assert len(with_requests.samples) == len(with_requests.samples) == 1
    assert reads == [1]
    assert run.samples is None


def test_a_run_knows_its_repeats_and_itself_among_them(run):
    other = run.model_copy(update={"id": "earlier"})
    last = run.with_repeats((other,), planned=4)

    assert [found.id for found in last.repeats] == ["earlier", "a"]
    assert last.planned == 4
    assert run.repeats == (run,)


def test_what_is_beside_a_run_is_not_in_its_json(run):
    stored = run.with_samples(Samples.of([])).with_repeats((run,), planned=2).model_dump(mode="json")

    assert Run.model_validate(stored) == run
    assert not [name for name in stored if name.startswith("_")]


def test_what_is_no_number_is_left_out_and_named(run):
    odd = {
        "metrics": {"output_throughput": 100.0, "energy": float("nan")},
        "distributions": {"ttft": Distribution({"n": 8.0, "mean": float("inf"), "p50": 0.1})},
        "intervals": {"ttft.p50": (0.1, float("inf"))},
    }

    finite = run.model_copy(update=odd).finite()

    assert finite.metrics == {"output_throughput": 100.0}
    assert finite.distributions["ttft"].root == {"n": 8.0, "p50": 0.1}
    assert finite.intervals == {}
    assert finite.notes == ("left out, for it is no number: energy is nan, ttft.mean is inf",)
    with pytest.raises(MetricMissing, match=r"ttft\.mean is inf"):
        finite.value("ttft.mean")
    assert finite.finite() is finite
