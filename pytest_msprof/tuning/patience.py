"""A database that may be gone for a while: calls are repeated until it is back, or nobody waits any longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pytest_msprof.errors import StoreError
from pytest_msprof.redaction import redact

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["Patience", "is_locked", "patient"]

Answer = TypeVar("Answer")
SECONDS = 30.0
"""How long a database may be gone: a server restarts within a few, and a locked file is soon free."""
PAUSE = 0.2
"""Seconds between two tries."""


class Patience:
    """Repeats what failed because the database was gone, locked or full, up to *seconds* (30) after the first try.

    Once that was too short, nobody waits again before the database has answered: a session whose
    database is gone for good ends soon.
    """

    def __init__(self, url: str, seconds: float | None = None) -> None:
        self._name, self._seconds = redact(url), SECONDS if seconds is None else seconds
        self._has_given_up = False

    def __call__(self, call: Callable[[], Answer], *, only: Callable[[Exception], bool] = lambda _: True) -> Answer:
        """Return what *call* returns; raises `StoreError` where the database does not come back, or refuses it.

        Of what a database says, *only* this is waited for; the rest is left to the caller as it came.
        """
        deadline = time.monotonic() + (0.0 if self._has_given_up else self._seconds)
        while True:
            try:
                answer = call()
            except Exception as error:
                if (cause := _of_database(error)) is None or not only(cause):
                    raise
                if not _may_pass(cause) or time.monotonic() >= deadline:
                    self._has_given_up = _may_pass(cause)
                    raise self._explained(cause) from None
                time.sleep(PAUSE)
            else:
                self._has_given_up = False
                return answer

    def _explained(self, cause: Exception) -> StoreError:
        said = redact(str(getattr(cause, "orig", None) or cause).strip().partition("\n")[0])
        waited = f" for {self._seconds:g} s" if _may_pass(cause) else ""
        return StoreError(
            f"the study's database {self._name!r} cannot be used{waited}: {said}; "
            "what was measured so far is kept, run again when it can"
        )


def patient(storage: BaseStorage, patience: Patience) -> BaseStorage:
    """Return *storage* whose every call is made with *patience*."""
    return cast("BaseStorage", _Patient(storage, patience))


class _Patient:
    """Stands for a storage of Optuna's, whose methods are many and may become more."""

    def __init__(self, storage: BaseStorage, patience: Patience) -> None:
        self._storage, self._patience = storage, patience

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        return partial(self._called, found) if callable(found) else found

    def _called(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return self._patience(partial(method, *arguments, **named))


def is_locked(cause: Exception) -> bool:
    """Say whether a database cannot be opened since another process has it for itself."""
    return "is locked" in str(cause)


def _of_database(error: Exception) -> Exception | None:
    """Return what a database's driver said, None where *error* came from elsewhere; Optuna wraps it in its own."""
    from sqlalchemy.exc import SQLAlchemyError

    found: BaseException | None = error
    while found is not None and not isinstance(found, SQLAlchemyError):
        found = found.__cause__
    return cast("Exception | None", found)


def _may_pass(cause: Exception) -> bool:
    """Say whether the same may succeed later: what is wrong is the database's state, not what it was told."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    is_gone = isinstance(cause, DBAPIError) and cause.connection_invalidated
    return is_gone or isinstance(cause, OperationalError | InterfaceError)
