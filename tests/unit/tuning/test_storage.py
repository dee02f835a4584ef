"""A journal survives what a killed writer left in it."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DataError

from pytest_msprof.errors import ConfigurationError, SchemaTooNew, StoreError
from pytest_msprof.tuning import storage
from pytest_msprof.tuning.database import Database
from pytest_msprof.tuning.patience import Patience
from pytest_msprof.tuning.storage import Journals, open_journal, turn


def note(path: Path, name: str) -> optuna.Study:
    study = optuna.create_study(storage=open_journal(path), study_name="s", load_if_exists=True)
    study.set_user_attr(name, 1)
    return study


@pytest.mark.parametrize("torn", [b'{"op', b"\x00" * 5000, b"x" * 9000])
def test_what_is_appended_after_a_torn_line_is_kept(tmp_path, torn):
    path = tmp_path / "s.journal"
    note(path, "before")
    with path.open("ab") as file:
        file.write(torn)

    note(path, "after")

    assert note(path, "later").user_attrs == {"before": 1, "after": 1, "later": 1}


def test_an_empty_or_absent_journal_is_a_new_one(tmp_path):
    (tmp_path / "empty.journal").touch()

    for name in ("empty", "absent", "folder/absent"):
        assert note(tmp_path / f"{name}.journal", "x").user_attrs == {"x": 1}


def test_a_journal_that_is_one_torn_line_is_emptied(tmp_path):
    (tmp_path / "s.journal").write_bytes(b'{"op_code": 0')

    assert note(tmp_path / "s.journal", "x").user_attrs == {"x": 1}


def test_the_identity_of_a_study_lies_beside_its_journal(tmp_path):
    shelf = Journals(tmp_path)
    shelf.add("b", {"schema_version": 1, "facts": {"seed": 2}})
    shelf.add("a", {"schema_version": 1, "facts": {"seed": 1}})

    assert shelf.names() == ["a", "b"]
    assert shelf.facts("b") == {"seed": 2}


@pytest.mark.parametrize("garbage", [b"garbage\n", b"\xff\xfe\n", b"{}}\n"])
def test_a_journal_that_is_damaged_in_the_middle_is_named_with_the_line_and_what_to_do(tmp_path, garbage):
    path = tmp_path / "s.journal"
    note(path, "before")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:1], garbage, *lines[1:]]))

    with pytest.raises(StoreError, match=rf"{path} is damaged in line 2: .*; put back a copy of it, or move it"):
        note(path, "after")

    path.rename(tmp_path / "away")
    assert note(path, "anew").user_attrs == {"anew": 1}


def test_an_identity_that_is_newer_or_damaged_is_named(tmp_path):
    shelf = Journals(tmp_path)
    shelf.add("newer", {"schema_version": 99, "facts": {}})
    (tmp_path / "damaged.json").write_text("{")

    with pytest.raises(SchemaTooNew, match=r"newer\.json has schema version 99"):
        shelf.facts("newer")
    with pytest.raises(StoreError, match=r"damaged\.json"):
        shelf.facts("damaged")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("foo://user:hunter22@host/db", r"'foo://user:\*\*\*@host/db' .* cannot be opened: .*foo; possible are sqlite"),
        ("oracle://user:hunter22@host/db", r"'oracle://user:\*\*\*@host/db' .* cannot be opened: .*; install \w+"),
        ("sqlite:////nowhere/studies.db", "cannot be opened: .*unable to open database file;"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_line_with_what_to_do(url, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        Database(url)

    assert "hunter22" not in str(raised.value)
    assert "\n" not in str(raised.value)


def _opened(kind: type[Journals | Database], folder: Path) -> Journals | Database:
    return Journals(folder) if kind is Journals else Database(f"sqlite:///{folder}/studies.db")


def _enter(kind: type[Journals | Database], folder: Path, pipe: multiprocessing.connection.Connection) -> None:
    pipe.send("waiting")
    with _opened(kind, folder).turn("s")():
        pipe.send("entered")


@pytest.mark.parametrize("kind", [Journals, Database])
def test_a_turn_excludes_other_processes_until_it_ends(tmp_path, kind):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=_enter, args=(kind, tmp_path, there))
    with _opened(kind, tmp_path).turn("s")():
        other.start()
        assert here.recv() == "waiting"
        assert not here.poll(0.1)
    assert here.recv() == "entered"
    other.join()


FULL = """
import resource, sys
from pathlib import Path

