"""What the built-in engines are started with: command lines and variables, without starting them."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest

from msprof_plugins.external import ExternalSimulator
from msprof_plugins.install_engine import RECIPES, STAMP, Recipe, Taken, install
from msprof_plugins.runner_serve import RunnerSimulator
from msprof_plugins.transformers_serve import TransformersSimulator
from msprof_plugins.triton_server import TritonSimulator, configuration
from msprof_plugins.vllm import VllmSimulator
from pytest_msprof import OptimizerConfigField
from pytest_msprof.errors import ConfigurationError, EngineNotInstalled, UnknownName
from pytest_msprof.interfaces import LaunchContext
from pytest_msprof.process import EngineProcess
from pytest_msprof.service import bind

PORT = 8123


@pytest.fixture(autouse=True)
def installed(monkeypatch, tmp_path):
    """Make environments that hold the programs, and an outer world that decides nothing."""
    monkeypatch.chdir(tmp_path)
    for name in ("OMP_NUM_THREADS", "HF_HUB_OFFLINE", "VLLM_CPU_KVCACHE_SPACE", "MSPROF_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for engine, program in (("transformers", "transformers"), ("triton", "tritonserver"), ("vllm", "vllm")):
        folder = tmp_path / ".engines" / engine / "bin"
        folder.mkdir(parents=True)
        (folder / "python").symlink_to(sys.executable)
        (folder / program).write_text("#!/bin/sh\n")
        (folder / program).chmod(0o755)
        monkeypatch.delenv(f"MSPROF_{engine.upper()}_PYTHON", raising=False)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "generation_config.json").write_text('{"pad_token_id": 3, "eos_token_id": [2, 1]}')
    return folder


def prepared(simulator, tmp_path, fields=None, declared=(), **context):
    """Bring *simulator* as far as a launch does before it starts something."""
    facts = {"launcher": EngineProcess.start, "folder": tmp_path, "rootdir": tmp_path, "port": PORT, **context}
    simulator.configure(LaunchContext(**facts))
    simulator.data_field = bind(fields or {}, simulator.data_field, {entry.name: entry for entry in declared}, "it")
    simulator.update_command()
    simulator.before_run(simulator.data_field)
    return simulator


def options(simulator):
    return " ".join(simulator.command[1:])


def test_transformers_without_fields_is_left_to_its_own_defaults(tmp_path, model):
    simulator = prepared(TransformersSimulator(), tmp_path, model=str(model))
    assert simulator.command[0] == str(tmp_path / ".engines" / "transformers" / "bin" / "transformers")
    assert options(simulator) == f"serve {model} --host 127.0.0.1 --port {PORT}"
    assert simulator.base_url == f"http://127.0.0.1:{PORT}/health"
    assert simulator.served_model == str(model)


def test_continuous_batching_brings_its_options(tmp_path, model):
    fields = {"continuous_batching": True, "num_blocks": 64, "batch_tokens": 256, "dtype": "float32"}
    simulator = prepared(TransformersSimulator(), tmp_path, fields, model=str(model))
    assert options(simulator).endswith(
        "--dtype float32 --continuous-batching --cb-num-blocks 64 --cb-max-batch-tokens 256"
    )


def test_options_of_continuous_batching_stay_away_where_it_is_off(tmp_path, model):
    fields = {"continuous_batching": False, "num_blocks": 64}
    simulator = prepared(TransformersSimulator(), tmp_path, fields, model=str(model))
    assert options(simulator) == f"serve {model} --host 127.0.0.1 --port {PORT}"


def test_a_command_is_made_anew_each_time(tmp_path, model):
    simulator = prepared(TransformersSimulator(), tmp_path, {"compile": True}, model=str(model))
    first = simulator.command
    simulator.update_command()
    assert simulator.command == first
    assert simulator.command is not first


@pytest.mark.parametrize(
    ("variables", "fields", "threads"),
    [({}, {}, "1"), ({"OMP_NUM_THREADS": "2"}, {}, "2"), ({"OMP_NUM_THREADS": "2"}, {"omp_num_threads": 4}, "4")],
)
@pytest.mark.usefixtures("model")
def test_transformers_runs_one_thread_unless_told_otherwise(tmp_path, monkeypatch, variables, fields, threads):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    simulator = prepared(TransformersSimulator(), tmp_path, fields, model="model")
    assert simulator.env["OMP_NUM_THREADS"] == threads


def test_a_model_on_disk_is_served_offline_and_a_named_one_is_not(tmp_path, model):
    assert prepared(TransformersSimulator(), tmp_path, model=str(model)).env["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in prepared(TransformersSimulator(), tmp_path, model="owner/name").env


def test_transformers_is_forced_to_a_length_by_its_generation_configuration(tmp_path, model):
    simulator = prepared(TransformersSimulator(), tmp_path, model=str(model))
    body = simulator.request_options(64)
    assert set(body) == {"generation_config"}
    wanted = {"max_new_tokens": 64, "do_sample": False, "eos_token_id": None, "pad_token_id": 3}
    assert json.loads(body["generation_config"]) == wanted


def test_a_runner_is_started_by_the_path_of_its_server(tmp_path, model, monkeypatch):
    monkeypatch.setattr(RunnerSimulator, "engine", replace(RunnerSimulator.engine, libraries=("json",)))
    fields = {"exe_mode": "ge_graph", "batch_size": 8, "omp_num_threads": 3, "seed": 7}
    declared = [OptimizerConfigField(name="seed", config_position="--seed", min=0, max=9, dtype="int")]
    simulator = prepared(RunnerSimulator(), tmp_path, fields, declared, model=str(model))
    safe, program, *rest = simulator.command[1:]
    assert (safe, program.endswith("msprof_runners/serving/__main__.py")) == ("-P", True)
    assert " ".join(rest) == f"{model} --host 127.0.0.1 --port {PORT} --exe-mode ge_graph --batch-size 8 --seed 7"
    assert simulator.env["OMP_NUM_THREADS"] == "3"


def test_vllm_spells_flags_and_variables_as_its_command_line_wants_them(tmp_path, model):
    fields = {
        "max_num_seqs": 8,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "async_scheduling": True,
        "kv_cache_space": 2,
        "omp_threads_bind": "0-1",
    }
    simulator = prepared(VllmSimulator(), tmp_path, fields, model=str(model))
    assert options(simulator) == (
        f"serve {model} --host 127.0.0.1 --port {PORT} --max-num-seqs 8 --enforce-eager"
        " --no-enable-prefix-caching --async-scheduling"
    )
    assert simulator.env["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert simulator.env["VLLM_CPU_OMP_THREADS_BIND"] == "0-1"


def test_vllm_without_enforce_eager_says_nothing_of_it(tmp_path, model):
    simulator = prepared(VllmSimulator(), tmp_path, {"enforce_eager": False}, model=str(model))
    assert "eager" not in options(simulator)


def test_vllm_keeps_to_the_loopback_and_to_a_small_cache(tmp_path, model):
    simulator = prepared(VllmSimulator(), tmp_path, model=str(model))
    assert simulator.env["VLLM_HOST_IP"] == "127.0.0.1"
    assert simulator.env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert simulator.env["PYTHONSAFEPATH"] == "1"


def test_vllm_follows_the_command_table_of_the_settings(tmp_path, model):
    command = SimpleNamespace(
        host="127.0.0.2", port="9001", model="", served_model_name="tiny", others="--max-num-seqs $SEQS --seed 1"
    )
    simulator = prepared(VllmSimulator(SimpleNamespace(command=command)), tmp_path, model=str(model))
    assert options(simulator) == f"serve {model} --host 127.0.0.2 --port 9001 --served-model-name tiny --seed 1"
    assert simulator.served_model == "tiny"


def test_a_field_of_the_user_becomes_the_option_that_its_position_names(tmp_path, model):
    from pytest_msprof import choice

    declared = [choice("loras", [1, 2], position="--max-loras")]
    simulator = prepared(VllmSimulator(), tmp_path, {"loras": 2}, declared, model=str(model))
    assert options(simulator).endswith("--max-loras 2")


def test_devices_of_the_slot_are_the_only_visible_ones(tmp_path, model):
    simulator = prepared(VllmSimulator(), tmp_path, model=str(model), devices=("2", "3"))
    assert simulator.env["CUDA_VISIBLE_DEVICES"] == simulator.env["ASCEND_RT_VISIBLE_DEVICES"] == "2,3"


@pytest.mark.parametrize("simulator", [TransformersSimulator, VllmSimulator])
def test_a_missing_model_is_named_before_the_start(tmp_path, simulator):
    made = simulator()
    made.configure(LaunchContext(launcher=EngineProcess.start, folder=tmp_path, rootdir=tmp_path))
    with pytest.raises(ConfigurationError, match="needs a model: give --msprof-model"):
        made.preflight()


@pytest.mark.parametrize("simulator", [TransformersSimulator, VllmSimulator])
def test_a_missing_engine_is_named_with_the_command_that_installs_it(tmp_path, model, monkeypatch, simulator):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    made = simulator()
    context = LaunchContext(launcher=EngineProcess.start, folder=tmp_path, rootdir=tmp_path / "x", model=str(model))
    made.configure(context)
    with pytest.raises(EngineNotInstalled, match=f"python -m msprof_plugins.install_engine {simulator.engine.name}"):
        made.preflight()


def test_an_environment_that_was_finished_is_not_installed_again(tmp_path):
    folder = tmp_path / ".engines" / "vllm"
    (folder / STAMP).write_text(RECIPES["vllm"].digest)
    assert install("vllm", folder) == folder / "bin" / "python"


def test_a_program_is_taken_out_of_a_wheel_alone_and_without_what_the_wheel_asks_for(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "client-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("client/_fast.cpython-311.so", "the program")
        wheel.writestr("client/gigabytes.so", "the rest")
        wheel.writestr("client-1.0.dist-info/METADATA", "Name: client\nVersion: 1.0\nRequires-Dist: nowhere\n")
        wheel.writestr("client-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    taken = (Taken("client==1.0", "client/_fast.*.so", "bin/fast"),)
    monkeypatch.setitem(RECIPES, "fast", Recipe(torch="", taken=taken))
    folder = tmp_path / ".engines" / "fast"
    install("fast", folder)
    assert (folder / "bin" / "fast").read_text() == "the program"
    assert os.access(folder / "bin" / "fast", os.X_OK)
    assert not list(folder.rglob("gigabytes.so"))


def test_an_engine_without_a_recipe_names_those_that_have_one(tmp_path):
    with pytest.raises(UnknownName, match=r"'vlm' \(known: .*transformers, .*vllm"):
        install("vlm", tmp_path)


class Provider(BaseHTTPRequestHandler):
    """A service of the OpenAI dialect or of transformers', listing the models that its server has."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        models = {"data": [{"id": name} for name in self.server.models]}
        known = {"/health": {}, "/v1/models": models, "/prefix/v1/models": models, "/version": {"version": "1.2"}}
        self.answer(200 if self.path in known else 404, known.get(self.path, {}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        refused = set(body) & self.server.refuses
        self.answer(422 if refused else 200, {"detail": sorted(refused)})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.server.keys.append(self.headers.get("Authorization"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def provider():
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        server.models, server.refuses, server.bodies, server.keys = ["tiny"], set(), [], []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        server.server_close()
        thread.join()


def external(provider, tmp_path, path="", **context):
    return prepared(ExternalSimulator(), tmp_path, base_url=provider.url + path, **context)


def test_external_takes_the_model_that_the_service_lists(provider, tmp_path, model):
    assert external(provider, tmp_path, model=str(model)).served_model == "tiny"


def test_external_takes_the_asked_one_of_several_models(provider, tmp_path):
    provider.models = ["small", "large"]
    assert external(provider, tmp_path, model="large").served_model == "large"


def test_external_asks_for_a_name_where_several_are_possible(provider, tmp_path):
    provider.models = ["small", "large"]
    with pytest.raises(ConfigurationError, match="lists small, large: give --msprof-model"):
        _ = external(provider, tmp_path).served_model


def test_external_takes_the_users_word_where_nothing_is_listed(provider, tmp_path):
    provider.models = []
    assert external(provider, tmp_path, model="models/tiny").served_model == "models/tiny"


@pytest.mark.parametrize(
    ("refuses", "dialect", "keys"),
    [
        (set(), "openai", {"temperature", "ignore_eos", "max_tokens"}),
        ({"ignore_eos"}, "transformers", {"generation_config"}),
        ({"ignore_eos", "generation_config"}, "plain", {"temperature", "max_tokens"}),
    ],
)
def test_external_finds_out_how_to_force_a_length(provider, tmp_path, refuses, dialect, keys):
    provider.refuses = refuses
    simulator = external(provider, tmp_path)
    assert set(simulator.request_options(8)) == keys
    assert simulator.describe() == {"dialect": dialect, "version": "1.2"}


def test_external_understands_urls_that_end_in_v1(provider, tmp_path):
    simulator = external(provider, tmp_path, "/prefix/v1/")
    assert simulator.root_url == f"{provider.url}/prefix"
    assert simulator.check_success()


def test_external_gives_the_key_and_keeps_it_out_of_its_facts(provider, tmp_path, monkeypatch):
    monkeypatch.setenv("MSPROF_API_KEY", "s3cret")
    simulator = external(provider, tmp_path)
    facts = simulator.describe()
    assert set(provider.keys) == {"Bearer s3cret"}
    assert "s3cret" not in json.dumps(facts)


def test_external_says_whether_the_service_answers(provider, tmp_path):
    assert external(provider, tmp_path).check_success()
    closed = prepared(ExternalSimulator(), tmp_path, base_url="http://127.0.0.1:1")
    assert not closed.check_success()


def test_external_starts_nothing_and_takes_no_field(provider, tmp_path):
    from pytest_msprof import constant

    simulator = external(provider, tmp_path)
    simulator.run(())
    assert simulator.process is None
    with pytest.raises(ConfigurationError, match="cannot be given dtype: only the load can change"):
        simulator.run((constant("dtype", "float32"),))


def test_external_without_a_url_names_the_option(tmp_path):
    made = ExternalSimulator()
    made.configure(LaunchContext(launcher=EngineProcess.start, folder=tmp_path))
    with pytest.raises(ConfigurationError, match="give --msprof-base-url"):
        made.preflight()


def test_vllm_leaves_its_options_as_a_file_for_a_deployment_without_secrets(tmp_path, model):
    simulator = VllmSimulator()
    key = OptimizerConfigField(name="key", dtype="str", value="sk-geheim", config_position="--api-key")
    fields = {"max_num_seqs": 64, "enable_prefix_caching": False, "enforce_eager": True, "key": "sk-geheim"}
    prepared(simulator, tmp_path, fields | {"kv_cache_space": 2}, declared=(key,), model=str(model))

    assert simulator.update_config(simulator.data_field)

    assert simulator.config_path.read_text() == (
        f'model: "{model}"\nhost: "127.0.0.1"\nport: 8123\nmax-num-seqs: 64\n'
        'enforce-eager: true\nenable-prefix-caching: false\napi-key: "***"\n'
    )


def test_triton_serves_the_one_model_of_its_folder_on_the_loopback(tmp_path, model):
    with pytest.raises(ConfigurationError, match=r"needs a model of its own: .*config\.pbtxt is not there"):
        prepared(TritonSimulator(), tmp_path, model=str(model))
    (model / "config.pbtxt").touch()

    simulator = prepared(TritonSimulator(), tmp_path, {"http_thread_count": 4, "max_batch_size": 8}, model=str(model))

    said = " ".join(map(str, simulator.command))
    assert f"--model-repository {tmp_path} --model-control-mode explicit --load-model model" in said
    assert f"--http-address 127.0.0.1 --http-port {PORT}" in said
    assert said.endswith("--http-thread-count 4")
    assert simulator.metrics_url.removesuffix("/metrics").rpartition(":")[2] in said
    assert (simulator.served_model, simulator.tokenizer_path) == ("model", None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"max_batch_size": 4}, {"max_batch_size": 4, "dynamic_batching": {"max_queue_delay_microseconds": 9}}),
        ({"dynamic_batching": False}, {"dynamic_batching": None}),
        (
            {"dynamic_batching": True, "max_queue_delay_microseconds": 500},
            {"dynamic_batching": {"preferred_batch_size": [8], "max_queue_delay_microseconds": 500}},
        ),
        ({"instance_count": 2}, {"instance_group": [{"kind": "KIND_CPU", "count": 2}]}),
    ],
)
def test_what_fields_leave_out_stays_as_the_file_of_a_triton_model_says(values, expected):
    batching = {"preferred_batch_size": [8], "max_queue_delay_microseconds": 9}
    own = {
        "max_batch_size": 8,
        "dynamic_batching": batching,
        "instance_group": [{"kind": "KIND_CPU", "count": 1}],
        "backend": "python",
    }

    found = configuration(own, values)

    assert found == {name: value for name, value in {**own, **expected}.items() if value is not None}
    assert own["dynamic_batching"] == batching == {"preferred_batch_size": [8], "max_queue_delay_microseconds": 9}
