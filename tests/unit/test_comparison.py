"""Comparing runs: what counts as a change, what cannot be compared, and what a test then does."""

from __future__ import annotations

import math
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest

from pytest_msprof.comparison import (
    LISTENER,
    STRICT,
    Comparison,
    ComparisonWarning,
    Delta,
    Tolerance,
    compare,
    contrast,
)
from pytest_msprof.errors import ConfigurationError, MetricMissing, Regression, UnknownName
from pytest_msprof.ids import new_id
from pytest_msprof.results import Distribution, Run
from pytest_msprof.workload import Workload

TOLERANCE = Tolerance({"output_throughput": 0.05})
WORKLOAD = Workload()
CLOSE = (0.99, 1.0, 1.01, 1.0)
"""Launches that resemble each other."""


def make_run(launch="", throughput=1000.0, ttft=None, **values):
    values.setdefault("metrics", {"output_throughput": throughput})
    values.setdefault("distributions", {} if ttft is None else {"ttft": Distribution({"n": 50, "p50": ttft})})
    workload = values.setdefault("workload", WORKLOAD)
    return Run(
        id=new_id(),
        launch_id=launch or new_id(),
        workload_hash=values.pop("workload_hash", workload.hash()),
        started_at=datetime.now(UTC),
        duration=1.0,
        completed=1,
        failed=0,
        **values,
    )


def launches(scale, factors=CLOSE, **values):
    return [make_run(throughput=1000 * scale * factor, **values) for factor in factors]


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (launches(0.8), "regressed"),
        (launches(1.2), "improved"),
        (launches(1.0), "unchanged"),
        (launches(0.95), "inconclusive"),
        (launches(0.8, (0.7, 1.0, 1.3, 1.0)), "inconclusive"),
        (launches(0.8)[:3], "descriptive"),
    ],
)
def test_the_interval_of_the_change_decides_against_the_tolerance(now, verdict):
    assert compare(now, launches(1.0), TOLERANCE).verdict == verdict


def test_lower_is_better_where_the_metric_table_says_so():
    golden, now = [make_run(ttft=0.1 * f) for f in CLOSE], [make_run(ttft=0.2 * f) for f in CLOSE]
    tolerance = Tolerance({"ttft.p50": 0.1})
    assert compare(now, golden, tolerance).verdict == "regressed"
    assert compare(golden, now, tolerance).verdict == "improved"


def test_a_delta_tells_both_values_the_change_and_its_interval():
    (delta,) = compare(launches(0.8), launches(1.0), TOLERANCE).deltas
    assert (delta.metric, delta.unit, delta.better, delta.gates) == ("output_throughput", "token/s", "higher", True)
    assert delta.golden == pytest.approx(1000, rel=1e-3)
    assert delta.current == pytest.approx(800, rel=1e-3)
    assert delta.change == pytest.approx(-0.2)
    assert delta.low < -0.2 < delta.high < -0.05
    assert (delta.launches_golden, delta.launches_current) == (4, 4)
    assert delta.p_value < 0.001


def test_more_launches_could_have_shown_a_smaller_change():
    few = compare(launches(1.0), launches(1.0), TOLERANCE).deltas[0]
    many = compare(launches(1.0, CLOSE * 4), launches(1.0, CLOSE * 4), TOLERANCE).deltas[0]
    assert TOLERANCE["output_throughput"] < many.detectable < few.detectable


def test_loads_of_one_launch_are_one_piece_of_evidence():
    now = [make_run("one launch", throughput=800 * f) for f in CLOSE * 3]
    comparison = compare(now, launches(1.0), TOLERANCE)
    assert comparison.verdict == "descriptive"
    assert comparison.deltas[0].launches_current == 1
    assert "a verdict needs 4 launches a side (1 now, 4 golden)" in comparison.deltas[0].reason


def test_a_noise_floor_measured_earlier_stands_in_for_launches():
    comparison = compare([make_run(throughput=500)], [make_run(throughput=1000)], TOLERANCE, floor=0.05)
    assert comparison.verdict == "regressed"
    assert "measured earlier" in comparison.deltas[0].reason
    named = compare([make_run()], [make_run()], TOLERANCE, floor={"ttft.p50": 0.05})
    assert named.verdict == "descriptive"


