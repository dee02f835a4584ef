"""Device slots: one holder on a machine, freed by its end, and ports that are free."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pytest_msprof
from pytest_msprof.errors import ConfigurationError, ServiceError
from pytest_msprof.slots import Slot, acquire_any, free_port, parse_devices

HOLDER = """
import signal, sys
from pathlib import Path
from pytest_msprof.slots import Slot
slot = Slot(tuple(sys.argv[2:]), folder=Path(sys.argv[1]))
slot.acquire()
print("held", flush=True)
signal.pause()
"""


@contextmanager
def another_session(folder: Path, *devices: str) -> Iterator[subprocess.Popen[str]]:
    """A real process that holds a slot until the block ends or it is killed."""
    command = [sys.executable, "-c", HOLDER, str(folder), *devices]
    env = {**os.environ, "PYTHONPATH": str(Path(pytest_msprof.__file__).parents[1])}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("0", (("0",),)),
        ("0,1", (("0",), ("1",))),
        ("0-1,2-3", (("0", "1"), ("2", "3"))),
        (" 0-2 , 7 ", (("0", "1", "2"), ("7",))),
        ("GPU-8f6a-11,MIG-2", (("GPU-8f6a-11",), ("MIG-2",))),
        ("", ((),)),
    ],
)
def test_devices_are_read_as_slots(text: str, slots: tuple[tuple[str, ...], ...]) -> None:
    assert parse_devices(text) == slots


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "0,,1", "0;1", "0 1"])
def test_a_device_that_makes_no_sense_is_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a device"):
        parse_devices(text)


def test_a_device_cannot_be_in_two_slots() -> None:
    with pytest.raises(ConfigurationError, match="1 in two slots"):
        parse_devices("0-1,1-2")


def test_a_slot_has_one_holder(tmp_path: Path) -> None:
    with another_session(tmp_path, "0", "1"):
        assert not Slot(("0", "1"), folder=tmp_path).acquire(timeout=0)


def test_slots_that_share_a_device_exclude_each_other(tmp_path: Path) -> None:
    with another_session(tmp_path, "0", "1"):
        assert not Slot(("1", "2"), folder=tmp_path).acquire(timeout=0)


def test_slots_of_different_devices_are_held_side_by_side(tmp_path: Path) -> None:
    with another_session(tmp_path, "0", "1"):
        assert Slot(("2", "3"), folder=tmp_path).acquire(timeout=0)


def test_a_slot_without_devices_has_the_machine_for_itself(tmp_path: Path) -> None:
    with another_session(tmp_path):
        assert not Slot(("0",), folder=tmp_path).acquire(timeout=0)
    with another_session(tmp_path, "0"):
        assert not Slot(folder=tmp_path).acquire(timeout=0)


def test_a_slot_that_could_not_be_had_keeps_none_of_its_devices(tmp_path: Path) -> None:
    with another_session(tmp_path, "1"):
        assert not Slot(("0", "1"), folder=tmp_path).acquire(timeout=0)
        assert Slot(("0",), folder=tmp_path).acquire(timeout=0)


def test_a_slot_is_freed_by_the_death_of_its_holder(tmp_path: Path) -> None:
    with another_session(tmp_path, "0") as session:
        session.send_signal(signal.SIGKILL)
        assert Slot(("0",), folder=tmp_path).acquire(timeout=30)


def test_a_released_slot_can_be_taken_again(tmp_path: Path) -> None:
    first, second = Slot(("0",), folder=tmp_path), Slot(("0",), folder=tmp_path)
    with first:
        assert first.held
        assert not second.acquire(timeout=0)
    assert second.acquire(timeout=0)


def test_an_engine_started_by_the_holder_does_not_inherit_the_slot(tmp_path: Path) -> None:
    slot = Slot(("0",), folder=tmp_path)
    with slot, subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        slot.release()
        assert Slot(("0",), folder=tmp_path).acquire(timeout=0)
        child.kill()


def test_the_first_free_slot_is_taken(tmp_path: Path) -> None:
    slots = [Slot((device,), folder=tmp_path) for device in "012"]
    with another_session(tmp_path, "0"):
        assert acquire_any(slots, timeout=0) is slots[1]


def test_a_slot_that_stays_taken_is_an_error_that_names_the_holder(tmp_path: Path) -> None:
    with another_session(tmp_path, "0") as session, pytest.raises(ServiceError) as caught:
        acquire_any([Slot(("0",), folder=tmp_path)], timeout=0)
    assert f"Slot(0) (process {session.pid})" in str(caught.value)


def test_slots_of_one_machine_meet_in_one_folder_whatever_tmpdir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert Slot(("0",))._folder == Path(f"/tmp/pytest-msprof-{os.getuid()}")


def test_a_free_port_can_be_listened_on_and_no_client_gets_it_by_chance() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        assert port < first or first < 21_000
