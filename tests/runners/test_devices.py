"""Devices: the processor as it is, others by what they are asked; an NPU stands in for the one nobody has here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from msprof_runners.devices import Device
from pytest_msprof.errors import DeviceUnavailable, OutOfMemory, UnknownName

STAND_IN = """
import types
import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

asked = []


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *arguments, **options: None  # transformers looks for kernels by their names


class Module(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def ask(*arguments):
            asked.append((name, *arguments))
            return {"is_available": True, "device_count": 2, "max_memory_allocated": 4096,
                    "get_device_name": "Stand-in 910", "current_device": 0}.get(name)
        return ask


_setup_privateuseone_for_python_backend("npu", backend_module=Module("torch.npu"))
"""

RUN = """
import sys
from msprof_runners import HuggingFaceRunner


class OnProcessor(HuggingFaceRunner):
    def to_device(self):
        '''The stand-in has no kernels: only the way to it is tried.'''


settings = {"model_name": "tiny", "model_path": sys.argv[1], "device": "npu:1",
            "model_config": {"dtype": "float32"}, "data_config": {"max_new_tokens": 4, "ignore_eos": True}}
run = OnProcessor(settings).init_model().model_generate(["hello"])
import torch_npu
asked = [entry for entry in torch_npu.asked if entry[0] in ("is_available", "set_device", "synchronize")]
print(asked[:2], asked.count(("synchronize", 1)), run.device, run.metrics["device_memory"])
"""


def python(code, *arguments, path=()):
    """Run *code* in a process of its own: a device is registered once and for ever."""
    paths = [*map(str, path), *filter(None, sys.path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    env.pop("TORCH_DEVICE_BACKEND_AUTOLOAD", None)
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    return found.returncode, found.stdout + found.stderr


@pytest.fixture
def npu(tmp_path):
    """Return a folder with a `torch_npu` that registers a stand-in device of that name."""
    (tmp_path / "torch_npu").mkdir()
    (tmp_path / "torch_npu" / "__init__.py").write_text(STAND_IN)
    return tmp_path


def test_a_runner_asks_the_npu_through_torch_alone(npu, models):
    code, said = python(RUN, str(models("tiny-llama")), path=[npu])
    assert code == 0, said
    assert "[('is_available',), ('set_device', 1)]" in said
    steps_and_passes = said.split("]")[1].split()
    assert int(steps_and_passes[0]) >= 4 + 2  # each step, and the beginning of each pass
    assert "Stand-in 910 4096" in said


def test_torch_npu_without_its_driver_is_explained(tmp_path):
    (tmp_path / "torch_npu.py").write_text("raise ImportError('libhccl.so: cannot open shared object file')")
    code, said = python("from msprof_runners.devices import Device; Device.of('npu')", path=[tmp_path])
    assert code == 1
    assert "device 'npu' needs torch_npu and CANN, which cannot be loaded (libhccl.so: cannot open" in said


def test_another_device_does_not_load_the_npu(tmp_path):
    (tmp_path / "torch_npu.py").write_text("raise SystemExit('loaded')")
    entry = tmp_path / "torch_npu-2.0.dist-info"
    entry.mkdir()
    (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: torch_npu\nVersion: 2.0\n")
    (entry / "entry_points.txt").write_text("[torch.backends]\ntorch_npu = torch_npu:autoload\n")
    code, said = python("from msprof_runners.devices import Device; print(Device.of('auto').name)", path=[tmp_path])
    assert (code, said.split()) == (0, ["cpu"])


def test_the_processor_needs_no_waiting_and_has_no_memory_of_its_own():
    device = Device.of("cpu")
    device.synchronize()
    device.reset_peak_memory()
    assert device.peak_memory() is None
    assert device.product.startswith("cpu: ")


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'cuda'"):
        Device.of("cudda")
    with pytest.raises(UnknownName, match="unknown device 'cuda:x'"):
        Device.of("cuda:x")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceUnavailable, match="no cuda device can be used"):
            Device.of("cuda")


def test_what_does_not_fit_the_memory_is_named():
    with (
        pytest.raises(OutOfMemory, match="a batch does not fit the memory of cpu"),
        Device("cpu").guarding_memory("a batch"),
    ):
        torch.empty(1 << 60)
    with pytest.raises(RuntimeError, match="other"), Device("cpu").guarding_memory("a batch"):
        raise RuntimeError("another: other")
