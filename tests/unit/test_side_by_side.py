"""Two sides of launches: outer join, identity first, verdicts by launches, exit codes that never lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import launches as measured

from pytest_msprof.change_points import change_points
from pytest_msprof.cli import main
from pytest_msprof.errors import ConfigurationError, UnknownName
from pytest_msprof.limits import Limit
from pytest_msprof.noise_floor import floor_of
from pytest_msprof.side_by_side import SideBySide
from pytest_msprof.side_comparison import compare_sources
from pytest_msprof.side_table import lines
from pytest_msprof.sources import Figures, Source
from pytest_msprof.sources.quantities import quantity, span
from pytest_msprof.sources.runs import of_run
from pytest_msprof.statistics import shift

DATA = Path(__file__).parents[1] / "data" / "compare"
LAUNCHES = 5


def launches(ttft: float, *, more: dict[str, float] | None = None, count: int = LAUNCHES, **facts: str) -> list[Source]:
    """Return launches whose first tokens take about *ttft* milliseconds."""
    found = []
    for number in range(count):
        figures = Figures()
        noisy = ttft * (1 + 0.002 * number)
        figures.add(quantity("request", "first_token_latency (ms)"), {"p50": noisy, "p90": 2 * noisy, "p99": 3 * noisy})
        for name, value in (more or {}).items():
            figures.add(quantity("request", name), {"mean": value * (1 + 0.002 * number)})
        figures.counts["request", "ttft"] = 50
        found.append(Source(Path(f"{ttft}-{number}"), "analysed folder", figures, identity=facts))
    return found


def verdicts(found: SideBySide) -> dict[str, str]:
    return {row.name: row.delta.verdict for row in found.rows}


def test_a_change_beyond_five_percent_counts_where_nobody_named_a_limit():
    found = compare_sources(launches(120), launches(100))
    assert verdicts(found)["request.ttft.p50"] == "regressed"
    assert verdicts(compare_sources(launches(80), launches(100)))["request.ttft.p50"] == "improved"
    assert verdicts(compare_sources(launches(101), launches(100)))["request.ttft.p50"] == "unchanged"


def test_fewer_than_four_launches_are_described_and_the_reason_says_what_is_missing():
    found = compare_sources(launches(120, count=3), launches(100))
    assert found.verdict == "descriptive"
    assert "a verdict needs 4 launches a side (3 now, 5 golden)" in found.gating[0].delta.reason


def test_a_percentile_that_the_sample_does_not_support_never_decides():
    row = next(row for row in compare_sources(launches(120), launches(100)).rows if row.statistic == "p99")
    assert (row.delta.verdict, row.delta.gates) == ("descriptive", False)
    assert row.delta.reason == "p99 needs 100 values, but got 50"


def test_a_metric_of_one_side_is_shown_as_missing_and_not_dropped():
    found = compare_sources(launches(100, more={"new": 1.0}), launches(100, more={"old (ms)": 2.0}))
    shown = {row.name: row.delta.reason for row in found.rows if row.is_missing}
    assert shown == {"request.old.mean": "missing in input", "request.new.mean": "missing in golden"}
    assert found.verdict == "unchanged"


def test_other_requests_are_incomparable_with_the_reason():
    found = compare_sources(launches(100, requests="14"), launches(100, requests="15"))
    assert found.verdict == "incomparable"
    assert found.reasons == ("requests: 14 in input, 15 in golden",)


def test_output_tokens_may_differ_by_what_sampling_does():
    then = launches(100, **{"output tokens": "1000"})
    assert compare_sources(launches(100, **{"output tokens": "1005"}), then).verdict == "unchanged"
    assert compare_sources(launches(100, **{"output tokens": "1100"}), then).verdict == "incomparable"


@pytest.mark.parametrize(
    "spelling",
    ["request.first_token_latency.p90", "request.first_token_latency (ms).p90", "ttft.P90", "request.ttft.p90"],
)
def test_a_limit_may_name_a_metric_as_its_file_or_as_we_do(spelling: str):
    found = compare_sources(launches(120), launches(100), [Limit.parse(f"{spelling}:+5%")])
    assert [(row.name, row.delta.verdict) for row in found.gating] == [("request.ttft.p90", "regressed")]


def spans(name: str, milliseconds: float) -> list[Source]:
    found = []
    for number in range(LAUNCHES):
        figures = Figures()
        figures.add(span(name), {"mean": milliseconds * (1 + 0.002 * number)})
        found.append(Source(Path(f"{name}-{number}"), "raw spans", figures))
    return found


@pytest.mark.parametrize(("now", "then"), [("Schedule", "BatchSchedule"), ("modelRunnerExec", "Execute")])
def test_one_event_under_the_names_of_two_frameworks_is_compared_and_said(now: str, then: str):
    found = compare_sources(spans(now, 1.2), spans(then, 1.0), [Limit.parse(f"spans.{now}.mean:+5%")])
    assert found.verdict == "regressed"
    assert f"{now} of input and {then} of golden are taken for the same" in found.notes


def test_a_sign_gives_a_direction_where_the_metric_has_none():
    sides = launches(100, more={"things": 12.0}), launches(100, more={"things": 10.0})
    assert verdicts(compare_sources(*sides))["request.things.mean"] == "descriptive"
    found = compare_sources(*sides, [Limit.parse("request.things.mean:+5%")])
    assert verdicts(found)["request.things.mean"] == "regressed"


def test_a_sign_that_calls_an_improvement_a_failure_is_an_error():
    with pytest.raises(ConfigurationError, match=r"ttft\.p50 is better when lower: ttft\.p50:\+5% was meant\?"):
        compare_sources(launches(100), launches(100), [Limit.parse("ttft.p50:-5%")])


def test_a_floor_measured_earlier_gives_few_launches_a_verdict_and_the_reason_says_so():
    floor = launches(100)
    row = compare_sources(launches(120, count=1), launches(100, count=1), floor=floor).gating[0]
    assert row.delta.verdict == "regressed"
    assert row.delta.reason == "by the noise between 5 launches measured earlier"
    assert compare_sources(launches(100, count=1), launches(100, count=1), floor=floor).verdict == "unchanged"
    wide = [*launches(100), *launches(140), *launches(70)]
    assert compare_sources(launches(120, count=1), launches(100, count=1), floor=wide).verdict == "inconclusive"


def test_a_floor_does_not_hide_what_enough_launches_show():
    wide = [*launches(100), *launches(140), *launches(70)]
    assert compare_sources(launches(120), launches(100), floor=wide).verdict == "regressed"


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        (launches(100, count=3), "a noise floor needs 4 launches of one configuration, but got 3"),
        (launches(100, requests="9"), "measured something else than golden: requests: 9 in floor, 8 in golden"),
    ],
)
def test_a_floor_that_cannot_stand_for_this_noise_is_refused(floor: list[Source], message: str):
    sides = launches(100, count=1, requests="8"), launches(100, count=1, requests="8")
    with pytest.raises(ConfigurationError, match=message):
        compare_sources(*sides, floor=floor)


@given(seed=st.integers(0, 2**32))
def test_a_floor_of_four_launches_raises_no_more_false_alarms_than_wanted(seed: int):
    drawn = np.exp(np.random.default_rng(seed).normal(0, 0.02, (200, 6)))
    alarms = 0
    for row in drawn:
        noise = floor_of({"x": [[value] for value in row[:4]]})["x"]
        alarms += bool(shift([[row[4]]], [[row[5]]], noise=noise).difference.p_value() < 0.05)
    assert alarms <= 30


def test_launches_of_two_levels_are_a_mixture_and_a_note_says_since_when():
    mixed = [*launches(100, count=6), *launches(130, count=6)]
    found = compare_sources(launches(100), mixed)
    told = [note for note in found.notes if "mixture" in note]
    assert told[0].startswith("request.ttft.p50 of golden has another level from launch 7 of 12 on (+30.0%)")
    assert not [note for note in compare_sources(launches(130), launches(100)).notes if "mixture" in note]


def test_every_change_of_level_is_found_and_noise_is_not_one():
    random = np.random.default_rng(5)
    steps = np.repeat([1.0, 1.2, 0.9], 8) * np.exp(random.normal(0, 0.01, 24))
    assert change_points(steps) == [8, 16]
    alarms = [bool(change_points(np.exp(random.normal(0, 0.05, 16)))) for _ in range(300)]
    assert np.mean(alarms) <= 0.08
    assert change_points([1.0] * 20) == []
    assert change_points([1.0, 2.0]) == []


def test_a_limit_of_what_no_side_has_is_an_error_with_the_nearest():
    with pytest.raises(UnknownName, match=r"request\.ttft\.p50"):
        compare_sources(launches(100), launches(100), [Limit.parse("request.ttft.p77:+5%")])


@pytest.mark.parametrize("text", ["ttft.p50", "ttft.p50:5", "ttft.p50:+0%", ":+5%", "ttft.p50:+500%", "ttft.p50:+x%"])
def test_a_limit_that_cannot_be_read_says_how_it_is_spelled(text: str):
    with pytest.raises(ConfigurationError, match=r"such as ttft\.p90:\+5%"):
        Limit.parse(text)


def test_no_line_of_the_table_is_wider_than_80_columns():
    sides = launches(120, more={"x" * 10_000: 1.0}), launches(100, more={"x" * 10_000: 2.0})
    table = list(lines(compare_sources(*sides)))
    assert max(map(len, table)) <= 80


def test_a_line_of_the_table_reads_as_one_of_benchstat():
    table = list(lines(compare_sources(launches(120), launches(100))))
    assert "  ttft.p50                 100ms ± 0%    120ms ± 0%   +20.0% (p<0.001 n=5+5)" in table
    assert table[-4] == "regressed: request.ttft.p50, request.ttft.p90"
    assert table[-3].startswith("smallest change that these launches would show: 5.76% (request.ttft.p50) to")
    assert table[-1] == "verdict: regressed"


def test_a_tilde_stands_beside_a_change_without_evidence():
    table = list(lines(compare_sources(launches(120, count=1), launches(100, count=1))))
    assert "  ttft.p50                 100ms         120ms        +20.0% ~ (n=1+1)" in table


def test_only_a_terminal_gets_colours():
    found = compare_sources(launches(120), launches(100))
    assert not any("\x1b" in line for line in lines(found))
    coloured = list(lines(found, colour=True))
    assert coloured[-1] == "\x1b[31mverdict: regressed\x1b[0m"


@pytest.mark.parametrize("across", ["engine", "engine version"])
def test_what_differs_on_purpose_does_not_stand_in_the_way_and_is_said(across: str):
    now, then = launches(120, **{"engine version": "2"}), launches(100, **{"engine version": "1"})
    assert compare_sources(now, then).verdict == "incomparable"
    found = compare_sources(now, then, across=[across])
    assert found.verdict == "regressed"
    assert found.notes == ("on purpose: engine version: 2 in input, 1 in golden",)


def test_runs_of_two_configurations_are_compared_across_the_field_that_differs():
    now, then = (
        [of_run(run, Path(run.launch_id)) for run in measured(60, 0.03, seed=1, fields={"dtype": dtype}, spread=0.001)]
        for dtype in ("float32", "bfloat16")
    )
    assert compare_sources(now, then).reasons == ('field dtype differs: "float32" now, "bfloat16" in golden',)
    for across in ("dtype", "field dtype", "field"):
        assert compare_sources(now, then, across=[across]).verdict == "unchanged"


def test_reports_know_environment_and_load_of_runs_of_ours():
    sides = [[of_run(run, Path(run.launch_id)) for run in measured(60, 0.03, seed=seed)] for seed in (1, 2)]
    told = compare_sources(*sides).input.sources[0].environment
    assert told["engine version"] == "5.23.0"
    assert told["workload concurrency"] == "16"
    assert told["hardware cores"] == "2"


def copies(folder: Path, kind: str, side: str, count: int = 4) -> Path:
    for number in range(count):
        shutil.copytree(DATA / kind / side, folder / str(number))
    return folder


def test_the_command_ends_with_2_for_other_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    argv = ["compare", str(DATA / "analysed" / "input"), str(DATA / "analysed" / "golden")]
    assert main([*argv, "--output-path", str(tmp_path)]) == 2
    assert "incomparable: input tokens: 3092 in input, 3240 in golden" in capsys.readouterr().out


def test_the_command_ends_with_1_for_a_regression_and_with_0_without(tmp_path: Path):
    now, then = copies(tmp_path / "now", "analysed", "golden"), copies(tmp_path / "then", "analysed", "golden")
    argv = ["compare", str(now), str(then), "--output-path", str(tmp_path / "out")]
    assert main(argv) == 0
    for path in now.rglob("request_summary.csv"):
        path.write_text(path.read_text().replace("18.8392", "28.8392"))
    assert main([*argv, "--log-level", "fatal"]) == 1
    assert main([*argv, "--fail-on", "request.first_token_latency.p90:+5%"]) == 0
    assert main([*argv, "--fail-on", "request.first_token_latency.p50:+5%"]) == 1


def test_a_limit_on_a_metric_that_one_side_lacks_ends_with_2(tmp_path: Path):
    now, then = copies(tmp_path / "now", "raw", "golden"), copies(tmp_path / "then", "analysed", "golden")
    argv = ["compare", str(now), str(then), "--output-path", str(tmp_path / "out")]
    assert main([*argv, "--fail-on", "ttft.p50:+5%"]) == 2
    assert main(argv) == 2


def test_missing_evidence_ends_with_0_and_under_strict_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    side = str(DATA / "raw" / "golden")
    argv = ["compare", side, side, "--output-path", str(tmp_path / "out")]
    assert main(argv) == 0
    assert "a verdict needs 4 launches a side" in capsys.readouterr().out
    assert main([*argv, "--strict"]) == 1


def test_a_damaged_input_ends_with_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "service_summary.csv").write_text("Metric,Value\nx,nan\n")
    assert main(["compare", str(tmp_path / "bad"), str(DATA / "raw" / "golden")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
