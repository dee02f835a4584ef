"""Load generators of somebody else: what we ask of them, what we refuse, and what the real ones answer."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from msprof_plugins.interpreters import find_interpreter
from msprof_plugins.tools.aiperf import Aiperf
from msprof_plugins.tools.ais_bench import AisBench
from msprof_plugins.tools.guidellm import Guidellm
from msprof_plugins.tools.vllm_benchmark import VllmBenchmark
from pytest_msprof.errors import ConfigurationError, EngineNotInstalled, InvalidWorkload, LoadError, UnknownName
from pytest_msprof.interfaces import LaunchContext, LoadJob, Target
from pytest_msprof.process import EngineProcess
from pytest_msprof.requests import plan, prompts
from pytest_msprof.results import Run
from pytest_msprof.testing import BenchmarkConformance, FakeEngine, timed_server
from pytest_msprof.tiny_models import make_model
from pytest_msprof.workload import Workload
from pytest_msprof.workload_parts import Dataset, Lengths, Sessions, Stages, Trace

SAMPLES = Path(__file__).parents[1] / "data" / "loadgen"
ROOT = Path(__file__).parents[2]
TOOLS = (Aiperf, AisBench, Guidellm, VllmBenchmark)
KEY = "s3cret-key"

TALK = ({"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"})

RESULT = {
    "aiperf": """
place = json.load(open(argument("--config")))["benchmark"]["artifacts"]["dir"]
shutil.copytree(sample("aiperf"), place)
""",
    "ais_bench": """
shutil.copytree(sample("ais_bench"), os.path.join(argument("-w"), "20261121_025456"))
""",
    "guidellm": """
place = json.load(open(argument("--config")))["spec"]["outputs"][0]["path"]
shutil.copy(os.path.join(sample("guidellm"), "benchmarks.json"), place)
""",
    "vllm_benchmark": """
shutil.copy(sample("vllm") + ".json", os.path.join(argument("--result-dir"), "result.json"))
""",
}
"""Code that leaves a sample where each tool would leave its result."""

PRELUDE = f"""
import json, os, shutil, sys

def argument(name):
    return sys.argv[sys.argv.index(name) + 1]

def sample(tool, run="completions_ok"):
    return os.path.join({str(SAMPLES)!r}, tool, run)
"""


@pytest.fixture(params=TOOLS, ids=lambda tool: tool.name)
def tool(request):
    return request.param


@pytest.fixture
def job(tmp_path):
    """Make a job whose program starts as engines do."""

    def job(url="http://127.0.0.1:1", *, fields=None, tokenizer=tmp_path, api_key=None, rootdir=ROOT, **workload):
        context = LaunchContext(EngineProcess.start, tmp_path, rootdir=rootdir)
        target = Target(
            url, "fake", tokenizer, lambda n: {"temperature": 0, "ignore_eos": True, "max_tokens": n}, api_key=api_key
        )
        shape = {"output_tokens": 8, "num_requests": 20, "concurrency": 4, "warmup": 1, **workload}
        return LoadJob(Workload(**shape), target, tmp_path / "run", fields=fields or {}, context=context)

    return job


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Put a program in the place of a tool that does what a test says."""

    def pretend(tool, code: str) -> None:
        folder = tmp_path / "environment" / "bin"
        folder.mkdir(parents=True)
        (folder / "python").write_text("")
        program = folder / tool.engine.program
        program.write_text(f"#!{sys.executable}\n{PRELUDE}\n{code}\n")
        program.chmod(0o755)
        monkeypatch.setenv(tool.engine.variable, str(folder / "python"))

    return pretend


def sent_by(tool) -> int:
    return 20 if tool is Guidellm else 32