import optuna

from pytest_msprof.errors import StoreError
from pytest_msprof.tuning.storage import open_journal

path = Path(sys.argv[1])
study = optuna.create_study(study_name="s", storage=open_journal(path))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 600, hard))
kept = []
try:
    for number in range(100):
        study.set_user_attr(f"a{number}", number)
        kept.append(f"a{number}")
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
study.set_user_attr("afterwards", True)
print(*kept)
"""


def test_a_disk_that_is_full_is_one_sentence_and_costs_no_record(tmp_path):
    path = tmp_path / "study.journal"

    said = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True).stdout

    sentence, kept = said.splitlines()
    assert sentence.startswith(f"the study's journal {path} cannot be written: File too large; what was measured")
    found = optuna.load_study(study_name="s", storage=open_journal(path)).user_attrs
    assert sorted(found) == sorted([*kept.split(), "afterwards"])
    assert 0 < len(kept.split()) < 100


def test_a_lock_whose_holder_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE", 0.05)
    path = tmp_path / "study.journal"
    with turn(tmp_path / "study.lock"), pytest.raises(StoreError, match=r"study\.lock has been held by another"):
        open_journal(path)

    assert open_journal(path)


def test_a_folder_that_takes_no_file_is_named(tmp_path):
    (tmp_path / "study.lock").mkdir()

    with pytest.raises(StoreError, match=r"study\.lock cannot be opened: Is a directory"):
        open_journal(tmp_path / "study.journal")


def test_a_database_that_is_locked_is_waited_for_and_then_named(tmp_path):
    url = f"sqlite:///{tmp_path}/studies.db?timeout=0.05"
    hasty = optuna.create_study(storage=Database(url, patience=0.3).storage("s"), study_name="s")
    patient = optuna.load_study(storage=Database(url).storage("s"), study_name="s")
    other = sqlite3.connect(tmp_path / "studies.db", isolation_level=None, check_same_thread=False)

    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match=r"cannot be used for 0\.3 s: database is locked; what was measured"):
        hasty.set_user_attr("one", 1)
    freed = threading.Timer(0.3, other.rollback)
    freed.start()
    patient.set_user_attr("two", 2)
    freed.join()
    other.close()

    assert hasty.user_attrs == {"two": 2}


def test_a_database_that_is_locked_while_it_is_opened_is_waited_for_and_then_named(tmp_path):
    url = f"sqlite:///{tmp_path}/studies.db?timeout=0.05"
    Database(url)
    other = sqlite3.connect(tmp_path / "studies.db", isolation_level=None, check_same_thread=False)

    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match=r"studies\.db.*' cannot be used for 0\.3 s: database is locked; what was"):
        Database(url, patience=0.3)
    freed = threading.Timer(0.3, other.rollback)
    freed.start()
    found = Database(url).names()
    freed.join()
    other.close()

    assert found == []


def test_what_no_waiting_mends_is_said_at_once():
    calls = []

    def refused():
        calls.append(1)
        raise StorageInternalError from DataError("INSERT", {}, ValueError("value too long\nfor its column"))

    with pytest.raises(StoreError, match=r"database 'sqlite://' cannot be used: value too long; what was measured"):
        Patience("sqlite://")(refused)
    with pytest.raises(ZeroDivisionError):
        Patience("sqlite://")(lambda: 1 / 0)

    assert calls == [1]
