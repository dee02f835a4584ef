"""Whoever waits for another session is told so."""

from __future__ import annotations

import pytest
from fake_project import PATIENCE, REGRESSION

from pytest_msprof.slots import Slot


def test_waiting_for_a_device_slot_is_said_at_once(project):
    project.suite(REGRESSION)
    with Slot(folder=project.path.parent / f"{project.path.name}-locks"), project.running() as process:
        assert any("msprof: waiting for a device slot" in line for line in process.stdout)
    with project.running() as process:
        process.communicate(timeout=PATIENCE)
        assert process.returncode == pytest.ExitCode.OK
