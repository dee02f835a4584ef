"""The installed engines about their own options: every field of a space is one, and a config file says the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from msprof_plugins.spaces import GIB, transformers_serve, vllm_on_devices, vllm_on_processors
from msprof_plugins.transformers_serve import BATCHING_OPTIONS
from msprof_plugins.vllm import FIELDS as VLLM_FIELDS
from msprof_plugins.vllm import VARIABLES, as_config_file
from pytest_msprof import Workload
from pytest_msprof.tiny_models import make_model

pytestmark = pytest.mark.e2e

ENGINES = Path(__file__).parents[2] / ".engines"
PARSED = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = make_arg_parser(FlexibleArgumentParser())
by_hand, path = json.loads(sys.argv[1])
found = [vars(parser.parse_args(arguments)) for arguments in (by_hand, parser.load_config_file(path))]
print("PARSED", json.dumps([{name: repr(value) for name, value in each.items()} for each in found]))
"""

BY_ITSELF = """
import json, sys
from vllm import envs
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.usage.usage_lib import UsageContext

made = AsyncEngineArgs(model=sys.argv[1]).create_engine_config(UsageContext.OPENAI_API_SERVER)
parts = (made.scheduler_config, made.cache_config, made.model_config)
found = {name: getattr(part, name) for name in sys.argv[2:] for part in parts if hasattr(part, name)}
print("TAKES", json.dumps({**found, "omp_threads_bind": envs.VLLM_CPU_OMP_THREADS_BIND}))
"""


def run(engine: str, *arguments: str) -> str:
    program, *rest = arguments
    path = ENGINES / engine / "bin" / program
    if not path.exists():
        pytest.skip(f"{engine} is not installed: python -m msprof_plugins.install_engine {engine}")
    return subprocess.run([path, *rest], capture_output=True, text=True, timeout=300, check=True).stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model("tiny-qwen2", tmp_path_factory.mktemp("models") / "tiny-qwen2")


def test_every_field_of_the_spaces_of_vllm_is_an_option_of_it(model):
    spaces = (
        vllm_on_processors(model, Workload(), memory=16 * GIB),
        vllm_on_devices(model, Workload(), devices=8, memory=80 * GIB, experts=True),
    )
    told = run("vllm", "vllm", "serve", "--help=all")

    for entry in (entry for space in spaces for entry in space if entry.name not in VARIABLES):
        assert f"--{entry.name.replace('_', '-')}" in told


def test_every_field_of_the_space_of_transformers_is_an_option_of_it(model):
    told = run("transformers", "transformers", "serve", "--help")

    for entry in transformers_serve(model, Workload(), memory=16 * GIB):
        assert f"--{BATCHING_OPTIONS.get(entry.name, entry.name.replace('_', '-'))}" in told


def test_vllm_reads_from_the_config_file_what_the_command_line_says(tmp_path):
    options = ["--port", "8000", "--max-num-seqs", "64", "--no-enable-prefix-caching", "--enforce-eager"]
    options += ["--dtype", "float32", "--served-model-name", "no", "--compilation-config", '{"mode": 0}']
    path = tmp_path / "config.yaml"
    path.write_text(as_config_file(["models/tiny", *options]))

    told = run("vllm", "python", "-c", PARSED, json.dumps([["--model", "models/tiny", *options], str(path)]))

    by_hand, by_file = json.loads(told.partition("PARSED ")[2])
    assert by_file == by_hand
    assert by_file["max_num_seqs"] == "64"


def test_vllm_takes_by_itself_what_its_fields_say(model):
    space = vllm_on_processors(model, Workload(), memory=16 * GIB).knowing(VLLM_FIELDS)
    said = space.as_the_engine_takes({})

    told = json.loads(run("vllm", "python", "-c", BY_ITSELF, str(model), *said).partition("TAKES ")[2])

    assert told == {name: value for name, value in said.items() if name != "kv_cache_space"}
    assert said.keys() == {entry.name for entry in space.searched}
