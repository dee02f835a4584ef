"""The figures of other tools, recomputed from the requests: to the last digit where a tool keeps them."""

from __future__ import annotations

import csv
import json
import re
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msprof_plugins.tool_results import read_result
from pytest_msprof.errors import UnknownName
from pytest_msprof.samples import Sample, Samples
from pytest_msprof.tool_metrics import DIALECTS, metrics

DATA = Path(__file__).parents[1] / "data" / "loadgen"


def recomputed(path: Path, tool: str, dialect: str = ""):
    result = read_result(path, tool)
    return metrics(result.measurement.samples, result.window, dialect=dialect or tool)


GAPS = ("itl", "ITL", "inter_chunk", "latency.inter_token_latency")
"""Figures of gaps, which are kept with seven digits."""


def assert_equal(ours, theirs, *, rel: float = 1e-9, path: str = "") -> None:
    """Hold every figure of *ours* against the tool's own; what it did not print is no figure of it."""
    for name, value in ours.items():
        if isinstance(value, dict):
            assert_equal(value, theirs[name], rel=rel, path=f"{path}{name}.")
            continue
        bound = max(rel, 1e-5) if any(gap in path + name for gap in GAPS) else rel
        wanted = pytest.approx(theirs[name], rel=bound) if isinstance(value, float) else theirs[name]
        assert value == wanted, f"{path}{name}"


@pytest.mark.parametrize("name", ["vllm/completions_ok", "vllm/completions_http500", "vllm/completions_aborted"])
def test_vllm_figures_are_those_of_its_file(name):
    assert_equal(recomputed(DATA / f"{name}.json", "vllm"), json.loads((DATA / f"{name}.json").read_text()))


@pytest.mark.parametrize("name", ["completions_ok", "completions_http500"])
def test_the_twin_of_vllm_in_rust_has_the_same_definitions(name):
    path = DATA / "vllm-rs" / f"{name}.json"
    assert_equal(recomputed(path, "vllm"), json.loads(path.read_text()))


@pytest.mark.parametrize("name", ["completions_ok", "completions_http500", "chat_aborted", "completions_poisson_slo"])
def test_guidellm_figures_are_those_of_its_file(name):
    path = DATA / "guidellm" / name
    told = json.loads((path / "benchmarks.json").read_text())["benchmarks"][0]["metrics"]
    ours = recomputed(path, "guidellm")
    assert_equal(ours, {name: told[name]["successful"] for name in ours})


@pytest.mark.parametrize(
    "name",
    ["completions_ok", "completions_http500", "completions_aborted", "chat_truncated", "completions_poisson_goodput"],
)
def test_aiperf_figures_are_those_of_its_summary(name):
    ours = recomputed(DATA / "aiperf" / name, "aiperf")
    told = json.loads((DATA / "aiperf" / name / "profile_export_aiperf.json").read_text())
    rates = {name: ours.pop(name) for name in ("request_throughput", "output_token_throughput")}
    assert_equal(ours, told)
    assert_equal(rates, told, rel=1e-6)  # the summary rounds its begin and its end to microseconds


@pytest.mark.parametrize("name", ["completions_ok", "completions_http500"])
def test_ais_bench_figures_are_those_of_its_table_and_totals(name):
    ours = recomputed(DATA / "ais_bench" / name, "ais_bench")
    folder = DATA / "ais_bench" / name / "performances" / "mock"
    totals = json.loads((folder / "synthetic.json").read_text())
    told = {name: float(re.match(r"[\d.]+", str(value["total"]))[0]) for name, value in totals.items()}
    for row in csv.DictReader((folder / "synthetic.csv").read_text().splitlines()):
        parameter = row.pop("Performance Parameters")
        told[parameter] = {key: float(value.split()[0]) for key, value in row.items() if key != "Stage"}
        del ours[parameter]["P95"]
    assert_equal(ours, told)


