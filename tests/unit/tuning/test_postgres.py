"""Studies on a real PostgreSQL server: machines join in, take turns, and lose what they hold when they die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from measured import IDENTITY, make_plan, make_run

from pytest_msprof import SearchSpace, integers
from pytest_msprof.errors import ConfigurationError, StoreError
from pytest_msprof.ids import new_id
from pytest_msprof.slots import free_port
from pytest_msprof.tuning.database import Database
from pytest_msprof.tuning.opening import open_study
from pytest_msprof.tuning.study import Exhausted, TuneStudy

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
SPACE = SearchSpace(integers("size", 1, 40), default={"size": 1})
ELSEWHERE = """
import platform, signal, sys
platform.node = lambda: "another-machine"
sys.path.insert(0, sys.argv[2])
from test_postgres import opened
from measured import make_run
from pytest_msprof.tuning.study import Spent
study = opened(sys.argv[1], n_trials=int(sys.argv[5]))
for _ in range(int(sys.argv[3])):
    try:
        proposal = study.ask()
    except Spent:
        break
    print(study.name, proposal.fields["size"], flush=True)
    if sys.argv[4] == "stay":
        signal.pause()
    study.tell(proposal, make_run(1.0))
"""


class Server(NamedTuple):
    """A PostgreSQL server on a socket of its own."""

    url: str
    control: list[str]
    options: list[str]

    def start(self, *, after: float = 0) -> subprocess.Popen[bytes]:
        """Start it, in so many seconds."""
        command = ["sh", "-c", f'sleep {after}; exec "$@"', "sh", *self.control, *self.options, "start"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        """End it and every connection."""
        subprocess.run([*self.control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Start a PostgreSQL server."""
    pytest.importorskip("psycopg")
    if PROGRAMS is None:
        pytest.skip("no PostgreSQL server is installed (Debian's package: postgresql)")
    with TemporaryDirectory(prefix="postgres") as folder:
        yield from _running(Path(folder), PROGRAMS)


def _running(folder: Path, programs: Path) -> Iterator[Server]:
    as_user = []
    if os.geteuid() == 0:  # the server refuses to run as root, whose folders nobody else may enter
        as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        shutil.chown(folder, "postgres")
    data, port = folder / "data", free_port()
    options = f"-p {port} -k {folder} -c listen_addresses= -c fsync=off"
    initdb = [str(programs / "initdb"), "-A", "trust", "-U", "msprof", "-D", str(data)]
    control = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w"]
    subprocess.run([*as_user, *initdb], check=True, capture_output=True)
    url = f"postgresql+psycopg://msprof@/postgres?host={folder}&port={port}"
    server = Server(url, control, ["-l", str(folder / "log"), "-o", options])
    assert server.start().wait() == 0
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database."""
    from sqlalchemy import create_engine, text

    name = f"test{abs(hash(request.node.name))}"
    engine = create_engine(server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.url.replace("/postgres?", f"/{name}?")


def opened(url: str, patience: float | None = None, **values: object) -> TuneStudy:
    plan = make_plan(SPACE, **{"n_trials": 40, **values})
    return open_study(Database(url, patience=patience), IDENTITY, plan, session_id=new_id(), explicit=url)[0]


def elsewhere(url: str, trials: int, then: str = "go", n_trials: int = 40) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ELSEWHERE, url, str(Path(__file__).parent), str(trials), then, str(n_trials)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_machines_that_begin_at_once_share_one_study_and_measure_nothing_twice(url):
    others = [elsewhere(url, 5) for _ in range(2)]
    study = opened(url)
    own = []
    for _ in range(5):
        proposal = study.ask()
        study.tell(proposal, make_run(1.0))
        own.append(proposal.fields["size"])

    lines = [line.split() for other in others for line in other.communicate()[0].splitlines()]
    sizes = own + [int(size) for _, size in lines]

    assert {name for name, _ in lines} == {study.name}
    assert len(sizes) == len(set(sizes)) == 15
    assert len(study.records()) == 15


def test_machines_that_race_measure_no_more_than_the_plan_asks_for(url):
    others = [elsewhere(url, 9, n_trials=9) for _ in range(2)]

    lines = [line for other in others for line in other.communicate()[0].splitlines()]

    assert [other.returncode for other in others] == [0, 0]
    assert len(lines) == 9
    assert len(opened(url, n_trials=9).records()) == 9


def test_a_machine_that_died_gives_its_trial_back(url):
    other = elsewhere(url, 1, "stay")
    assert other.stdout is not None
    name, size = other.stdout.readline().split()
    while_it_lives = opened(url)
    assert while_it_lives.name == name
    assert while_it_lives.is_busy()

    other.send_signal(signal.SIGKILL)
    other.wait()

    afterwards = opened(url)
    assert not afterwards.is_busy()
    assert afterwards.ask().fields["size"] == int(size)
    other.stdout.close()


def test_a_study_of_a_walk_goes_on_where_another_machine_left_it(url):
    first, second = opened(url, search="manual"), opened(url, search="manual")

    sizes = []
    for study in (first, second) * 20:
        proposal = study.ask()
        study.tell(proposal, make_run(1.0))
        sizes.append(proposal.fields["size"])

    assert sizes == list(range(1, 41))
    assert first.is_spent()
    with pytest.raises(Exhausted):
        second.ask()


def test_a_server_that_comes_back_is_waited_for_and_nobody_lost_a_trial(server, url):
    other = elsewhere(url, 1, "stay")
    assert other.stdout is not None
    other.stdout.readline()
    study = opened(url)
    proposal = study.ask()

    server.stop()
    starting = server.start(after=1)
    study.tell(proposal, make_run(1.0))
    following = study.ask()

    assert starting.wait() == 0
    assert [record.fields for record in study.records()] == [proposal.fields]
    assert study.is_busy()
    assert following.number not in (0, proposal.number)
    other.kill()
    other.communicate()


def test_a_server_that_is_gone_for_good_is_one_sentence_and_costs_what_was_not_told(server, url):
    study = opened(url, patience=0.5)
    told = study.ask()
    study.tell(told, make_run(1.0))
    lost = study.ask()
    server.stop()

    sentence = r"database 'postgresql.*' cannot be used for 0\.5 s: .*; what was measured so far is kept"
    with pytest.raises(StoreError, match=sentence) as raised:
        study.tell(lost, make_run(1.0))
    with pytest.raises(StoreError, match=sentence):
        study.ask()

    assert "\n" not in str(raised.value)
    assert server.start().wait() == 0
    assert [record.number for record in study.records()] == [told.number]


def test_a_server_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot be opened: .*connection") as raised:
        Database(f"postgresql+psycopg://me:secret99@/x?host={tmp_path}&port=1")

    assert "\n" not in str(raised.value)
    assert "secret99" not in str(raised.value)