def test_only_metrics_of_the_tolerance_gate():
    golden, now = [make_run(ttft=0.1 * f) for f in CLOSE], [make_run(ttft=0.5 * f) for f in CLOSE]
    comparison = compare(now, golden, TOLERANCE)
    comparison.raise_for_regression()
    assert {delta.metric: (delta.verdict, delta.gates) for delta in comparison.deltas} == {
        "output_throughput": ("unchanged", True),
        "ttft.p50": ("regressed", False),
    }


def test_holm_runs_over_the_metrics_that_gate():
    rng = np.random.default_rng(4)
    golden, now = (
        [make_run(throughput=1000 * s * math.exp(e), ttft=0.1) for e in rng.normal(0, 0.02, 4)] for s in (1, 0.905)
    )
    alone = compare(now, golden, TOLERANCE)
    among = compare(now, golden, Tolerance({"output_throughput": 0.05, "ttft.p50": 0.1}))
    assert alone.deltas[0].p_value * 2 == pytest.approx(among.deltas[0].p_value)
    assert among.deltas[0].detectable > alone.deltas[0].detectable


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"engine": "vllm"}, "engine differs: vllm now, unknown in golden"),
        ({"device": "npu"}, "device differs: npu now, unknown in golden"),
        ({"model_digest": "abc"}, "model digest differs: abc now, unknown in golden"),
        ({"load_generator": "other"}, "load generator differs: other now, unknown in golden"),
        ({"fields": {"dtype": "float32"}}, 'field dtype differs: "float32" now, not set in golden'),
        ({"load_fields": {"burst": 2}}, "load field burst differs: 2 now, not set in golden"),
        ({"workload": Workload(concurrency=4)}, "workload field concurrency differs: 4 now, 1 in golden"),
        ({"workload_hash": "another"}, "another tokenizer"),
    ],
)
def test_what_was_measured_differently_is_incomparable_and_says_in_what(change, reason):
    comparison = compare(launches(1.0, **change), launches(1.0), TOLERANCE)
    assert comparison.verdict == "incomparable"
    assert any(reason in found for found in comparison.reasons), comparison.reasons
    with pytest.raises(Regression, match="incomparable"):
        comparison.raise_for_regression()


def test_the_version_of_the_engine_is_what_people_compare():
    now = launches(1.0, environment={"version": "2"})
    assert compare(now, launches(1.0, environment={"version": "1"}), TOLERANCE).verdict == "unchanged"


def test_a_run_stands_for_its_repeats_of_the_same_load():
    earlier = [*launches(1.0)[:3], make_run(throughput=1, workload=Workload(concurrency=9))]
    run = make_run().with_repeats(tuple(earlier), planned=4)
    comparison = compare(run, launches(1.0), TOLERANCE)
    assert comparison.verdict == "unchanged"
    assert comparison.current_run_ids == (*(r.id for r in earlier[:3]), run.id)


def test_no_verdict_falls_while_launches_are_planned():
    run = launches(0.5)[3].with_repeats(tuple(launches(0.5)), planned=8)
    comparison = compare(run, launches(1.0), TOLERANCE)
    assert comparison.verdict == "descriptive"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comparison.raise_for_regression(strict=True)


def test_a_regression_is_an_assertion_that_quotes_the_figures():
    with pytest.raises(Regression, match=r"output_throughput .* -20\.0% .* regressed") as caught:
        compare(launches(0.8), launches(1.0), TOLERANCE).raise_for_regression()
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize("now", [launches(0.95), launches(1.0)[:2]])
def test_too_little_evidence_warns_and_fails_when_strict(now):
    comparison = compare(now, launches(1.0), TOLERANCE)
    with pytest.warns(ComparisonWarning, match=comparison.verdict):
        comparison.raise_for_regression()
    with pytest.raises(Regression):
        comparison.raise_for_regression(strict=True)
    token = STRICT.set(True)
    try:
        with pytest.raises(Regression):
            comparison.raise_for_regression()
    finally:
        STRICT.reset(token)


