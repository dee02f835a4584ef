"""The fixtures of a suite, one resting on another: engine, simulator, service, load, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_msprof.collection import case_of, repeat_of, slot_of
from pytest_msprof.sessions import session_of

if TYPE_CHECKING:
    from pytest_msprof.golden import Golden
    from pytest_msprof.interfaces import SimulatorInterface
    from pytest_msprof.loads import Loader
    from pytest_msprof.results import Run, Value
    from pytest_msprof.service import Service
    from pytest_msprof.tuning.quality import Scorers
    from pytest_msprof.tuning.trial import Trial
    from pytest_msprof.workload import Workload

__all__ = [
    "engine_name",
    "golden",
    "launch_service",
    "load_generator",
    "model_runner",
    "msprof_repeat",
    "record",
    "runner_settings",
    "service",
    "service_fields",
    "simulator",
    "trial",
    "workload",
]


@pytest.fixture(scope="session")
def engine_name(request: pytest.FixtureRequest) -> str:
    """The engine's name, from `--msprof-engine`; without one the item skips."""
    name: str | None = getattr(request, "param", None)
    if name is None:
        pytest.skip("no engine was chosen: give --msprof-engine NAME, or --msprof-base-url URL")
    return name


@pytest.fixture
def simulator(request: pytest.FixtureRequest, engine_name: str) -> type[SimulatorInterface]:
    """The engine's registered class; settings are in place when it is called."""
    session = session_of(request.config)
    session.apply_settings(request.node)
    found: type[SimulatorInterface] = session.registry.simulators.get(engine_name)
    return found


@pytest.fixture
def service_fields() -> dict[str, Value]:
    """Fields of the plain `service`; override me."""
    return {}


@pytest.fixture
def msprof_repeat(request: pytest.FixtureRequest) -> int:
    """Which fresh launch of this case is measured, from 0."""
    return int(getattr(request, "param", 0))


@pytest.fixture
def launch_service(
    request: pytest.FixtureRequest, simulator: type[SimulatorInterface], engine_name: str
) -> Callable[[Mapping[str, Value]], AbstractContextManager[Service]]:
    """`launch_service(fields)` leases a service with these fields; leaving returns the lease."""
    session, item = session_of(request.config), request.node
    slot = slot_of(item)
    mark = item.get_closest_marker("tune")
    space = mark.args[0] if mark else None
    fresh = slot.id if slot and slot.kind == "confirm" else f"repeat{repeat_of(item)}"

    def lease(fields: Mapping[str, Value]) -> AbstractContextManager[Service]:
        return session.lease(simulator, fields, engine=engine_name, round_=fresh, space=space, item=item)

    return lease


@pytest.fixture
def service(
    launch_service: Callable[[Mapping[str, Value]], AbstractContextManager[Service]],
    service_fields: dict[str, Value],
) -> Iterator[Service]:
    """A lease on a service with `service_fields`."""
    with launch_service(service_fields) as leased:
        yield leased


@pytest.fixture
def load_generator(request: pytest.FixtureRequest) -> Iterator[Loader]:
    """The load generator of `--msprof-load`: `.run(workload, service)` returns a `Run`."""
    from pytest_msprof.loads import Loader

    session = session_of(request.config)
    session.apply_settings(request.node)
    slot = slot_of(request.node)
    repeat = slot.index if slot and slot.kind == "confirm" else repeat_of(request.node)
    loader = Loader(session, session.options.load, case=case_of(request.node), repeat=repeat)
    yield loader
    loader.discard()


@pytest.fixture
def workload(request: pytest.FixtureRequest) -> Workload:
    """A workload at the concurrency of this item, from `--msprof-concurrency`."""
    from pytest_msprof.workload import Workload

    return Workload(concurrency=getattr(request, "param", None))


@pytest.fixture
def record(request: pytest.FixtureRequest, load_generator: Loader, benchmark: Any) -> Iterator[Callable[[Run], Run]]:
    """`record(run)` stores the run and publishes it to pytest-benchmark."""
    from pytest_msprof.recording import Publisher

    session, item = session_of(request.config), request.node
    publisher, runs = Publisher(benchmark), []

    def keep(run: Run) -> Run:
        own, partial = (run, load_generator.take(run)) if run.session_id else session.adopt(run, item)
        kept = session.record(own, partial, item)
        runs.append(kept)
        return kept

    yield keep
    slot = slot_of(item)
    if slot is None:
        for run in runs:
            publisher.publish([run])
    elif slot.kind == "result":
        for label, confirmed in session.confirmed(item).items():
            publisher.publish(confirmed, label=label)
    publisher.close()


@pytest.fixture
def runner_settings(request: pytest.FixtureRequest) -> Mapping[str, Value]:
    """Settings of the plain `model_runner`, from `--msprof-model`; override me."""
    model = session_of(request.config).options.model
    if model is None:
        pytest.skip("no model was chosen: give --msprof-model PATH, or override the fixture runner_settings")
    return {"model_name": Path(model).name, "model_path": model}


@pytest.fixture
def model_runner(request: pytest.FixtureRequest, runner_settings: Mapping[str, Value], msprof_repeat: int) -> Any:
    """A ModelRunner with its model loaded; kept while tests ask for the same settings."""
    session = session_of(request.config)
    return session.runners.lend(runner_settings, model=session.options.model, round_=f"repeat{msprof_repeat}")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden runs of this case; looked up when `.runs` is read, and none the first time."""
    from pytest_msprof.sessions import LazyGolden

    return LazyGolden(session_of(request.config), request.node)  # type: ignore[return-value]


def _scorers(item: pytest.Item) -> Scorers:
    """Return how to ask the plugins above *item* for figures of the answers."""

    def ask(service: Service, names: tuple[str, ...]) -> dict[str, float]:
        found = item.ihook.pytest_msprof_quality(service=service, names=names)
        return {name: value for figures in reversed(found) for name, value in (figures or {}).items()}

    return ask


@pytest.fixture
def trial(request: pytest.FixtureRequest, engine_name: str, simulator: type[SimulatorInterface]) -> Trial:
    """One configuration to measure; made by the `tune` mark."""
    from pytest_msprof.errors import StoreError
    from pytest_msprof.studies import next_trial

    try:
        found = next_trial(session_of(request.config), request.node, request.param, engine_name, simulator)
    except StoreError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    if "load_generator" in request.fixturenames:
        load_fields = session_of(request.config).own_load_fields(found.fields)
        loader = request.getfixturevalue("load_generator")
        loader.fields, loader.judge = load_fields, found.judge(_scorers(request.node))
    return found