def test_a_fresh_result_that_adds_up_is_measured_and_handed_to_the_sink(tool, pretend, job):
    pretend(tool, RESULT[tool.name])
    with timed_server(ttft=0, itl=0) as server:
        asked = job(server.base_url, num_requests=sent_by(tool))
        found = tool().generate(asked)
        assert len(server.answers()) == asked.workload.warmup
    assert found.completed == sent_by(tool)
    assert any("another length than the 8 tokens" in note for note in found.notes)


def test_the_seeds_figures_come_from_any_tool(tool, pretend, job):
    pretend(tool, RESULT[tool.name])
    with timed_server(ttft=0, itl=0) as server:
        asked = job(server.base_url, num_requests=sent_by(tool))
        found = tool().generate(asked)
    facts = {"id": "run", "launch_id": "launch", "workload_hash": "", "started_at": "2026-01-01T00:00:00Z"}
    index = Run.of(found, workload=asked.workload, **facts).performance_index
    assert index.success_rate == 1
    assert 0.05 < index.time_to_first_token < 0.06
    assert index.time_per_output_token == pytest.approx(0.01, rel=0.01)
    assert index.generate_speed == pytest.approx(index.throughput * 32)


def test_the_exit_code_counts_even_when_there_is_a_result(tool, pretend, job):
    pretend(tool, f"{RESULT[tool.name]}\nsys.exit('no such option')")
    with FakeEngine() as engine, pytest.raises(LoadError, match=r"exit code 1: no such option"):
        tool().generate(job(engine.base_url))


def test_a_tool_that_fails_because_all_requests_did_is_told_by_the_first_of_them(pretend, job):
    failed = RESULT["aiperf"].replace('sample("aiperf")', 'sample("aiperf", "completions_all_failed")')
    pretend(Aiperf, f"{failed}\nsys.exit('see the log')")
    with FakeEngine() as engine, pytest.raises(LoadError, match=r"exit code 1: .* none of 32 .* Internal Server Error"):
        Aiperf().generate(job(engine.base_url))


@pytest.mark.parametrize(
    ("tool", "run"), [(VllmBenchmark, "completions_unreachable"), (Guidellm, "completions_all_failed")]
)
def test_a_file_full_of_zeros_is_an_error_even_when_the_exit_code_is_0(tool, run, pretend, job):
    pretend(tool, re.sub(r'sample\("(\w+)"\)', rf'sample("\1", "{run}")', RESULT[tool.name]))
    with FakeEngine() as engine, pytest.raises(LoadError, match=r"none of 32 requests succeeded; the first: \w+"):
        tool().generate(job(engine.base_url, num_requests=32))


def test_what_a_tool_sent_again_and_calls_a_success_failed(pretend, job):
    pretend(AisBench, RESULT["ais_bench"].replace('sample("ais_bench")', 'sample("ais_bench", "completions_aborted")'))
    with FakeEngine() as engine:
        found = AisBench().generate(job(engine.base_url, num_requests=32))
    assert (found.completed, found.failed, found.errors) == (25, 7, {"stream": 7})
    assert any("sent again after a failure" in note for note in found.notes)


def test_no_result_is_an_error_even_when_the_exit_code_is_0(tool, pretend, job):
    pretend(tool, "")
    with FakeEngine() as engine, pytest.raises(LoadError, match=r"wrote no result|was wanted"):
        tool().generate(job(engine.base_url))


def test_a_result_of_another_number_of_requests_is_an_error(tool, pretend, job):
    pretend(tool, RESULT[tool.name])
    with FakeEngine() as engine, pytest.raises(LoadError, match="does not add up: 21 requests were asked for"):
        tool().generate(job(engine.base_url, num_requests=21))


def test_what_lies_there_already_is_never_read(tool, pretend, job):
    pretend(tool, "")
    asked = job()
    (asked.folder / tool.name).mkdir(parents=True)
    with pytest.raises(FileExistsError):
        tool().generate(asked)


