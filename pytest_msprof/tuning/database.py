"""Studies in a database, where several machines can work on them; what PostgreSQL adds to that."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_msprof.errors import ConfigurationError, StoreError
from pytest_msprof.ids import digest
from pytest_msprof.json_files import check_schema
from pytest_msprof.redaction import redact
from pytest_msprof.results import Value
from pytest_msprof.slots import lock_file
from pytest_msprof.tuning import leases
from pytest_msprof.tuning.patience import SECONDS, Patience, is_locked, patient
from pytest_msprof.tuning.storage import SCHEMA_VERSION, turn

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["Database"]

BEAT = 2.0
"""Seconds between two looks whether the own lock is still held."""
TO_COME_BACK = 4 * BEAT
"""Seconds within which others hold theirs again, too."""
FIRST_SCHEMA = 1
"""Schema version of studies in databases of before they said one."""
LOCK_DIGITS = 15
"""Hexadecimal digits of a lock's number: PostgreSQL's are signed numbers of 64 bits."""


class Database:
    """Studies in an Optuna storage by URL, such as `postgresql://host/studies`.

    With PostgreSQL, processes on all machines take turns, and each holds a lock of the server's
    while it lives: so a machine that died or lost its network keeps no trial. A database that is gone,
    locked or full for less than *patience* seconds (30) is waited for, then there is a `StoreError`. Raises
    `ConfigurationError` for a database that cannot be opened, unless another process has locked it.
    """

    def __init__(self, url: str, *, patience: float | None = None) -> None:
        waiting = Patience(url, patience)
        is_server = url.partition("://")[0].partition("+")[0] == "postgresql"
        self._server = _Server(url, waiting) if is_server else None
        with self._server.turn("open") if self._server else nullcontext():
            self._storage = patient(_connected(url, waiting), waiting)
        self._url = redact(url)
        if self._server:
            self._server.hold(leases.my_lease()["token"])

    def names(self) -> list[str]:
        """Return the names of all studies, sorted."""
        return sorted(study.study_name for study in self._storage.get_all_studies())

    def facts(self, name: str) -> dict[str, Value]:
        """Return what the study's key depends on; raises `SchemaTooNew` where a newer version wrote it."""
        found = {"schema_version": FIRST_SCHEMA, **self._attributes(name)}
        check_schema(f"the study {name!r} in {self._url}", found, SCHEMA_VERSION)
        return dict(found.get("facts", {}))

    def order(self, name: str) -> int:
        """Return the place of the study among those of its name, 0 where an earlier version kept none."""
        return int(self._attributes(name).get("order", 0))

    def _attributes(self, name: str) -> dict[str, Any]:
        return self._storage.get_study_user_attrs(self._storage.get_study_id_from_name(name))

    def add(self, name: str, identity: Mapping[str, Value]) -> None:
        """Leave it to the study, whose attributes hold its identity."""

    def storage(self, name: str) -> BaseStorage:  # noqa: ARG002 - the signature of a shelf
        """Return the storage of them all."""
        return self._storage

    def turn(self, name: str) -> Callable[[], AbstractContextManager[None]]:
        """Return how to exclude other processes: on all machines with PostgreSQL, else on this one."""
        if self._server:
            return partial(self._server.turn, name)
        return partial(turn, lock_file(f"study-{digest([self._url, name])}.lock"))

    @property
    def sees_others(self) -> bool:
        """Whether it knows which processes of other machines live."""
        return self._server is not None

    def is_alive(self, lease: Mapping[str, Any] | None) -> bool:
        """Say whether the holder of *lease* still runs."""
        if self._server is None or not lease or "token" not in lease or lease == leases.my_lease():
            return leases.is_alive(lease)
        return (leases.is_here(lease) and leases.is_alive(lease)) or self._server.is_held(lease["token"])


class _Server:
    """A PostgreSQL server as a keeper of locks, which it frees when their connection ends."""

    def __init__(self, url: str, patience: Patience) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        with _explained(url):
            self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
            self._engine.connect().close()
        self._patience = patience
        self._token: int | None = None
        self._came_back = -math.inf
        """When this process had to take its lock anew, since the server had been gone."""

    def hold(self, token: int) -> None:
        """Hold the lock *token* for as long as this process lives, whether the server goes in between or not."""
        is_held = threading.Event()
        threading.Thread(target=self._hold, args=(token, is_held), daemon=True).start()
        is_held.wait(SECONDS)

    def is_held(self, token: int) -> bool:
        """Say whether anybody holds the lock *token*; after the server was gone, others may be about to."""
        free = "SELECT pg_try_advisory_lock(:key)"
        with self._locked(free, token) as (connection, is_free):  # its end frees what it got
            was_gone = self._token is not None and _value(connection, free, self._token)
            return not is_free or was_gone or time.monotonic() - self._came_back < TO_COME_BACK

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Exclude every other process that takes a turn at *name*."""
        with self._locked("SELECT pg_advisory_lock(:key)", _number(name)):
            yield

    @contextmanager
    def _locked(self, statement: str, key: int) -> Iterator[tuple[Any, Any]]:
        """Give a connection that asked for a lock, and the answer."""
        connection, answer = self._patience(partial(self._asked, statement, key))
        try:
            yield connection, answer
        finally:
            connection.close()

    def _asked(self, statement: str, key: int) -> tuple[Any, Any]:
        connection = self._engine.connect()
        try:
            return connection, _value(connection, statement, key)
        except BaseException:
            connection.close()
            raise

    def _hold(self, token: int, is_held: threading.Event) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        while True:
            try:
                with self._engine.connect() as connection:
                    _value(connection, "SELECT pg_advisory_lock_shared(:key)", token)
                    if is_held.is_set():
                        self._came_back = time.monotonic()
                    self._token = token
                    is_held.set()
                    while True:
                        time.sleep(BEAT)
                        _value(connection, "SELECT :key", token)
            except SQLAlchemyError:
                time.sleep(BEAT)


def _value(connection: Any, statement: str, key: int) -> Any:
    from sqlalchemy import text

    return connection.execute(text(statement), {"key": key}).scalar()


def _number(name: str) -> int:
    return int(digest(f"pytest-msprof {name}")[:LOCK_DIGITS], 16)


def _connected(url: str, patience: Patience) -> BaseStorage:
    from optuna.storages import get_storage

    with _explained(url):
        return patience(partial(get_storage, url), only=is_locked)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what goes wrong while a database is opened into one line with what to do."""
    try:
        yield
    except StoreError:
        raise
    except ImportError as error:
        cause = error.__cause__ or error.__context__ or error
        module = getattr(cause, "name", None) or "its driver"
        advice = f"{cause}; install {module}, or name a driver that is installed, as in mysql+pymysql://"
    except Exception as error:  # noqa: BLE001 - SQLAlchemy and each driver have errors of their own
        said = redact(str(error).partition("\n")[0])
        advice = f"{said}; possible are sqlite:///FILE, and postgresql:// or mysql:// with a driver installed"
    else:
        return
    raise ConfigurationError(f"the storage {redact(url)!r} of --msprof-study cannot be opened: {advice}")
