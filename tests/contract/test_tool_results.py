"""What other load generators promise: their result files, read as they were meant, and never trusted blindly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from msprof_plugins.tool_results import READERS, read_result
from pytest_msprof.errors import LoadError, UnknownName

SAMPLES = Path(__file__).parents[1] / "data" / "loadgen"
TRUTH = json.loads((SAMPLES / "truth.json").read_text())["runs"]
WHOLE = ("completions_ok", "chat_ok", "completions_http500")


READER = {"vllm-rs": "vllm", "genai-perf": "genai_perf", "inference-perf": "inference_perf"}
FIGURES_ONLY = ("evalscope", "inference-perf")


def sample(name: str) -> Path:
    path = SAMPLES / name
    return path if path.is_dir() else next(path.parent.glob(f"{path.name}.json*"))


def read(name: str):
    tool = name.partition("/")[0]
    return read_result(sample(name), READER.get(tool, tool))


def present(*names: str) -> list[str]:
    """List the samples of these runs that tell of each request."""
    runs = (name.partition("/") for name in TRUTH)
    return [f"{tool}/{run}" for tool, _, run in runs if run in names and tool not in FIGURES_ONLY]


@pytest.mark.parametrize("name", present(*WHOLE))
def test_requests_and_tokens_are_those_the_server_knows_of(name):
    told, found = TRUTH[name]["server"], read(name).measurement
    assert (found.completed, found.failed) == (told["done"], told["errors"])
    assert found.samples.output_tokens[found.samples.ok].sum() == told["tokens"]


@pytest.mark.parametrize("name", present(*WHOLE))
def test_times_are_those_the_server_sent_and_a_little_more(name):
    sent, found = TRUTH[name], read(name).measurement
    assert sent["sent_ttft_ms"]["mean"] <= found.distributions["ttft"].mean * 1000 < sent["sent_ttft_ms"]["mean"] + 8
    assert found.distributions["tpot"].mean * 1000 == pytest.approx(sent["sent_itl_ms"]["mean"], abs=0.2)
    assert 0.36 <= found.distributions["latency"].min < 0.37


@pytest.mark.parametrize("name", present(*WHOLE))
def test_tools_that_keep_gaps_keep_one_less_than_tokens(name):
    samples = read(name).measurement.samples
    if name.startswith("guidellm"):
        assert samples.gaps.size == 0
        return
    assert set(np.diff(samples.gap_offsets)[samples.ok]) == {31}
    assert np.median(samples.gaps) == pytest.approx(0.01, abs=2e-4)


@pytest.mark.parametrize("name", present("completions_http500", "chat_http500"))
def test_refused_requests_are_classed_and_their_times_are_no_measurements(name):
    found = read(name).measurement
    assert found.errors == {"status 500": TRUTH[name]["server"]["errors"]}
    assert np.isnan(found.samples.latency[~found.samples.ok]).all()
    assert set(found.samples.output_tokens[~found.samples.ok]) == {-1}


@pytest.mark.parametrize("name", present("completions_aborted", "chat_aborted"))
def test_a_cut_answer_is_a_failure_even_where_the_tool_sent_it_again_and_calls_it_a_success(name):
    found, told = read(name).measurement, TRUTH[name]
    assert found.errors == {"stream": told["server"]["aborts"]}
    assert found.completed == told["requests_asked"] - told["server"]["aborts"]


def test_who_sends_again_is_told_to_the_reader():
    notes = read("ais_bench/completions_aborted").measurement.notes
    assert any(note.startswith("7 requests were sent again after a failure") for note in notes)


@pytest.mark.parametrize("name", ["evalscope/completions_http500", "inference-perf/completions_http500"])
def test_tools_that_keep_no_requests_are_read_by_their_figures(name):
    sent, found = TRUTH[name], read(name).measurement
    assert found.samples is None
    assert (found.completed, found.failed) == (26, 6)
    assert found.distributions["ttft"].p50 * 1000 == pytest.approx(sent["sent_ttft_ms"]["p50"], abs=2)
    assert found.distributions["itl"].mean == pytest.approx(0.010, rel=0.01)
    assert found.metrics["output_throughput"] == pytest.approx(326, abs=3)
    assert "it keeps no requests" in found.notes[0]


def test_evalscope_is_read_request_by_request_where_its_table_was_kept():
    found = read("evalscope/completions_requests").measurement
    assert (found.completed, found.failed, found.errors) == (29, 3, {"unknown": 3})
    assert set(found.samples.output_tokens[found.samples.ok]) == {16}
    assert set(np.diff(found.samples.gap_offsets)[found.samples.ok]) == {15}
    assert found.distributions["ttft"].min > 0.05
    assert (found.samples.closed >= found.samples.latency)[found.samples.ok].all()


def test_inference_perf_is_read_request_by_request_where_it_kept_them():
    result = read("inference-perf/completions_requests")
    found = result.measurement
    assert (found.completed, found.failed, found.errors) == (29, 3, {"status 500": 3})
    assert "failed as told" in result.first_error
    assert set(found.samples.output_tokens[found.samples.ok]) == {16}
    assert set(np.diff(found.samples.gap_offsets)[found.samples.ok]) == {15}
    assert (found.samples.closed >= found.samples.latency)[found.samples.ok].all()


def test_inference_perf_requests_that_do_not_fit_the_summary_are_an_error(tmp_path):
    shutil.copytree(sample("inference-perf/completions_requests"), tmp_path, dirs_exist_ok=True)
    rows = json.loads((tmp_path / "per_request_lifecycle_metrics.json").read_text())
    (tmp_path / "per_request_lifecycle_metrics.json").write_text(json.dumps(rows[1:]))
    with pytest.raises(
        LoadError, match=r"the summary says 29 completed and 3 failed, and per_request.* lists 28 and 3"
    ):
        read_result(tmp_path, "inference_perf")


def test_inference_perf_says_where_it_counted_other_tokens_than_the_server(tmp_path):
    shutil.copytree(sample("inference-perf/completions_requests"), tmp_path, dirs_exist_ok=True)
    rows = json.loads((tmp_path / "per_request_lifecycle_metrics.json").read_text())
    rows[0]["info"]["response_metrics"]["output_tokens"] = 64
    (tmp_path / "per_request_lifecycle_metrics.json").write_text(json.dumps(rows))
    found = read_result(tmp_path, "inference_perf").measurement
    assert found.samples.output_tokens[0] == 16
    assert any(
        note.startswith("inference-perf counted other tokens than the server in 1 answers") for note in found.notes
    )


def test_evalscope_requests_that_do_not_fit_the_summary_are_an_error(tmp_path):
    shutil.copytree(sample("evalscope/completions_requests"), tmp_path, dirs_exist_ok=True)
    changed(tmp_path, sample("evalscope/completions_requests") / "benchmark_summary.json", **{"Success Requests": 32})
    with pytest.raises(LoadError, match=r"the summary says 32 completed and 3 failed, and benchmark_data\.db lists 29"):
        read_result(tmp_path, "evalscope")


@pytest.mark.parametrize("content", [b"", b"no database"])
def test_an_evalscope_table_that_cannot_be_read_is_an_error(tmp_path, content):
    shutil.copytree(sample("evalscope/completions_requests"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "benchmark_data.db").write_bytes(content)
    with pytest.raises(LoadError, match=r"evalscope: the requests in .* cannot be read"):
        read_result(tmp_path, "evalscope")


def test_figures_keep_the_classes_of_failures_that_they_have():
    assert read("inference-perf/completions_http500").measurement.errors == {"status 500": 6}
    stage = sample("inference-perf/completions_aborted") / "stage_0_lifecycle_metrics.json"
    assert read_result(stage, "inference_perf").measurement.errors == {"stream": 6}
    assert read("evalscope/completions_http500").measurement.errors == {"unknown": 6}


def test_values_that_stand_for_nothing_are_not_read(tmp_path):
    shutil.copytree(sample("evalscope/completions_http500"), tmp_path, dirs_exist_ok=True)
    nothing = {"Success Requests": 0, "Failed Requests": 32, "Avg TTFT (ms)": -1000, "Req Throughput (req/s)": -1}
    changed(tmp_path, sample("evalscope/completions_http500") / "benchmark_summary.json", **nothing)
    found = read_result(tmp_path, "evalscope").measurement
    assert (found.completed, found.metrics, found.distributions) == (0, {"success_rate": 0.0}, {})


def test_a_file_that_each_run_appends_to_is_read_by_its_last_line(tmp_path):
    lines = [sample(f"sglang/{name}").read_text() for name in ("completions_ok", "completions_http500")]
    (tmp_path / "r.jsonl").write_text("".join(line if line.endswith("\n") else f"{line}\n" for line in lines))
    found = read_result(tmp_path / "r.jsonl", "sglang").measurement
    assert (found.completed, found.failed) == (26, 6)
    assert any(note.startswith("the file holds 2 runs") for note in found.notes)


def test_a_length_that_was_asked_for_is_not_taken_for_one_that_was_counted():
    notes = read("sglang/chat_truncated").measurement.notes
    assert any(note.startswith("6 answers have fewer events than tokens") for note in notes)


@pytest.mark.parametrize(("tool", "source"), [("vllm", "usage"), ("aiperf", "tokenizer"), ("ais_bench", "events")])
def test_truncated_answers_keep_the_length_they_had_and_say_who_counted(tool, source):
    samples = read(f"{tool}/chat_truncated").measurement.samples
    assert sorted(set(samples.output_tokens)) == [8, 32]
    assert (samples.output_tokens == 8).sum() == 6
    assert set(samples.token_source[samples.output_tokens == 8]) == {source}
    assert set(samples.token_source[samples.output_tokens == 32]) == {"usage"}


@pytest.mark.parametrize("name", present("completions_all_failed", "completions_unreachable"))
def test_a_run_without_a_success_is_an_error_that_quotes_the_first_failure_whatever_the_exit_code(name):
    with pytest.raises(LoadError, match=r"none of 32 requests succeeded; the first: .*(500|Cannot connect)"):
        read(name).accounted(32)


@pytest.mark.parametrize("name", present("completions_poisson_slo", "completions_poisson_goodput"))
def test_an_open_loop_has_the_time_each_request_was_due(name):
    result = read(name)
    assert result.load["request_rate"] == 20
    assert result.load["concurrency"] is None
    samples = result.measurement.samples
    assert ((samples.start - samples.due) > 0).all()
    assert "ttft_due" in result.measurement.distributions


@pytest.mark.parametrize("name", present("completions_ok"))
def test_a_result_of_other_requests_than_were_sent_is_an_error(name):
    asked = TRUTH[name]["requests_asked"]
    assert read(name).accounted(asked).completed == asked
    with pytest.raises(LoadError, match=rf"does not add up: 33 requests were asked for.* {asked} completed"):
        read(name).accounted(33)


@pytest.mark.parametrize("tool", READERS)
def test_a_missing_result_is_an_error_that_names_it(tmp_path, tool):
    with pytest.raises(LoadError, match=str(tmp_path)):
        read_result(tmp_path / "nothing", tool)


def test_a_tool_without_a_reader_is_refused():
    with pytest.raises(UnknownName, match="wrk"):
        read_result(SAMPLES, "wrk")


def test_vllm_chats_are_measured_from_their_first_content_not_from_their_role():
    found = read("vllm/chat_ok").measurement
    assert any(note.startswith("32 chats: times were moved from the role event") for note in found.notes)
    assert set(np.diff(found.samples.gap_offsets)) == {31}


def changed(tmp_path: Path, source: Path, **changes) -> Path:
    """Copy a JSON result with some keys changed; None takes a key away."""
    told = {**json.loads(source.read_text()), **changes}
    path = tmp_path / source.name
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"failed": 1}, "does not add up: it says 32 completed and 1 failed"),
        ({"errors": [""] * 31}, "does not add up"),
        ({"ttfts": None}, "lacks ttfts: was it written with --save-detailed"),
    ],
)
def test_a_vllm_result_that_contradicts_itself_is_an_error(tmp_path, change, message):
    with pytest.raises(LoadError, match=message):
        read_result(changed(tmp_path, sample("vllm/completions_ok"), **change), "vllm")


@pytest.mark.parametrize("text", ["", "[]", '{"duration": 1}\n{"duration": 2}'])
def test_a_result_that_is_no_object_is_an_error(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(LoadError, match="no JSON object"):
        read_result(path, "vllm")


def test_guidellm_files_of_several_rates_are_read_one_by_one(tmp_path):
    source = sample("guidellm/completions_ok") / "benchmarks.json"
    one = json.loads(source.read_text())["benchmarks"]
    path = changed(tmp_path, source, benchmarks=one * 2)
    with pytest.raises(LoadError, match="holds 2 benchmarks"):
        read_result(path, "guidellm")


def test_a_guidellm_window_that_left_requests_out_is_an_error(tmp_path):
    source = sample("guidellm/completions_ok") / "benchmarks.json"
    benchmark = json.loads(source.read_text())["benchmarks"][0]
    benchmark["requests"]["successful"].pop()
    with pytest.raises(LoadError, match=r"20 requests succeeded and 0 failed, but it lists 19 and 0.*warm-up"):
        read_result(changed(tmp_path, source, benchmarks=[benchmark]), "guidellm")


def test_a_stale_aiperf_summary_is_not_taken_for_the_run(tmp_path):
    shutil.copytree(sample("aiperf/completions_ok"), tmp_path, dirs_exist_ok=True)
    shutil.copy(sample("aiperf/chat_truncated") / "profile_export_aiperf.json", tmp_path)
    with pytest.raises(LoadError, match="is stale: it describes a run from"):
        read_result(tmp_path, "aiperf")


def test_aiperf_requests_that_do_not_fit_the_summary_are_an_error(tmp_path):
    shutil.copytree(sample("aiperf/completions_http500"), tmp_path, dirs_exist_ok=True)
    lines = (tmp_path / "profile_export.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "profile_export.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(LoadError, match="the summary says 26 completed and 6 failed"):
        read_result(tmp_path, "aiperf")


def test_aiperf_times_count_from_the_open_connection():
    samples = read("aiperf/completions_ok").measurement.samples
    assert (samples.connect > 0).sum() == 4
    assert samples.ttft[samples.connect > 0].max() < 0.06


def test_two_ais_bench_runs_in_one_folder_are_not_mixed(tmp_path):
    for name in ("completions_ok", "chat_ok"):
        shutil.copytree(sample(f"ais_bench/{name}"), tmp_path / name)
    with pytest.raises(LoadError, match=r"one \*_details\.jsonl was wanted .*chat_ok.*completions_ok"):
        read_result(tmp_path, "ais_bench")


def test_ais_bench_times_are_finer_than_its_table():
    samples = read("ais_bench/completions_ok").measurement.samples
    assert len({round(ttft, 6) for ttft in samples.ttft}) > 20
