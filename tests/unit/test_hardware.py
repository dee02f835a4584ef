"""What an engine has for itself: how many accelerators of what kind, else how much of a processor's machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pytest_msprof import hardware

GPUS = """
0, GPU-8f1d2c34-aaaa, NVIDIA H200, 143771
1, GPU-9e2d2c34-bbbb, NVIDIA H200, 143771
2, GPU-7a3d2c34-cccc, NVIDIA GB10, [N/A]
"""
PARTS = """
GPU 0: NVIDIA H200 (UUID: GPU-8f1d2c34-aaaa)
  MIG 1g.18gb     Device  0: (UUID: MIG-1111)
  MIG 3g.71gb     Device  1: (UUID: MIG-2222)
"""
NPUS = """
    NPU ID    Chip ID    Chip Logic ID    Chip Name
    0         0          0                Ascend 910B3
    0         1          -                Mcu
    1         0          1                Ascend 910B3
"""
Program = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return how to install a program that prints something; nothing else is on the path."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    for name in hardware.VISIBLE:
        monkeypatch.delenv(name, raising=False)

    def install(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        forget()

    forget()
    return install


@pytest.fixture(autouse=True, scope="module")
def forget_afterwards():
    """What these tests made of this machine is no other test's."""
    yield
    forget()


def forget() -> None:
    for cached in (hardware.device_kind, hardware.slot_hardware, hardware.hardware):
        cached.cache_clear()


def gpus(program: Program) -> None:
    program(
        "nvidia-smi",
        f"""case "$1" in
        -L) echo '{PARTS}' ;;
        --query-gpu=name) echo 'NVIDIA H200' ;;
        *) echo '{GPUS.strip()}' ;;
        esac""",
    )


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (("0",), "1 × NVIDIA H200, 140 GiB"),
        (("0", "1"), "2 × NVIDIA H200, 140 GiB"),
        (("GPU-9e2d",), "1 × NVIDIA H200, 140 GiB"),
        (("1", "2"), "1 × NVIDIA GB10 and 1 × NVIDIA H200, 140 GiB"),
        (("MIG-2222",), "1 × NVIDIA H200, MIG 3g.71gb"),
        ((), "1 × NVIDIA GB10 and 2 × NVIDIA H200, 140 GiB"),
    ],
)
def test_accelerators_are_counted_by_their_kind(program, devices, said):
    gpus(program)

    assert hardware.slot_hardware(devices) == said
    assert hardware.device_kind() == "NVIDIA H200"


@pytest.mark.parametrize(("visible", "said"), [("1", "1 × NVIDIA H200, 140 GiB"), ("0,2", "1 × NVIDIA GB10 and 1 ×")])
def test_who_names_no_device_has_those_that_are_visible(program, monkeypatch, visible, said):
    gpus(program)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert hardware.slot_hardware().startswith(said)


@pytest.mark.parametrize("visible", ["", "-1"])
def test_who_may_see_no_accelerator_has_the_processor(program, monkeypatch, visible):
    gpus(program)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert hardware.slot_hardware().startswith("cpu: ")


def test_npus_are_counted(program):
    program("npu-smi", f"echo '{NPUS}'")

    assert hardware.slot_hardware() == "2 × Ascend 910B3"
    assert hardware.slot_hardware(("1",)) == "1 × Ascend 910B3"


def test_a_processor_is_known_by_cores_and_by_memory_that_a_reboot_does_not_change(monkeypatch):
    total = 16 * hardware.GIB
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    memory = psutil.virtual_memory()

    def said(size: int, devices: tuple[str, ...] = ()) -> str:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(total=size))
        forget()
        return hardware.slot_hardware(devices)

    assert said(total - 300_000_000).endswith(", 6 cores, 16 GiB")
    assert said(total - 300_000_000) == said(total - 310_000_000) == said(total, ("0",))
    assert said(total) != said(2 * total)
    assert said(total) != said(total, ("0", "1"))
