"""The installed engines about their own options: every field of a space is one, and a config file says the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from msprof_plugins.spaces import GIB, transformers_serve, vllm_on_devices, vllm_on_processors
from msprof_plugins.transformers_serve import BATCHING_OPTIONS
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
