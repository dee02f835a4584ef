"""Device slots, each held by one session of a machine at a time, and ports that engines can have."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self

from pytest_msprof.errors import ConfigurationError, ServiceError

__all__ = ["Slot", "acquire_any", "free_port", "lock_file", "parse_devices", "take_lock"]

RANGE = re.compile(r"(\d+)-(\d+)")
DEVICE = re.compile(r"\d+|(?:GPU|MIG)-[\w./-]+")
PAUSE = 0.05
"""Seconds between two attempts: a file lock cannot be waited for with a deadline."""
FIRST_PORT = 20_000
"""Ray's workers take the ports below."""
USUAL_EPHEMERAL = 32_768


def parse_devices(text: str) -> tuple[tuple[str, ...], ...]:
    """Read `0,1` as two slots of one device, `0-1,2-3` as two slots of two; nothing is one slot without."""
    if not text.strip():
        return ((),)
    slots = tuple(_devices(part.strip(), text) for part in text.split(","))
    devices = [device for slot in slots for device in slot]
    if twice := sorted({device for device in devices if devices.count(device) > 1}):
        raise ConfigurationError(f"devices {text!r} name {', '.join(twice)} in two slots; a device belongs to one")
    return slots


def _devices(part: str, text: str) -> tuple[str, ...]:
    if match := RANGE.fullmatch(part):
        first, last = int(match[1]), int(match[2])
        if first <= last:
            return tuple(str(device) for device in range(first, last + 1))
    elif DEVICE.fullmatch(part):
        return (part,)
    raise ConfigurationError(f"devices {text!r}: {part!r} is neither a device, as 0, nor a range of them, as 0-1")


class Slot:
    """Some devices that one engine has for itself, on the whole machine.

    The locks belong to the process that took them and fall with it, however it ends. Slots of
    different sessions exclude each other where they share a device; the slot without devices,
    whose engine may take any, excludes all.
    """

    def __init__(self, devices: tuple[str, ...] = (), *, folder: Path | None = None) -> None:
        self.devices = devices
        self._folder = folder or _shared_folder()
        self._held: list[int] = []

    @property
    def held(self) -> bool:
        """Whether this object holds the devices."""
        return bool(self._held)

    def acquire(self, timeout: float | None = None) -> bool:
        """Take the devices, waiting at most *timeout* seconds; False when others still have them."""
        return _first_free((self,), timeout) is not None

    def release(self) -> None:
        """Give the devices back."""
        while self._held:
            os.close(self._held.pop())

    def holder(self) -> int | None:
        """Return the process id that last took one of the devices, None where nobody did."""
        for path, _ in self._locks():
            with contextlib.suppress(OSError, ValueError):
                return int(path.read_text())
        return None

    def try_acquire(self) -> bool:
        """Take the devices if nobody has them."""
        if self.held:
            return True
        try:
            for path, mode in self._locks():
                self._held.append(_locked(path, mode))
        except BlockingIOError:
            self.release()
        return self.held

    def _locks(self) -> list[tuple[Path, int]]:
        """Return one lock a device, and the machine's, which they share and the slot without devices does not."""
        machine = self._folder / "slot-machine.lock"
        if not self.devices:
            return [(machine, fcntl.LOCK_EX)]
        names = sorted(re.sub(r"[^\w-]", "_", device) for device in self.devices)
        return [(machine, fcntl.LOCK_SH), *((self._folder / f"slot-{name}.lock", fcntl.LOCK_EX) for name in names)]

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"Slot({','.join(self.devices) or 'machine'})"


def acquire_any(slots: Sequence[Slot], timeout: float | None = None) -> Slot:
    """Take the first of *slots* that becomes free.

    Raises `ServiceError` when *timeout* seconds passed and others still have them all.
    """
    slot = _first_free(slots, timeout)
    if slot is None:
        names = ", ".join(f"{slot} (process {slot.holder()})" for slot in slots)
        raise ServiceError(f"no device slot became free within {timeout:g} s; taken: {names}", failure="timeout")
    return slot


def _first_free(
    slots: Sequence[Slot], timeout: float | None, *, clock: Callable[[], float] = time.monotonic
) -> Slot | None:
    deadline = None if timeout is None else clock() + timeout
    while True:
        for slot in slots:
            if slot.try_acquire():
                return slot
        left = PAUSE if deadline is None else min(PAUSE, deadline - clock())
        if left <= 0:
            return None
        time.sleep(left)


def _locked(path: Path, mode: int) -> int:
    """Return a descriptor that holds the lock on *path*; raises BlockingIOError when another does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        if mode == fcntl.LOCK_EX:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d" % os.getpid(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def take_lock(file: IO[Any]) -> bool:
    """Lock *file* until it is closed, and say whether that was possible at once: nobody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_file(name: str) -> Path:
    """Return where all our sessions on this machine find the lock *name*."""
    return _shared_folder() / name


def _shared_folder() -> Path:
    """Return the folder that all our sessions on this machine share, whatever their TMPDIR."""
    folder = Path(f"/tmp/pytest-msprof-{os.getuid()}")  # noqa: S108 - checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ConfigurationError(f"{folder} belongs to another user: device slots cannot be locked; remove it")
    return folder


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on.

    It lies below the ephemeral range: an engine takes up to a minute to bind it, and until then
    no outgoing connection of anybody gets it by chance.
    """
    last = _first_ephemeral() - 1
    if last - FIRST_PORT < 1000:  # noqa: PLR2004 - too few to choose from
        return _bindable(0) or 0
    while True:
        if port := _bindable(FIRST_PORT + secrets.randbelow(last - FIRST_PORT)):
            return port


def _bindable(port: int) -> int | None:
    with socket.socket() as listener, contextlib.suppress(OSError):
        listener.bind(("127.0.0.1", port))
        return int(listener.getsockname()[1])
    return None


def _first_ephemeral() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return USUAL_EPHEMERAL
