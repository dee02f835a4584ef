"""A session counts the devices of a slot, and does not guess at accelerators that nobody named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_msprof.program import LaunchContext
from pytest_msprof.session import MsprofSession


@pytest.mark.parametrize(
    ("named", "elsewhere", "device", "count"),
    [
        ((), False, "cpu: AMD EPYC", 1),
        (("0",), False, "NVIDIA H200", 1),
        (("0", "1"), False, "NVIDIA H200", 2),
        (("0", "1"), False, "cpu: AMD EPYC", 2),
        ((), False, "NVIDIA H200", 0),
        ((), True, "elsewhere", 0),
        (("0", "1"), True, "elsewhere", 2),
    ],
)
def test_devices_are_those_of_the_slot_and_a_processor_is_one(named, elsewhere, device, count):
    url = "http://10.0.0.1:8000" if elsewhere else None
    context = LaunchContext(launcher=None, folder=Path(), base_url=url, devices=() if elsewhere else named)
    service = SimpleNamespace(simulator=SimpleNamespace(context=context))
    session = SimpleNamespace(options=SimpleNamespace(base_url=url, devices=(named,)), device=device)

    assert MsprofSession.devices_of(session, service) == count
