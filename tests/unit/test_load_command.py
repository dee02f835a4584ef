"""`pytest-msprof load`: what it prints, writes and refuses, and with which exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pytest_msprof import Workload
from pytest_msprof.cli import main
from pytest_msprof.load_arguments import add_arguments
from pytest_msprof.load_workload import workload_of
from pytest_msprof.slots import free_port
from pytest_msprof.store import RunStore
from pytest_msprof.testing import timed_server
from pytest_msprof.workload_parts import Dataset, Lengths, Prefixes, Sessions, Stages, Trace

STATISTICS = {"mean", "std", "min", "p50", "p90", "p95", "p99", "max", "n"}
SHORT = ("--num-requests", "6", "--concurrency", "2", "--output-tokens", "4")


@pytest.fixture(scope="module")
def url():
    with timed_server() as server:
        yield server.base_url


def found(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_json_has_every_metric_as_a_key_and_each_distribution_in_nine_figures(url, capsys):
    assert main(["load", url, *SHORT, "--json", "-"]) == 0
    told = found(capsys)
    for name in ("ttft", "tpot", "itl", "latency"):
        assert set(told[name]) == STATISTICS
    assert (told["ttft"]["n"], told["ttft"]["p99"]) == (6, None)
    assert 0 < told["ttft"]["min"] <= told["ttft"]["p50"] <= told["ttft"]["max"]
    assert (told["completed"], told["failed"], told["errors"], told["success_rate"]) == (6, 0, {}, 1.0)
    assert (told["concurrency"], told["request_rate"], told["goodput"]) == (2, None, None)
    assert told["output_throughput"] == pytest.approx(24 / told["duration"])
    assert told["complete"] is True
    assert told["percentiles"]["ttft.p50"]["low"] <= told["ttft"]["p50"] <= told["percentiles"]["ttft.p50"]["high"]
    assert told["steady_state"]["requests"] <= 6


def test_a_table_says_which_figures_are_of_the_whole_run_and_which_of_its_steady_part(url, capsys):
    assert main(["load", url, "--concurrency", "4", "--num-requests", "40", "--output-tokens", "4"]) == 0
    shown = capsys.readouterr().out.splitlines()
    heads = [line.split() for line in shown if line.startswith(("whole run", "steady state"))]
    assert heads[0] == ["whole", "run", "mean", "p50", "p90", "p95", "p99"]
    assert heads[1][:2] == ["steady", "state"]
    ttft = next(place for place, line in enumerate(shown) if line.startswith("ttft "))
    value, (low, high) = float(shown[ttft].split()[3]), map(float, shown[ttft + 1].split()[3].split("–"))
    assert shown[ttft + 1].startswith("  95 % interval")
    assert low <= value <= high
    assert all(len(line) <= 80 for line in shown if not line.startswith("note"))


def test_what_was_not_measured_is_null(url, capsys):
    assert main(["load", url, "--num-requests", "1", "--output-tokens", "1", "--warmup", "0", "--json", "-"]) == 0
    told = found(capsys)
    assert told["tpot"] == dict.fromkeys(STATISTICS - {"n"}) | {"n": 0}
    assert told["ttft"]["std"] is None


def test_at_a_rate_waiting_is_told_apart(url, capsys):
    assert (
        main(["load", url, "--request-rate", "200", "--num-requests", "20", "--output-tokens", "2", "--json", "-"]) == 0
    )
    told = found(capsys)
    assert told["request_rate"] == 200
    assert told["ttft_due"]["mean"] == pytest.approx(told["ttft"]["mean"] + told["queue"]["mean"])


def test_what_a_killed_load_left_is_named_and_left_alone(url, tmp_path, capsys):
    (tmp_path / "run.partial").mkdir()
    assert main(["load", url, *SHORT, "--output", str(tmp_path / "run")]) == 2
    assert "run.partial holds what a load left that was killed" in capsys.readouterr().err


def test_a_load_of_which_nothing_succeeded_leaves_no_folder(tmp_path):
    with timed_server(fail_every=1, fail="http500") as server:
        assert main(["load", server.base_url, *SHORT, "--output", str(tmp_path / "run")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_load_may_end_by_time(url, capsys):
    options = ["--request-rate", "40", "--arrival", "constant", "--duration", "0.5", "--output-tokens", "2"]
    assert main(["load", url, *options, "--json", "-"]) == 0
    told = found(capsys)
    assert told["completed"] == 20
    assert told["workload"]["num_requests"] is None


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("12", 12),
        ("3-5", Lengths.uniform(3, 5)),
        ("normal:8:2", Lengths.normal(8, 2)),
        ("lognormal:8:2.5", Lengths.lognormal(8, 2.5)),
        ("histogram:1-9:3:10:1", Lengths.histogram((1, 9, 3), (10, 10, 1))),
    ],
)
def test_lengths_are_typed_in_one_word(text, lengths):
    assert spelled("--input-tokens", text).input_tokens == lengths


@pytest.mark.parametrize("text", ["", "-5", "3-", "normal:8", "zipf:1:2", "a-b", "histogram:1-9"])
def test_a_length_that_is_none_is_refused_with_all_spellings(text, capsys):
    with pytest.raises(SystemExit):
        spelled(f"--input-tokens={text}")
    assert (
        "lengths are N, LOW-HIGH, normal:MEAN:STD, lognormal:MEAN:STD or histogram:LOW-HIGH:WEIGHT:…, but"
        in capsys.readouterr().err
    )


def test_prompts_and_times_come_from_files_where_they_are_named():
    assert spelled("--dataset", "random") == Workload()
    rows = spelled("--dataset", "d", "--dataset-split", "test", "--dataset-column", "q", "--longest-prompt", "9")
    assert rows.dataset == Dataset(path=Path("d"), split="test", column="q", longest=9)
    assert spelled("--trace", "t.csv", "--time-scale", "0.5").trace == Trace(path=Path("t.csv"), time_scale=0.5)
    lengths = spelled("--trace", "t", "--trace-lengths", "--trace-block", "16", "--request-rate", "3")
    assert lengths.trace == Trace(path=Path("t"), replay="lengths", block_tokens=16)


def test_whatever_a_workload_can_be_is_spelled():
    talks = spelled("--turns", "2-6", "--think-time", "5", "--thinking", "exponential", "--endpoint", "chat")
    assert talks.sessions == Sessions(turns=Lengths.uniform(2, 6), think_time=5, thinking="exponential")
    shared = spelled("--prefix-tokens", "20", "--num-prefixes", "8", "--prefix-share", "0.9")
    assert shared.prefixes == Prefixes(tokens=20, number=8, share=0.9)
    mixed = spelled("--mix", "base=3", "--mix", "lora-a", "--sampling", "temperature=0.7", "--sampling", "stop=a")
    assert mixed.models == {"base": 3, "lora-a": 1}
    assert mixed.sampling == {"temperature": 0.7, "stop": "a"}
    rest = spelled("--extra-body", '{"priority": 1}', "--no-stream", "--arrival", "gamma", "--burstiness", "0.5")
    assert (rest.extra_body, rest.stream, rest.arrival, rest.burstiness) == ({"priority": 1}, False, "gamma", 0.5)


def test_several_values_with_a_time_are_one_load_that_changes():
    assert spelled("--concurrency", "1,8,4", "--steps", "30").stages == Stages(concurrency=(1, 8, 4), seconds=30)
    ramp = spelled("--request-rate", "1,20", "--ramp", "120", "--concurrency", "64")
    assert ramp.stages == Stages(request_rate=(1, 20), seconds=120, ramp=True)
    assert ramp.concurrency == 64


def spelled(*options: str) -> Workload:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return workload_of(parser.parse_args(["http://127.0.0.1:1", *options]))


def test_a_trace_is_replayed(url, tmp_path, capsys):
    rows = [{"timestamp": 20 * row, "input_length": 8, "output_length": 2 + row, "hash_ids": [row]} for row in range(3)]
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["load", url, "--trace", str(tmp_path / "trace.jsonl"), "--json", "-"]) == 0
    told = found(capsys)
    assert told["completed"] == 3
    assert told["output_throughput"] * told["duration"] == pytest.approx(2 + 3 + 4)


def test_a_run_is_kept_where_the_user_wants_it(url, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["load", url, *SHORT, "--output", str(folder), "--json", str(tmp_path / "load.json")]) == 0
    run = RunStore(tmp_path).load(folder)
    assert (len(run.samples), run.completed, run.engine) == (6, 6, "external")
    assert run.series["running"].values[0] > 0
    assert json.loads((tmp_path / "load.json").read_text())["completed"] == 6
    assert "6 of 6 requests" in capsys.readouterr().out
    assert main(["compare", str(folder), str(folder)]) == 0


def test_a_folder_that_holds_something_is_left_alone(url, tmp_path, capsys):
    (tmp_path / "mine").write_text("")
    assert main(["load", url, *SHORT, "--output", str(tmp_path)]) == 2
    assert "is not empty: a run is written once" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--goodput", "ttft:30", "--goodput-min", "0.001"], 0),
        (["--goodput", "ttft:0.000001", "--goodput-min", "0.001"], 1),
        (["--fail-on", "success_rate<0.99", "--fail-on", "ttft.p50>30"], 0),
        (["--fail-on", "ttft.p50>0.000001"], 1),
        (["--fail-on", "output_throughput:1000000000"], 1),
        (["--fail-on", "ttft.p99>30"], 1),
    ],
)
def test_a_missed_objective_ends_with_1(url, options, code, capsys):
    assert main(["load", url, *SHORT, *options]) == code
    shown = capsys.readouterr()
    assert ("missed: " in shown.err) == ("missed: " in shown.out) == bool(code)


def test_a_sweep_is_a_row_a_load_and_a_run_a_load(url, tmp_path, capsys):
    options = ["--concurrency", "1,3", "--num-requests", "6", "--output-tokens", "4", "--output", str(tmp_path / "out")]
    assert main(["load", url, *options, "--json", str(tmp_path / "sweep.json")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in shown[1:3]] == ["concurrency 1", "concurrency 3"]
    assert "note: no tokenizer: the lengths of prompts are words, not tokens" in shown[3:]
    assert all(len(line) <= 80 for line in shown[:3])
    told = json.loads((tmp_path / "sweep.json").read_text())
    assert told["complete"] is True
    assert [(load["concurrency"], load["completed"]) for load in told["loads"]] == [(1, 6), (3, 6)]
    runs = [RunStore(tmp_path).load(folder) for folder in sorted((tmp_path / "out").iterdir())]
    assert [run.workload.concurrency for run in runs] == [1, 3]
    assert len({run.launch_id for run in runs}) == 1


def test_each_load_of_a_sweep_has_new_text(capsys):
    with timed_server(ttft=0, itl=0) as server:
        main(["load", server.base_url, "--concurrency", "1,2", "--num-requests", "3", "--warmup", "0"])
        prompts = [answer.body["prompt"] for answer in server.answers() if answer.body.get("prompt") != "Hello"]
    assert len(set(prompts)) == len(prompts) == 6


def test_a_sweep_finds_its_rates_between_one_at_a_time_and_many_at_once(url, capsys):
    options = ["--sweep", "3", "--concurrency", "4", "--num-requests", "8", "--output-tokens", "2"]
    assert main(["load", url, *options, "--goodput", "ttft:30", "--json", "-"]) == 0
    slow, fast, between = found(capsys)["loads"]
    assert (slow["concurrency"], fast["concurrency"], between["concurrency"]) == (1, 4, None)
    assert slow["request_throughput"] < between["request_rate"] < fast["request_throughput"]


def test_rates_of_a_sweep_keep_their_cap_and_are_judged_each(url, capsys):
    options = ["--request-rate", "20,200", "--concurrency", "3", "--num-requests", "12", "--output-tokens", "2"]
    assert main(["load", url, *options, "--fail-on", "request_throughput<40", "--json", "-"]) == 1
    shown = capsys.readouterr()
    loads = json.loads(shown.out)["loads"]
    assert [(load["request_rate"], load["concurrency"]) for load in loads] == [(20, 3), (200, 3)]
    assert [load["objectives"][0]["met"] for load in loads] == [False, True]
    assert "missed at 20.0 request/s: request_throughput" in shown.err


def test_a_load_that_measured_nothing_ends_the_sweep_and_keeps_the_others(tmp_path, capsys):
    with timed_server(ttft=0, itl=0, fail="http500", fail_every=1, fail_after=7) as server:
        options = ["--concurrency", "1,2,3", "--num-requests", "6", "--warmup", "0", "--json", str(tmp_path / "json")]
        assert main(["load", server.base_url, *options, "--output", str(tmp_path / "out")]) == 2
    assert "the sweep ended after 1 of 3 loads: none of 6 requests" in capsys.readouterr().err
    told = json.loads((tmp_path / "json").read_text())
    assert (told["complete"], len(told["loads"]), len(list((tmp_path / "out").iterdir()))) == (False, 1, 1)


def test_an_objective_that_the_requests_cannot_support_says_how_many_it_takes(url, capsys):
    main(["load", url, *SHORT, "--fail-on", "ttft.p99>30"])
    assert "ttft.p99: p99 needs 100 values, but got 6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--goodput-min", "5"], "give --goodput, such as ttft:0.5"),
        (["--goodput", "tfft:0.5"], "did you mean 'ttft'"),
        (["--goodput", "ttft:-1"], "input should be greater than 0"),
        (["--request-rate", "-1"], "'request_rate': input should be greater than 0"),
        (["--num-requests", "0"], "'num_requests': input should be greater than or equal to 1"),
        (["--request-rate", "1,0"], "'request_rate': input should be greater than 0, but got 0.0"),
        (["--request-rate", "1,2", "--concurrency", "1,8"], "over rates or concurrencies, but got both"),
        (["--request-rate", "1", "--concurrency", "1,8"], "has one cap beside a rate"),
        (["--sweep", "4", "--request-rate", "1"], "leave out --request-rate"),
        (["--sweep", "1"], "2 points at least, its ends, but got 1"),
        (["--sweep", "4", "--steps", "1"], "--steps needs the values to go through"),
        (["--ramp", "5"], "--ramp needs the values to go through"),
        (["--concurrency", "1,2", "--steps", "5", "--ramp", "5"], "--steps or on a --ramp, but got both"),
        (["--time-scale", "2"], "--time-scale needs --trace beside it"),
        (["--num-prefixes", "2"], "--num-prefixes needs --prefix-tokens beside it"),
        (["--load-generator", "guidlm"], "did you mean 'guidellm'"),
    ],
)
def test_what_cannot_be_meant_ends_with_2_before_anything_is_sent(options, message, capsys):
    assert main(["load", f"http://127.0.0.1:{free_port()}", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_place_that_cannot_take_the_figures_is_refused_before_anything_is_sent(tmp_path, capsys):
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["load", url, "--json", str(tmp_path / "missing" / "load.json")]) == 2
    assert f"there is no folder {tmp_path / 'missing'}" in capsys.readouterr().err


def test_figures_of_an_earlier_load_are_not_left_where_this_one_fails(tmp_path):
    earlier = tmp_path / "load.json"
    earlier.write_text("{}")
    assert main(["load", f"http://127.0.0.1:{free_port()}", "--json", str(earlier)]) == 2
    assert not earlier.exists()


def test_a_disk_that_is_full_ends_the_load_with_the_name_of_the_file(url, tmp_path):
    script = (
        "import resource, sys; from pytest_msprof.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); sys.exit(main(sys.argv[1:]))"
    )
    options = ["load", url, "--num-requests", "400", "--concurrency", "20", "--output", str(tmp_path / "run")]
    ended = subprocess.run([sys.executable, "-c", script, *options], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.search(r"run\.partial/samples\.msb: File too large", ended.stderr)


@pytest.mark.parametrize("text", ["ttft", "ttft:fast", "ttft:nan", "ttft>0.5", ""])
def test_a_limit_that_is_none_is_refused_with_an_example(text, capsys):
    with pytest.raises(SystemExit) as ending:
        main(["load", "http://127.0.0.1:1", "--goodput", text])
    assert ending.value.code == 2
    assert "a limit is METRIC:LIMIT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [("tfft.p50>1", "did you mean 'ttft'"), ("ttft>1", "name a statistic"), ("ttft.p50", "a limit is METRIC:LIMIT")],
)
def test_an_objective_that_no_run_has_is_refused(text, message, capsys):
    with pytest.raises(SystemExit) as ending:
        main(["load", "http://127.0.0.1:1", "--fail-on", text])
    assert ending.value.code == 2
    assert message in capsys.readouterr().err


class Tenants(BaseHTTPRequestHandler):
    """Answers whoever names a tenant."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b'{"data": [{"id": "tiny"}]}' if self.path == "/v1/models" else b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b'data: {"choices": [{"text": "a", "finish_reason": "length"}]}\n\ndata: [DONE]\n\n')

    def answer(self, body):
        self.send_response(200 if self.headers["X-Tenant"] == "deep blue" else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_headers_go_with_every_request_and_into_no_file(tmp_path):
    options = ["--num-requests", "2", "--output-tokens", "1", "--output", str(tmp_path / "run")]
    with ThreadingHTTPServer(("127.0.0.1", 0), Tenants) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert main(["load", url, *options]) == 2
        assert main(["load", url, *options, "--header", "X-Tenant: deep blue"]) == 0
        server.shutdown()
        server.server_close()
    assert not [path for path in (tmp_path / "run").iterdir() if b"deep blue" in path.read_bytes()]


def test_a_key_in_the_body_is_sent_and_stands_in_no_file(tmp_path, capsys):
    options = ["--extra-body", '{"api_key": "not-for-others", "priority": 1}', "--num-requests", "1", "--warmup", "0"]
    with timed_server(ttft=0, itl=0) as server:
        assert main(["load", server.base_url, *options, "--output", str(tmp_path / "run"), "--json", "-"]) == 0
        sent = server.answers()[-1].body
    assert sent["api_key"] == "not-for-others"
    assert found(capsys)["workload"]["extra_body"] == {"api_key": "***", "priority": 1}
    assert not [path for path in (tmp_path / "run").iterdir() if b"not-for-others" in path.read_bytes()]


def test_a_header_without_a_name_is_refused_without_showing_it(capsys):
    with pytest.raises(SystemExit):
        main(["load", "http://127.0.0.1:1", "--header", "secretvalue"])
    assert "a header is NAME:VALUE" in capsys.readouterr().err


def test_what_is_no_url_is_refused(capsys):
    assert main(["load", "127.0.0.1:8000"]) == 2
    assert "needs an http:// or https:// URL" in capsys.readouterr().err


def test_a_service_that_nobody_runs_is_named(capsys, tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["load", url, "--output", str(tmp_path / "run")]) == 2
    assert f"nobody answers at {url}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_fails_every_request_is_nothing_measured(capsys):
    with timed_server(fail_every=1, fail="http500") as server:
        assert main(["load", server.base_url, *SHORT, "--model", "fake"]) == 2
    assert "succeeded" in capsys.readouterr().err


def test_some_failures_are_counted_by_class(capsys):
    with timed_server(fail_every=3, fail="http500") as server:
        assert main(["load", server.base_url, *SHORT, "--json", "-"]) == 0
    told = found(capsys)
    assert (told["completed"] + told["failed"], sum(told["errors"].values())) == (6, told["failed"])
    assert told["failed"] > 0


def test_the_help_tells_defaults_and_examples(capsys):
    with pytest.raises(SystemExit):
        main(["load", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for text in ("such as ttft:0.5", "seconds after which a request counts as failed (120.0)", "'ttft.p99>0.5'"):
        assert text in shown


class Command:
    """`pytest-msprof load` on a terminal of its own."""

    def __init__(self, *options: str) -> None:
        self.process, self._terminal = spawn("load", *options)
        self.text = ""

    def wait_for(self, pattern: str) -> None:
        """Read what it writes until *pattern* has come."""
        while not re.search(pattern, self.text):
            self.text += os.read(self._terminal, 65536).decode(errors="replace")

    def end(self) -> int:
        """Read the rest and return the exit code."""
        with contextlib.suppress(OSError):
            while part := os.read(self._terminal, 65536):
                self.text += part.decode(errors="replace")
        os.close(self._terminal)
        return self.process.wait()


def spawn(*arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    outside, inside = pty.openpty()
    command = [sys.executable, "-m", "pytest_msprof.cli", *arguments]
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True)
    os.close(inside)
    return process, outside


def test_ctrl_c_keeps_what_was_measured_and_marks_it_incomplete(url, tmp_path):
    command = Command(url, "--request-rate", "50", "--num-requests", "100000", "--output", str(tmp_path / "run"))
    command.wait_for(r"done [1-9]")
    command.process.send_signal(signal.SIGINT)
    assert command.end() == 0
    run = RunStore(tmp_path).load(tmp_path / "run")
    assert not run.complete
    assert 0 < run.completed < 100000
    assert len(run.samples) == run.completed + run.failed
    assert ", incomplete" in command.text


def test_ctrl_c_ends_a_sweep_with_the_load_that_runs(url, tmp_path):
    command = Command(url, "--concurrency", "1,2", "--num-requests", "100000", "--json", str(tmp_path / "json"))
    command.wait_for(r"load 1 of 2: concurrency 1[^$]*done [1-9]")
    command.process.send_signal(signal.SIGINT)
    assert command.end() == 0
    told = json.loads((tmp_path / "json").read_text())
    assert (told["complete"], [load["complete"] for load in told["loads"]]) == (False, [False])


def test_ctrl_c_before_anything_was_measured_ends_with_2():
    with timed_server(fail="silent", fail_every=1, fail_after=1) as server:
        command = Command(server.base_url, "--warmup", "0", "--num-requests", "1")
        command.wait_for(r"running 1")
        command.process.send_signal(signal.SIGINT)
        assert command.end() == 2
    assert "Traceback" not in command.text