def test_without_a_golden_run_it_passes_and_shows_what_was_measured():
    comparison = compare(launches(1.0), [], TOLERANCE)
    comparison.raise_for_regression(strict=True)
    assert comparison.golden_missing
    assert comparison.deltas[0].current == pytest.approx(1000, rel=1e-3)


def test_a_metric_that_gates_and_is_missing_is_incomparable():
    comparison = compare(launches(1.0), launches(1.0), Tolerance({"ttft.p50": 0.1}))
    assert comparison.verdict == "incomparable"
    assert "no metric 'ttft'" in comparison.deltas[0].reason


def test_a_percentile_that_the_sample_cannot_support_is_incomparable():
    runs = [make_run(ttft=0.1) for _ in CLOSE]
    (delta, *_) = compare(runs, runs, Tolerance({"ttft.p99": 0.1})).deltas
    assert (delta.verdict, delta.reason[:24]) == ("incomparable", "p99 needs 100 values, bu")


def test_runs_that_were_cut_short_are_no_evidence():
    cut = launches(0.1, complete=False)
    assert compare([*launches(1.0), *cut], launches(1.0), TOLERANCE).verdict == "unchanged"
    assert compare(cut, launches(1.0), TOLERANCE).reasons == ("every current run was cut short",)


def test_a_single_run_that_its_client_limited_takes_every_verdict_away():
    now = [*launches(0.5), make_run(client_limited="its own CPU share was 99 %")]
    comparison = compare(now, launches(1.0), TOLERANCE)
    assert comparison.reasons == ("the client was the bottleneck in 1 of 5 current runs: its own CPU share was 99 %",)
    assert {delta.verdict for delta in comparison.deltas} == {"incomparable"}
    (delta,) = contrast(now, launches(1.0), ["output_throughput"])
    assert (delta.verdict, delta.reason) == ("incomparable", comparison.reasons[0])


def test_a_golden_zero_is_incomparable():
    golden, now = ([make_run(metrics={"success_rate": rate}) for _ in CLOSE] for rate in (0.0, 1.0))
    comparison = compare(now, golden, Tolerance({"success_rate": 0.01}))
    assert (comparison.verdict, comparison.deltas[0].change) == ("incomparable", None)


def test_a_success_rate_of_one_on_both_sides_is_unchanged():
    runs = [make_run(metrics={"success_rate": 1.0}) for _ in CLOSE]
    assert compare(runs, runs, Tolerance({"success_rate": 0.01})).verdict == "unchanged"


def test_a_metric_of_a_plugin_is_shown_and_not_judged():
    runs = [make_run(metrics={"output_throughput": 1000.0 * f, "watts": 3.0}) for f in CLOSE]
    delta = compare(runs, runs, TOLERANCE).deltas[-1]
    assert (delta.metric, delta.better, delta.verdict, delta.current) == (
        "watts",
        None,
        "descriptive",
        pytest.approx(3),
    )


@pytest.mark.parametrize("limit", [0, -0.1, 1, 10, math.nan, True, "5%"])
def test_a_tolerance_is_a_fraction(limit):
    with pytest.raises(ConfigurationError, match=r"0\.05 is 5 %"):
        Tolerance({"ttft.p50": limit})


@pytest.mark.parametrize(
    ("name", "error"), [("tftt.p50", UnknownName), ("ttft.p51", UnknownName), ("ttft", MetricMissing)]
)
def test_a_tolerance_knows_its_metrics(name, error):
    with pytest.raises(error):
        Tolerance({name: 0.1})


def test_the_summary_fits_eighty_columns():
    values = {"golden": 1234567.8, "current": 1e-9, "change": 123.4, "low": -0.99, "high": 4567.8}
    deltas = [
        Delta(metric=m, unit=u, verdict="incomparable", launches_golden=10, launches_current=10, **values)
        for m, u in (("request_throughput", "request/s"), ("latency_due.p99.9", "s"), ("x" * 100, ""))
    ]
    lines = Comparison(deltas=deltas).summary().splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80