def test_the_key_is_in_the_environment_and_nowhere_else(tool, pretend, job, tmp_path):
    seen = tmp_path / "seen"
    pretend(tool, f"open({str(seen)!r}, 'w').write(repr((sys.argv, list(os.environ.values()))))\nsys.exit(os.environ)")
    with FakeEngine(api_key=KEY) as engine, pytest.raises(LoadError) as failure:
        tool().generate(job(engine.base_url, api_key=KEY))
    argv, values = eval(seen.read_text())
    assert KEY in values
    assert KEY not in " ".join(argv)
    assert KEY not in str(failure.value)
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and path.name != "tool.log"]
    assert not [path for path in written if KEY in path.read_text(errors="replace")]


def test_the_prompts_are_those_of_the_built_in_generator(tool, pretend, job):
    pretend(tool, "")
    asked = job(seed=4)
    with FakeEngine() as engine, pytest.raises(LoadError):
        tool().generate(job(engine.base_url, seed=4))
    written = "".join(path.read_text() for path in (asked.folder / tool.name).glob("*.json*"))
    assert all(json.dumps(text) in written for text in prompts(asked.workload, tokenizer=None))


def test_a_tool_that_is_stopped_says_that_nothing_was_measured(tool, pretend, job):
    pretend(tool, "import time; time.sleep(600)")
    with FakeEngine() as engine, pytest.raises(LoadError, match="was stopped"):
        tool().generate(replace(job(engine.base_url), stop=lambda: True))


def test_a_tool_that_starts_requests_late_gives_no_verdict(pretend, job):
    late = RESULT["aiperf"].replace('sample("aiperf")', 'sample("aiperf", "completions_poisson_goodput")')
    change = """
path = os.path.join(place, "profile_export.jsonl")
lines = [json.loads(line) for line in open(path)]
for line in lines:
    line["metadata"]["credit_issued_ns"] -= 50_000_000
open(path, "w").write("".join(json.dumps(line) + chr(10) for line in lines))
"""
    pretend(Aiperf, late + change)
    with FakeEngine() as engine:
        found = Aiperf().generate(job(engine.base_url, num_requests=32, request_rate=20, concurrency=None))
    assert "late at p99" in found.client_limited
    assert any(note.startswith("the client could not keep the schedule") for note in found.notes)


@pytest.mark.parametrize("endpoint", ["embeddings", "triton", "kserve", "ray_serve"])
def test_what_no_tool_can_do_is_refused_by_name_before_anything_starts(tool, job, endpoint):
    with pytest.raises(
        InvalidWorkload, match=f"'{tool.name}' cannot do endpoint='{endpoint}'.*possible: 'completions'"
    ):
        tool().generate(job(endpoint=endpoint))


@pytest.mark.parametrize(
    ("tool", "change"),
    [
        (Guidellm, {"ignore_eos": False}),
        (Guidellm, {"concurrency": 4, "request_rate": 4, "arrival": "gamma"}),
        (AisBench, {"concurrency": 4, "arrival": "burst"}),
        (AisBench, {"duration": 1.0, "num_requests": None}),
        (Aiperf, {"duration": 1.0, "num_requests": None}),
        (Aiperf, {"stages": Stages(concurrency=(1, 2), seconds=1), "concurrency": None, "num_requests": None}),
        (Aiperf, {"concurrency": 4, "sessions": Sessions(turns=2), "endpoint": "chat", "request_rate": 4}),
        (Guidellm, {"sessions": Sessions(turns=2), "endpoint": "chat", "concurrency": None, "request_rate": 4}),
        (Guidellm, {"sessions": Sessions(turns=2, think_time=1), "endpoint": "chat"}),
        (Guidellm, {"sessions": Sessions(turns=2), "endpoint": "chat", "num_requests": 5}),
        (AisBench, {"sessions": Sessions(turns=2), "endpoint": "chat"}),
        (VllmBenchmark, {"sessions": Sessions(turns=2), "endpoint": "chat"}),
        (VllmBenchmark, {"stream": False}),
        (VllmBenchmark, {"arrival": "burst"}),
        (VllmBenchmark, {"duration": 1.0, "request_rate": 4.0}),
        (VllmBenchmark, {"models": {"one": 1.0, "two": 1.0}}),
    ],
    ids=lambda value: value.name if isinstance(value, type) else next(iter(value)),
)
def test_what_one_tool_cannot_do_is_refused_by_name(tool, change, pretend, job):
    pretend(tool, "")
    with pytest.raises(InvalidWorkload, match=f"'{tool.name}' cannot do {next(iter(change))}"):
        tool().generate(job(**change))


