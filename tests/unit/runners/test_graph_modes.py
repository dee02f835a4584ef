"""Which compiler a mode means, by device; torch is not needed to know."""

from __future__ import annotations

import pytest

from msprof_runners.devices import Device
from msprof_runners.graphs import compiler_for
from msprof_runners.profiling import schedule_for
from pytest_msprof.errors import ConfigurationError


@pytest.mark.parametrize(
    ("mode", "kind", "name"),
    [
        ("ge_graph", "npu", "torchair"),
        ("ge_graph", "cuda", "inductor"),
        ("ge_graph", "cpu", "inductor"),
        ("acl_graph", "npu", "npugraph_ex"),
        ("acl_graph", "cuda", "cudagraphs"),
    ],
)
def test_each_mode_has_its_compiler_on_each_device(mode, kind, name):
    found = compiler_for(mode, Device(kind))
    assert (found.name, found.note) == (name, "")


def test_a_mode_that_the_processor_does_not_have_is_refused_or_replaced_and_said():
    with pytest.raises(ConfigurationError, match="'acl_graph' needs an NPU or CUDA, but the device is cpu"):
        compiler_for("acl_graph", Device("cpu"))
    found = compiler_for("acl_graph", Device("cpu"), substitute=True)
    assert found.name == "inductor"
    assert "acl_graph was replaced by ge_graph" in found.note


def test_devices_have_a_name_and_a_way_to_talk():
    assert [Device(kind, 1).name for kind in ("cpu", "cuda", "npu")] == ["cpu", "cuda:1", "npu:1"]
    assert [Device(kind).backend for kind in ("cpu", "cuda", "npu")] == ["gloo", "nccl", "hccl"]


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11, 12, 13, 100])
def test_a_profile_records_steps_of_a_pass_of_any_length(steps):
    schedule = schedule_for(steps)
    assert 1 <= schedule.record <= 10
    assert sum(schedule) == steps