@pytest.mark.parametrize("name", ["completions_ok", "completions_http500"])
def test_sglang_figures_are_those_of_its_line_as_far_as_it_keeps_when_streams_were_closed(name):
    path = DATA / "sglang" / f"{name}.jsonl"
    ours, told = recomputed(path, "sglang"), json.loads(path.read_text())
    closing = {name: ours.pop(name) for name in list(ours) if "tpot" in name or "e2e" in name or name == "concurrency"}
    assert_equal(ours, told)
    assert_equal(closing, told, rel=1e-3)


@pytest.mark.parametrize("name", ["completions_ok", "chat_ok"])
def test_genai_perf_figures_are_those_of_its_summary(name):
    told = json.loads((DATA / "genai-perf" / name / "profile_export_genai_perf.json").read_text())
    assert_equal(recomputed(DATA / "genai-perf" / name, "genai_perf"), told)


def test_evalscope_figures_are_those_of_its_summary_and_its_table():
    folder = DATA / "evalscope" / "completions_requests"
    told = json.loads((folder / "benchmark_summary.json").read_text())
    rows = json.loads((folder / "benchmark_percentile.json").read_text())
    table = {row.pop("Percentiles"): row for row in rows}
    ours = recomputed(folder, "evalscope")
    assert set(ours["percentiles"]) == set(table)
    assert set(ours["percentiles"]["50%"]) == set(table["50%"])
    assert_equal(ours, {**told, "percentiles": table})


def test_inference_perf_figures_are_those_of_its_report():
    folder = DATA / "inference-perf" / "completions_requests"
    assert_equal(
        recomputed(folder, "inference_perf"), json.loads((folder / "summary_lifecycle_metrics.json").read_text())
    )


def test_inference_perf_has_gaps_of_nothing_between_tokens_that_came_together():
    together = Sample(
        due=0, start=0, ttft=0.1, latency=0.3, closed=0.3, output_tokens=9, first_tokens=3, gaps=(0.1, 0.1)
    )
    found = figures("inference_perf", together)["successes"]["latency"]
    assert (found["inter_token_latency"]["median"], found["inter_token_latency"]["max"]) == (0, pytest.approx(0.1))
    assert found["time_per_output_token"]["mean"] == pytest.approx(0.2 / 8)
    assert "time_to_first_token" not in figures("inference_perf", ONE_TOKEN)["successes"]["latency"]


def test_an_unknown_dialect_is_refused():
    with pytest.raises(UnknownName, match="wrk"):
        metrics(Samples.of([]), 1.0, dialect="wrk")


ANSWER = Sample(
    due=0.0,
    start=0.0,
    connect=0.002,
    ttft=0.05,
    latency=0.36,
    closed=0.361,
    input_tokens=64,
    output_tokens=32,
    gaps=(0.01,) * 31,
    token_source="usage",
)
ONE_TOKEN = Sample(due=0.0, start=0.0, ttft=0.05, latency=0.05, closed=0.05, input_tokens=64, output_tokens=1)


def figures(dialect: str, *samples: Sample):
    return metrics(Samples.of(samples), 1.0, dialect=dialect)


def test_tools_differ_in_where_the_clock_starts():
    assert figures("vllm", ANSWER)["mean_ttft_ms"] == pytest.approx(52)
    assert figures("aiperf", ANSWER)["time_to_first_token"]["avg"] == pytest.approx(52)
    assert figures("ais_bench", ANSWER)["TTFT"]["Average"] == pytest.approx(52)
    assert figures("guidellm", ANSWER)["time_to_first_token_ms"]["mean"] == pytest.approx(50)


def test_tools_differ_in_where_a_request_ends():
    assert figures("vllm", ANSWER)["mean_e2el_ms"] == pytest.approx(362)
    assert figures("guidellm", ANSWER)["request_latency"]["mean"] == pytest.approx(0.361)
    assert figures("ais_bench", ANSWER)["E2EL"]["Average"] == pytest.approx(363)
    assert figures("sglang", ANSWER)["mean_e2e_latency_ms"] == pytest.approx(363)