@pytest.fixture
def rows(tmp_path):
    """Make a dataset of these lines."""

    def rows(*lines) -> Dataset:
        path = tmp_path / "dataset.jsonl"
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return Dataset(path=path, format="jsonl")

    return rows


def test_a_trace_of_talks_is_refused_as_talks_are(pretend, job, rows):
    pretend(Aiperf, "")
    turns = rows(*[{"session_id": "a", "timestamp": 0, "input_length": 4, "output_length": 2}] * 2)
    with pytest.raises(InvalidWorkload, match="cannot do trace='with sessions'"):
        Aiperf().generate(job(trace=Trace(path=turns.path), num_requests=None, concurrency=None))


@pytest.mark.parametrize("tool", [AisBench, Guidellm])
def test_tools_that_take_texts_refuse_chats_of_several_messages(tool, pretend, job, rows):
    pretend(tool, "")
    with pytest.raises(InvalidWorkload, match="sends single texts, but the dataset gives chat messages"):
        tool().generate(job(endpoint="chat", dataset=rows({"messages": TALK}), num_requests=1))


@pytest.mark.parametrize("tool", [AisBench, Guidellm, VllmBenchmark])
def test_tools_that_take_options_once_refuse_options_that_differ(tool, pretend, job, rows):
    pretend(tool, "")
    dataset = rows({"prompt": "Hello", "extra_body": {"top_p": 0.5}}, {"prompt": "World", "extra_body": {"top_p": 0.9}})
    with pytest.raises(InvalidWorkload, match="sends one 'top_p' with all requests, but here it differs"):
        tool().generate(job(dataset=dataset, num_requests=2))


def test_aiperf_takes_whole_bodies_and_the_schedule_as_they_are(pretend, job, rows):
    pretend(Aiperf, "")
    dataset = rows({"prompt": "Hello", "extra_body": {"top_p": 0.5}}, {"prompt": "World", "extra_body": {"top_p": 0.9}})
    asked = job(dataset=dataset, num_requests=2, request_rate=4, arrival="constant", warmup=0)
    with pytest.raises(LoadError, match="wrote no result"):
        Aiperf().generate(asked)
    written = (asked.folder / "aiperf" / "requests.json").read_text().splitlines()
    lines = [json.loads(line) for line in written]
    assert [line["timestamp"] for line in lines] == [0, 250]
    assert {(line["payload"]["prompt"], line["payload"]["top_p"]) for line in lines} == {("Hello", 0.5), ("World", 0.9)}


def test_aiperf_carries_talks_on_itself(pretend, job):
    pretend(Aiperf, "")
    talks = Sessions(turns=2, think_time=0.5)
    asked = job(endpoint="chat", sessions=talks, num_requests=5, warmup=0)
    with pytest.raises(LoadError, match="wrote no result"):
        Aiperf().generate(asked)
    lines = [json.loads(line) for line in (asked.folder / "aiperf" / "requests.json").read_text().splitlines()]
    assert [[turn["text"] for turn in line["turns"]] for line in lines] == [
        [request.prompt for request in planned] for planned in talks_of(asked)
    ]
    assert [[turn["delay"] for turn in line["turns"]] for line in lines] == [[0, 500], [0, 500], [0]]
    assert {turn["extra"]["max_tokens"] for line in lines for turn in line["turns"]} == {8}
    assert not {"messages", "stream"} & set(lines[0]["turns"][0]["extra"])