def test_a_comparison_survives_its_own_json():
    comparison = compare(launches(0.8), [make_run()], TOLERANCE)
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_a_listener_hears_of_every_comparison():
    heard = []
    token = LISTENER.set(heard.append)
    try:
        comparison = compare(launches(1.0), launches(1.0), TOLERANCE)
    finally:
        LISTENER.reset(token)
    assert heard == [comparison]


def test_a_contrast_ignores_fields_and_asks_whether_anything_changed():
    default, winner = launches(1.0), launches(1.04, fields={"num_blocks": 64})
    (delta,) = contrast(winner, default, ["output_throughput"])
    assert (delta.verdict, delta.gates) == ("improved", False)
    (delta,) = contrast(default, default, ["output_throughput"])
    assert (delta.verdict, delta.reason) == ("inconclusive", "not distinguishable")
    (delta,) = contrast(launches(1.0, (1, 1, 1, 1)), launches(1.0, (1, 1, 1, 1)), ["output_throughput"])
    assert (delta.verdict, delta.reason) == ("unchanged", "the same in every launch")
    assert contrast(winner[:3], default, ["output_throughput"])[0].verdict == "descriptive"
    assert contrast(winner, default, ["ttft.p50"])[0].verdict == "incomparable"


def simulated(rng, *, between, within, count=4, loads=3, change=1.0, metrics=("output_throughput",)):
    """Launches that differ by *between* while the loads inside one differ by *within*, both on the log scale."""
    runs = []
    for _ in range(count):
        launch, level = new_id(), rng.normal(0, between, len(metrics))
        for _ in range(loads):
            noise = level + rng.normal(0, within, len(metrics))
            values = dict(zip(metrics, (1000 * change * np.exp(noise)).tolist(), strict=True))
            runs.append(BASE.model_copy(update={"id": launch, "launch_id": launch, "metrics": values}))
    return runs


BASE = make_run()
BARELY = 1e-9
"""A tolerance that forgives nothing, so that every alarm is one of the test itself."""


def alarms(comparisons):
    return np.mean([comparison.verdict in ("regressed", "improved") for comparison in comparisons])


def test_same_against_same_raises_a_false_alarm_in_five_per_cent_of_cases():
    rng = np.random.default_rng(11)
    noise = {"between": 0.2, "within": 0.01, "loads": 2}
    tolerance = Tolerance({"output_throughput": BARELY})
    found = alarms(compare(simulated(rng, **noise), simulated(rng, **noise), tolerance) for _ in range(600))
    assert 0.03 <= found <= 0.07


def test_the_metrics_that_gate_share_the_five_per_cent():
    rng = np.random.default_rng(12)
    names = ("output_throughput", "request_throughput", "goodput")
    noise = {"between": 0.2, "within": 0.01, "loads": 1, "metrics": names}
    tolerance = Tolerance(dict.fromkeys(names, BARELY))
    found = alarms(compare(simulated(rng, **noise), simulated(rng, **noise), tolerance) for _ in range(300))
    assert found <= 0.075


def test_taking_loads_for_launches_would_raise_a_false_alarm_in_most_cases():
    rng = np.random.default_rng(13)
    noise = {"between": 0.05, "within": 0.01, "count": 1, "loads": 5}
    tolerance = Tolerance({"output_throughput": BARELY})

    def taken_for_launches(runs):
        return [run.model_copy(update={"launch_id": new_id()}) for run in runs]

    pairs = [(simulated(rng, **noise), simulated(rng, **noise)) for _ in range(100)]
    assert alarms(compare(taken_for_launches(now), taken_for_launches(then), tolerance) for now, then in pairs) > 0.6
    assert alarms(compare(now, then, tolerance) for now, then in pairs) == 0


def test_a_true_change_of_ten_per_cent_is_found_where_launches_differ_by_one():
    rng = np.random.default_rng(14)
    noise = {"between": 0.01, "within": 0.01}
    found = [compare(simulated(rng, change=0.9, **noise), simulated(rng, **noise), TOLERANCE) for _ in range(100)]
    assert np.mean([comparison.verdict == "regressed" for comparison in found]) > 0.95