def test_guidellm_has_the_first_token_inside_the_time_of_an_output_token():
    assert figures("guidellm", ANSWER)["time_per_output_token_ms"]["mean"] == pytest.approx(360 / 32)
    assert figures("vllm", ANSWER)["mean_tpot_ms"] == pytest.approx(10)


def test_ais_bench_takes_the_usage_event_for_a_token():
    assert figures("ais_bench", ANSWER)["ITL"]["Min"] == pytest.approx(1)
    assert figures("vllm", ANSWER)["mean_itl_ms"] == pytest.approx(10)


def test_a_figure_of_nothing_is_left_out():
    assert "mean_tpot_ms" not in figures("vllm", ONE_TOKEN)
    assert "inter_token_latency" not in figures("aiperf", ONE_TOKEN)
    assert "TPOT" not in figures("ais_bench", ONE_TOKEN)
    assert "inter_token_latency_ms" not in figures("guidellm", ONE_TOKEN)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_run_without_a_success_has_counts_only(dialect):
    failed = Sample(due=0.0, start=0.0, error="connect")
    assert "ttft" not in str(figures(dialect, failed)).lower()


def test_aiperf_has_percentiles_in_which_a_failure_takes_forever():
    found = figures("aiperf", *[ANSWER] * 9, Sample(due=0.0, start=0.0, error="stream"))["adj_time_to_first_token"]
    assert found["count"] == 10
    assert "p90" in found
    assert "p99" not in found


TIMES = st.floats(0.001, 10)
ANSWERS = st.builds(
    lambda start, ttft, gaps, extra: Sample(
        due=start,
        start=start,
        ttft=ttft,
        latency=ttft + sum(gaps),
        closed=ttft + sum(gaps),
        input_tokens=8,
        output_tokens=len(gaps) + 1 + extra,
        gaps=tuple(gaps),
    ),
    TIMES,
    TIMES,
    st.lists(TIMES, max_size=5),
    st.integers(0, 3),
)


@given(st.lists(ANSWERS, min_size=1, max_size=12))
def test_vllm_and_guidellm_figures_equal_their_definitions_written_down_plainly(answers):
    vllm, guidellm = figures("vllm", *answers), figures("guidellm", *answers)
    several = [answer for answer in answers if answer.output_tokens > 1]
    tpots = [(answer.latency - answer.ttft) / (answer.output_tokens - 1) for answer in several]
    assert vllm["mean_ttft_ms"] == pytest.approx(1000 * statistics.fmean(answer.ttft for answer in answers))
    if tpots:
        assert vllm["mean_tpot_ms"] == pytest.approx(1000 * statistics.fmean(tpots))
        decode = sum(answer.latency - answer.ttft for answer in several)
        steps = sum(answer.output_tokens - 1 for answer in several)
        assert guidellm["inter_token_latency_ms"]["mean"] == pytest.approx(1000 * decode / steps)
    tokens = sum(answer.output_tokens for answer in answers)
    whole = sum(answer.latency for answer in answers)
    assert guidellm["time_per_output_token_ms"]["mean"] == pytest.approx(1000 * whole / tokens)
    middle = sorted(1000 * answer.ttft for answer in answers)[(len(answers) - 1) // 2 : len(answers) // 2 + 1]
    assert guidellm["time_to_first_token_ms"]["median"] in middle  # shares are summed up, and 0.5 may be missed


@given(st.lists(ANSWERS, min_size=1, max_size=12))
def test_the_busiest_second_is_counted_event_by_event(answers):
    begin = min(answer.start for answer in answers)
    seconds: dict[int, int] = {}
    for answer in answers:
        moment = answer.start - begin + answer.ttft
        for gap in (0.0, *answer.gaps):
            moment += gap
            seconds[int(moment + 1e-9)] = seconds.get(int(moment + 1e-9), 0) + 1
    found = figures("vllm", *answers)["max_output_tokens_per_s"]
    assert abs(found - max(seconds.values())) <= 1  # an event on the border of two seconds may fall into either
