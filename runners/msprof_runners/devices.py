"""The device a model runs on: processor, CUDA or Ascend NPU, behind one small face."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pytest_msprof.errors import DeviceUnavailable, OutOfMemory, UnknownName
from pytest_msprof.hardware import hardware

__all__ = ["BACKENDS", "Device"]

BACKENDS = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl"}
"""Kind of device → library by which its processes talk."""
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
"""How torch says so where the error has no class of its own."""
FRACTAL_NZ = 29
"""The number of that format in CANN's `aclFormat`."""
AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"
NOT_LOADED = (ImportError, OSError, RuntimeError, AttributeError)
"""What `import torch_npu` raises where CANN is missing or of another version."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device of this process."""

    kind: str
    """cpu, cuda or npu."""
    index: int = 0

    @classmethod
    def of(cls, name: str, *, rank: int = 0) -> Device:
        """Find the device that *name* means; without an index it is that of the process *rank* of this machine.

        Raises `UnknownName` for another kind, and `DeviceUnavailable` where it cannot be used. An NPU
        must be asked for by name: only then its software is loaded.
        """
        kind, colon, index = name.partition(":")
        if kind not in (*BACKENDS, "auto") or (colon and not re.fullmatch(r"\d+", index)):
            raise UnknownName("device", name, (*BACKENDS, "auto"))
        torch = _torch(kind)
        if kind == "auto":
            kind = "cuda" if torch.cuda.is_available() else "cpu"
        device = cls(kind, int(index) if colon else rank if kind != "cpu" else 0)
        device._check()
        return device

    @property
    def name(self) -> str:
        """How torch spells it: `cpu`, `cuda:0`."""
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    @property
    def backend(self) -> str:
        """The library by which processes on such devices talk."""
        return BACKENDS[self.kind]

    @property
    def product(self) -> str:
        """What the device is called in results: the processor, or the accelerator's product name."""
        if self.kind == "cpu":
            return f"cpu: {hardware()['processor']}"
        return str(self._module.get_device_name(self.index))

    def select(self) -> None:
        """Make it the device of this process."""
        if self.kind != "cpu":
            self._module.set_device(self.index)

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked; a processor has."""
        if self.kind != "cpu":
            self._module.synchronize(self.index)

    def reset_peak_memory(self) -> None:
        """Count the largest use of memory from now on."""
        if self.kind != "cpu":
            self._module.reset_peak_memory_stats(self.index)

    def peak_memory(self) -> int | None:
        """Return the largest use of the device's memory in bytes; a processor has none of its own."""
        return None if self.kind == "cpu" else int(self._module.max_memory_allocated(self.index))

    def release_memory(self) -> None:
        """Give back what torch keeps for later."""
        if self.kind != "cpu":
            self._module.empty_cache()

    def native_format(self, weight: Any) -> Any:
        """Return *weight* in the NPU's own format for matrix products (FRACTAL_NZ)."""
        import torch_npu

        return torch_npu.npu_format_cast(weight, FRACTAL_NZ)

    @contextmanager
    def guarding_memory(self, what: str) -> Iterator[None]:
        """Turn running out of memory inside the `with` into an `OutOfMemory` that says at what."""
        torch = _torch(self.kind)
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError) as error:
            self.release_memory()
            raise OutOfMemory(f"{what} does not fit the memory of {self.name}: {_first_line(error)}") from None
        except RuntimeError as error:
            if not any(words in str(error).lower() for words in OUT_OF_MEMORY):
                raise
            self.release_memory()
            raise OutOfMemory(f"{what} does not fit the memory of {self.name}: {_first_line(error)}") from None

    @property
    def _module(self) -> Any:
        """The part of torch that operates such a device."""
        import torch

        return torch.get_device_module(self.kind)

    def _check(self) -> None:
        if self.kind == "cpu":
            return
        if not self._module.is_available():
            raise DeviceUnavailable(f"no {self.kind} device can be used: torch sees none; possible: cpu")
        count = int(self._module.device_count())
        if self.index >= count:
            raise DeviceUnavailable(f"device {self.name} is not there: this machine has {count} of kind {self.kind}")


def _torch(kind: str) -> Any:
    """Import torch; without the NPU's software unless it is asked for, since that breaks where CANN is missing."""
    if kind != "npu" and "torch" not in sys.modules:
        os.environ.setdefault(AUTOLOAD, "0")
    elif kind == "npu":
        os.environ.setdefault(AUTOLOAD, "0")  # imported below, where its failure can be explained
    try:
        import torch
    except ImportError as error:
        raise DeviceUnavailable(
            f"a runner needs torch, which cannot be imported ({error}): pip install 'pytest-msprof[runners]'"
        ) from None
    if kind == "npu" and not hasattr(torch, "npu"):
        try:
            import torch_npu  # noqa: F401 - registers the device
        except NOT_LOADED as error:
            raise DeviceUnavailable(
                f"device 'npu' needs torch_npu and CANN, which cannot be loaded ({_first_line(error)}): "
                "pip install 'pytest-msprof[npu]', and source CANN's set_env.sh"
            ) from None
    return torch


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
