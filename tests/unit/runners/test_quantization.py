"""What is said of quantized checkpoints before torch is imported."""

from __future__ import annotations

import importlib.util

import pytest

from msprof_runners import quantization
from msprof_runners.quantization import check_quantization
from pytest_msprof.errors import ConfigurationError

INT8 = {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}}


def test_plain_weights_are_nothing_to_speak_of():
    assert check_quantization({}, device="npu", model="it") is None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_weights_alone_in_8_bits_run_where_torchao_does(device, monkeypatch):
    monkeypatch.setattr(quantization, "find_spec", lambda _: importlib.util.find_spec("pytest"))
    assert check_quantization(INT8, device=device, model="it") == "int8_weight_only"


@pytest.mark.parametrize(
    ("config", "device", "words"),
    [
        ({"quant_method": "gptq"}, "cuda", "'gptq' of it is not supported on cuda .possible: torchao with Int8Weight"),
        ({"quant_method": "compressed_tensors"}, "cpu", "'compressed-tensors' of it"),
        ({"bits": 4}, "cpu", "'unnamed' of it"),
        (INT8, "npu", r"'torchao' with 'Int8WeightOnlyConfig' of it is not supported on npu \(possible: none\)"),
        ({**INT8, "quant_type": {"default": {"_type": "Int4WeightOnlyConfig"}}}, "cpu", "with 'Int4WeightOnlyConfig'"),
        ({**INT8, "quant_type": "int4_weight_only"}, "cpu", "with 'int4_weight_only'"),
        ({"quant_method": "torchao"}, "cpu", "with ''"),
    ],
)
def test_others_are_refused_by_name_with_what_is_possible(config, device, words):
    with pytest.raises(ConfigurationError, match=words):
        check_quantization(config, device=device, model="it")


def test_a_missing_torchao_is_an_error_with_the_install_command(monkeypatch):
    monkeypatch.setattr(quantization, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"needs torchao: pip install 'pytest-msprof\[quantization\]'"):
        check_quantization(INT8, device="cpu", model="it")