def test_aiperf_begins_talks_when_they_are_due(pretend, job):
    pretend(Aiperf, "")
    talks = {"sessions": Sessions(turns=2, think_time=0.5), "request_rate": 4, "arrival": "constant"}
    asked = job(endpoint="chat", **talks, concurrency=None, num_requests=4, warmup=0)
    with pytest.raises(LoadError, match="wrote no result"):
        Aiperf().generate(asked)
    lines = [json.loads(line) for line in (asked.folder / "aiperf" / "requests.json").read_text().splitlines()]
    assert [(line.get("timestamp"), line.get("delay")) for line in lines] == [
        (0, None),
        (None, 500),
        (250, None),
        (None, 500),
    ]
    assert [line["session_id"] for line in lines] == ["0", "0", "1", "1"]


def test_guidellm_has_the_turns_of_a_talk_beside_each_other(pretend, job):
    pretend(Guidellm, "")
    asked = job(endpoint="chat", sessions=Sessions(turns=2), num_requests=4, warmup=0)
    with pytest.raises(LoadError, match="wrote no result"):
        Guidellm().generate(asked)
    rows = [json.loads(line) for line in (asked.folder / "guidellm" / "prompts.jsonl").read_text().splitlines()]
    assert [(row["prompt_0"], row["prompt_1"]) for row in rows] == [
        tuple(request.prompt for request in talk) for talk in talks_of(asked)
    ]
    assert rows[0]["output_tokens_count_1"] == 8


def talks_of(asked):
    requests = plan(asked.workload, tokenizer=asked.target.tokenizer).requests
    return [list(talk) for _, talk in groupby(requests, key=lambda request: request.session)]


def test_vllm_benchmark_sends_chats_of_several_messages_as_they_are(pretend, job, rows):
    pretend(VllmBenchmark, "open('arguments', 'w').write(json.dumps(sys.argv))")
    asked = job(endpoint="chat", dataset=rows({"messages": TALK}), num_requests=1, warmup=0)
    with pytest.raises(LoadError, match="wrote no result"):
        VllmBenchmark().generate(asked)
    folder = asked.folder / "vllm_benchmark"
    assert json.loads((folder / "prompts.jsonl").read_text())["prompt"] == list(TALK)
    arguments = json.loads((folder / "arguments").read_text())
    assert "--skip-tokenizer-init" in arguments
    extra = json.loads(arguments[arguments.index("--extra-body") + 1])
    assert extra["max_completion_tokens"] == extra["max_tokens"] == 8


def test_vllm_benchmark_refuses_answers_of_many_lengths_where_it_would_ask_for_one_token_each(pretend, job):
    pretend(VllmBenchmark, "")
    with pytest.raises(InvalidWorkload, match="sends one 'max_tokens' with all requests, but here it differs"):
        VllmBenchmark().generate(job(tokenizer=None, output_tokens=Lengths.uniform(2, 12)))


def test_answers_in_one_piece_have_a_latency_and_no_time_per_token(pretend, job):
    change = """
path = os.path.join(place, "profile_export.jsonl")
lines = [json.loads(line) for line in open(path)]
for line in lines:
    for name in ("time_to_first_token", "inter_chunk_latency", "inter_token_latency"):
        line["metrics"].pop(name, None)
open(path, "w").write("".join(json.dumps(line) + chr(10) for line in lines))
"""
    pretend(Aiperf, RESULT["aiperf"] + change)
    with FakeEngine() as engine:
        asked = job(engine.base_url, num_requests=32, stream=False)
        found = Aiperf().generate(asked)
    assert (
        json.loads((asked.folder / "aiperf" / "aiperf.yaml").read_text())["benchmark"]["endpoint"]["streaming"] is False
    )
    assert found.samples.ttft.tolist() == found.samples.latency.tolist()
    assert "tpot" not in found.distributions


