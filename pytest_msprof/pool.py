"""The service pool: at most one live engine a device slot, kept warm between leases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_msprof.errors import LoadError, ServiceError
from pytest_msprof.ids import digest
from pytest_msprof.results import Value
from pytest_msprof.service import Service
from pytest_msprof.slots import Slot, acquire_any

__all__ = ["LeaseKey", "ServicePool"]


SILENCE = 2.0
"""Seconds of waiting for a slot before the user is told."""


@dataclass(frozen=True, slots=True)
class LeaseKey:
    """What must be equal for a running engine to serve the next lease."""

    engine: str
    model: str
    fields_digest: str
    round: str
    """Fresh launches are asked for by another round: the repeat, or the confirmation."""

    @classmethod
    def of(cls, engine: str, model: str | None, fields: Mapping[str, Value], round_: str) -> LeaseKey:
        """Make one from the server-side *fields*."""
        return cls(engine, model or "", digest(dict(fields)), round_)


class ServicePool:
    """Hands out leases on services; starting and stopping engines is its business alone."""

    def __init__(self, slots: Sequence[Slot], *, on_wait: Callable[[str], None] = lambda _who: None) -> None:
        self._slots = tuple(slots)
        self._on_wait = on_wait
        self._slot: Slot | None = None
        self._key: LeaseKey | None = None
        self._service: Service | None = None
        self.starts = 0
        """Engines started so far."""

    @contextmanager
    def lease(
        self, key: LeaseKey, start: Callable[[Slot], Service], fits: Callable[[Service], bool] = lambda _service: True
    ) -> Iterator[Service]:
        """Lend a service: the running one when *key* is equal and it *fits*, else a new one from *start*.

        Leaving returns the lease and keeps the engine. An engine that died, failed or left its
        load unanswered is stopped, so that nobody inherits it; a death nobody noticed is raised
        as `ServiceExited`.
        """
        service = self._fitting(key, fits) or self._start(key, start)
        try:
            yield service
            service.check()
        except (ServiceError, LoadError):
            self.stop()
            raise
        finally:
            if service.is_loaded:
                self.stop()

    def _fitting(self, key: LeaseKey, fits: Callable[[Service], bool]) -> Service | None:
        service = self._running(key)
        try:
            return service if service is not None and fits(service) else None
        except (ServiceError, OSError):
            self.stop()
            raise

    def _running(self, key: LeaseKey) -> Service | None:
        if self._service is None or key != self._key:
            return None
        process = self._service.process
        return self._service if process is None or process.poll() is None else None

    def _start(self, key: LeaseKey, start: Callable[[Slot], Service]) -> Service:
        self.stop()
        slot = self._slot = self._slot or self._acquired()
        self.starts += 1
        self._service = start(slot)
        self._key = key
        return self._service

    def hold(self) -> None:
        """Take a slot for what runs in this process; an engine that had it is stopped."""
        self.stop()
        self._slot = self._slot or self._acquired()

    def _acquired(self) -> Slot:
        """Wait for a slot as long as it takes, but not in silence."""
        try:
            return acquire_any(self._slots, timeout=SILENCE)
        except ServiceError:
            holders = ", ".join(f"{slot} (held by process {slot.holder()})" for slot in self._slots)
            self._on_wait(f"waiting for a device slot: {holders}")
            return acquire_any(self._slots)

    def stop(self) -> None:
        """End the running engine, keep the slot."""
        service, self._service, self._key = self._service, None, None
        if service is not None:
            service.stop()

    def close(self) -> None:
        """End the running engine and free the slot for others."""
        self.stop()
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.release()
