"""Plans, studies and runs as the tests of this folder need them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_msprof import Distribution, Run, SearchSpace, Workload, choice
from pytest_msprof.ids import new_id
from pytest_msprof.tuning.opening import Identity, open_study
from pytest_msprof.tuning.plan import TunePlan
from pytest_msprof.tuning.storage import Journals
from pytest_msprof.tuning.study import TuneStudy

LOAD = Workload(num_requests=8)
SPACE = SearchSpace(choice("size", [1, 2, 4, 8]), default={"size": 1})
IDENTITY = Identity(case="test_x.py::test_study[fake]", engine="fake", version="1", model="tiny", hardware="cpu")


def make_plan(space: SearchSpace = SPACE, **values: Any) -> TunePlan:
    given = {"workload": LOAD, "objective": "output_throughput", "n_trials": 4, "search": "random", **values}
    given = {name: value for name, value in given.items() if value is not None}
    return TunePlan.of(space, **given)


def make_study(folder: Path, plan: TunePlan | None = None, *, session: str = "", **options: Any) -> TuneStudy:
    return open_study(Journals(folder), IDENTITY, plan or make_plan(), session_id=session or new_id(), **options)[0]


def make_run(throughput: float, ttft: float = 0.1, tpot: float = 0.01, **values: Any) -> Run:
    run_id = new_id()
    facts = {
        "id": run_id,
        "launch_id": run_id,
        "workload": LOAD,
        "workload_hash": "hash",
        "started_at": datetime.now(UTC),
        "duration": 1.0,
        "completed": 8,
        "failed": 0,
        "metrics": {"output_throughput": throughput, "success_rate": 1.0},
        "distributions": {
            name: Distribution({"n": 8, "mean": value, "p50": value})
            for name, value in (("ttft", ttft), ("tpot", tpot))
        },
        **values,
    }
    return Run(**facts)