def test_a_field_it_does_not_have_is_refused(tool, job):
    with pytest.raises(UnknownName, match="BURST"):
        tool().generate(job(fields={"BURST": 1}))


def test_headers_are_refused_by_name_for_others_could_read_them(tool, job):
    asked = job()
    target = replace(asked.target, headers={"X-Tenant": "s3cret"})
    with pytest.raises(ConfigurationError, match=f"'{tool.name}' would write headers .* 'X-Tenant' was") as refused:
        tool().generate(replace(asked, target=target))
    assert "s3cret" not in str(refused.value)


def test_a_socket_is_refused(tool, job):
    with pytest.raises(ConfigurationError, match=f"'{tool.name}' cannot reach the socket unix:///run/engine"):
        tool().generate(job("unix:///run/engine.sock"))


def test_a_tool_needs_a_launch_context(tool, tmp_path):
    with pytest.raises(ConfigurationError, match="launch context"):
        tool().generate(LoadJob(Workload(), Target("http://127.0.0.1:1", "fake"), tmp_path))


def test_a_tool_that_is_missing_is_named_with_the_command_that_installs_it(tool, job, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineNotInstalled, match=r"install it with: python -m msprof_plugins\.install_engine \w+"):
        tool().generate(job(rootdir=tmp_path))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model("tiny-qwen2", tmp_path_factory.mktemp("models") / "tiny-qwen2")


@pytest.mark.e2e
@pytest.mark.slow
def test_the_real_tool_sends_our_requests_and_measures_the_schedule_of_the_server(tool, job, model):
    skip_without(tool)
    with timed_server(ttft=0.05, itl=0.01, fail_every=9) as server:
        asked = job(server.base_url, tokenizer=model)
        found = tool().generate(asked)
        bodies = [answer.body for answer in server.answers()][asked.workload.warmup :]
    assert (found.completed, found.failed, found.errors) == (18, 2, {"status 500": 2})
    assert found.distributions["ttft"].min >= 0.05
    assert found.distributions["tpot"].p50 == pytest.approx(0.01, rel=0.2)
    assert set(found.samples.output_tokens[found.samples.ok]) == {8}
    assert sorted(map(prompt_of, bodies)) == sorted(prompts(asked.workload, tokenizer=model))


