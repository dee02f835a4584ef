"""The noise between launches is found among what this machine measured before, and never among what is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_samples import STARTED, launches

from pytest_msprof.cli import main
from pytest_msprof.comparison import FLOORS, Comparison, Tolerance, compare
from pytest_msprof.known_floors import KnownFloors
from pytest_msprof.results import Run
from pytest_msprof.store import RunStore

TOLERANCE = Tolerance({"output_throughput": 0.05})


def kept(
    store: RunStore, seed: int, *, session: str, throughput: float = 60, n: int = 4, **changes: object
) -> list[Run]:
    """Seal *n* launches of one session that scatter by 1 %."""
    found = []
    for number, run in enumerate(launches(throughput, 0.03, seed=seed, n=n, spread=0.01)):
        ids = {"id": f"{session}-{number}", "launch_id": f"{session}-{number}", "session_id": session}
        sealed = run.model_copy(update={**ids, **changes})
        store.seal(store.open(sealed.id), sealed)
        found.append(sealed)
    return found


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def judged(store: RunStore, current: list[Run], golden: list[Run]) -> Comparison:
    token = FLOORS.set(KnownFloors(store).find)
    try:
        return compare(current, golden, TOLERANCE)
    finally:
        FLOORS.reset(token)


def test_one_launch_a_side_has_a_verdict_where_four_were_measured_before(store: RunStore):
    golden = kept(store, 1, session="before")
    found = judged(store, kept(store, 2, session="now", n=1, throughput=40), golden[:1])
    assert found.verdict == "regressed"
    days = f"{STARTED:%Y-%m-%d}"
    assert found.gating[0].reason == f"by the noise between 4 launches that this machine measured earlier ({days})"


def test_the_launches_of_a_session_say_nothing_about_its_own_noise(store: RunStore):
    current = kept(store, 1, session="now")
    assert judged(store, current[:1], current[1:2]).verdict == "descriptive"


@pytest.mark.parametrize(
    "changes",
    [
        {"fields": {"dtype": "float32"}},
        {"workload_hash": "another"},
        {"environment": {"version": "5.23.0", "hardware": {"processor": "another", "cores": 2}}},
        {"complete": False},
        {"client_limited": "too slow"},
    ],
)
def test_launches_of_something_else_are_no_floor(store: RunStore, changes: dict[str, object]):
    kept(store, 1, session="before", **changes)
    golden = list(launches(60, 0.03, seed=3, n=1))
    assert judged(store, kept(store, 2, session="now", n=1, throughput=40), golden).verdict == "descriptive"


def test_a_service_whose_starts_nobody_sees_has_no_floor(store: RunStore):
    for session in "abcd":
        kept(store, 1, session=session, n=1, launch_id=session)
    golden = list(launches(60, 0.03, seed=3, n=1))
    assert judged(store, kept(store, 2, session="now", n=1), golden).verdict == "descriptive"


def test_a_damaged_run_is_not_in_the_way(store: RunStore):
    golden = kept(store, 1, session="before", n=5)
    (store.folder / golden[0].id / "run.json").write_text("{")
    found = judged(store, kept(store, 2, session="now", n=1, throughput=40), golden[1:2])
    assert found.verdict == "regressed"


def test_enough_launches_speak_for_themselves(store: RunStore):
    golden = kept(store, 1, session="before")
    found = judged(store, kept(store, 2, session="now", throughput=40), golden)
    assert (found.verdict, found.gating[0].reason) == ("regressed", "")


def test_the_command_finds_the_floor_beside_the_runs(store: RunStore, capsys: pytest.CaptureFixture[str]):
    golden = kept(store, 1, session="before")
    (current,) = kept(store, 2, session="now", n=1, throughput=40)
    paths = [str(store.folder / run.id) for run in (current, golden[0])]
    assert main(["compare", *paths, "--output-path", str(store.folder.parent / "out")]) == 1
    assert "by the noise between 4 launches measured earlier" in " ".join(capsys.readouterr().out.split())