@pytest.mark.e2e
@pytest.mark.slow
def test_the_real_tool_sends_chats_of_many_lengths_at_a_rate_and_keeps_the_key_to_itself(tool, job, model):
    skip_without(tool)
    load = {"endpoint": "chat", "request_rate": 40, "concurrency": None, "output_tokens": Lengths.uniform(2, 12)}
    with timed_server(ttft=0.05, itl=0.01, api_key=KEY) as server:
        asked = job(server.base_url, tokenizer=model, api_key=KEY, **load)
        found = tool().generate(asked)
        bodies = [answer.body for answer in server.answers()][asked.workload.warmup :]
    planned = plan(asked.workload, tokenizer=model)
    wanted = planned.requests
    assert found.completed == len(wanted)
    assert sorted(map(prompt_of, bodies)) == sorted(request.prompt for request in wanted)
    assert sorted(found.samples.output_tokens) == sorted(request.output_tokens for request in wanted)
    assert found.distributions["latency_due"].mean > found.distributions["latency"].mean
    if tool is not VllmBenchmark:
        due = np.sort(found.samples.due)
        assert due - due[0] == pytest.approx(planned.due, abs=1e-6)
    files = [path for path in asked.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("tool", [Aiperf, AisBench, Guidellm], ids=lambda tool: tool.name)
def test_the_real_tool_asks_for_answers_in_one_piece(tool, job, model):
    skip_without(tool)
    with timed_server(ttft=0.05, itl=0.01) as server:
        found = tool().generate(job(server.base_url, tokenizer=model, stream=False, num_requests=8, warmup=0))
        assert not any(answer.body.get("stream") for answer in server.answers())
    assert found.completed == 8
    assert found.samples.ttft.tolist() == found.samples.latency.tolist()
    assert found.distributions["latency"].min >= 0.12
    assert "tpot" not in found.distributions


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("tool", [Aiperf, Guidellm], ids=lambda tool: tool.name)
def test_the_real_tool_carries_talks_on_with_the_answers_that_came(tool, job, model):
    skip_without(tool)
    talks = {"endpoint": "chat", "sessions": Sessions(turns=3), "num_requests": 9, "concurrency": 2, "warmup": 0}
    with timed_server(ttft=0.02, itl=0.005) as server:
        asked = job(server.base_url, tokenizer=model, **talks)
        found = tool().generate(asked)
        bodies = [answer.body for answer in server.answers()]
    assert found.completed == 9
    said = [list(map(content_of, body["messages"])) for body in bodies]
    assert sorted(map(len, said)) == [1, 1, 1, 3, 3, 3, 5, 5, 5]
    wanted = [[request.prompt for request in talk] for talk in talks_of(asked)]
    assert sorted(contents[::2] for contents in said if len(contents) == 5) == sorted(wanted)
    assert all(contents[1].strip() == "token " * 7 + "token" for contents in said if len(contents) > 1)
    assert {body.get("max_tokens", body.get("max_completion_tokens")) for body in bodies} == {8}


@pytest.mark.e2e
@pytest.mark.slow
def test_the_real_aiperf_begins_talks_at_a_rate(job, model):
    skip_without(Aiperf)
    talks = {"endpoint": "chat", "sessions": Sessions(turns=2, think_time=0.1), "num_requests": 6, "warmup": 0}
    with timed_server(ttft=0.02, itl=0.005) as server:
        asked = job(server.base_url, tokenizer=model, request_rate=10, concurrency=None, **talks)
        found = Aiperf().generate(asked)
        bodies = [answer.body for answer in server.answers()]
    assert found.completed == 6
    assert sorted(len(body["messages"]) for body in bodies) == [1, 1, 1, 3, 3, 3]
    wanted = [[request.prompt for request in talk] for talk in talks_of(asked)]
    said = [list(map(content_of, body["messages"]))[::2] for body in bodies if len(body["messages"]) == 3]
    assert sorted(said) == sorted(wanted)
    assert "latency_due" in found.distributions


@pytest.mark.e2e
@pytest.mark.slow
def test_the_real_vllm_benchmark_sends_messages_and_asks_for_the_length_by_every_name(job, model, rows):
    skip_without(VllmBenchmark)
    with timed_server(ttft=0.05, itl=0.01) as server:
        dataset = rows(*[{"messages": TALK}] * 6)
        found = VllmBenchmark().generate(
            job(server.base_url, tokenizer=model, endpoint="chat", dataset=dataset, num_requests=6, warmup=0)
        )
        bodies = [answer.body for answer in server.answers()]
    assert found.completed == 6
    assert set(found.samples.output_tokens) == {8}
    assert all(body["messages"] == list(TALK) for body in bodies)
    assert {body.get("max_completion_tokens", body["max_tokens"]) for body in bodies} == {8}


@pytest.mark.e2e
@pytest.mark.slow
class TestRealTools(BenchmarkConformance):
    @pytest.fixture
    def benchmark_class(self, tool):
        skip_without(tool)
        return tool

    @pytest.fixture
    def tokenizer(self, model):
        return model


def skip_without(tool) -> None:
    try:
        find_interpreter(tool.engine, rootdir=ROOT)
    except EngineNotInstalled as missing:
        pytest.skip(str(missing))


def prompt_of(body) -> str:
    """Return what one request said; one tool sends a chat's text as a list of parts."""
    if "prompt" in body:
        return body["prompt"]
    return content_of(body["messages"][0])


def content_of(message) -> str:
    content = message["content"]
    return content if isinstance(content, str) else content[0]["text"]
