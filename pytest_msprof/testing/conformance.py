"""What every engine plugin and every load generator must do, as suites that their authors subclass.

class TestMyEngine(SimulatorConformance):
    @pytest.fixture
    def simulator_class(self):
        return MyEngine
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pytest_msprof.benchmark_process import make_generator
from pytest_msprof.errors import LoadError
from pytest_msprof.interfaces import (
    BenchmarkInterface,
    LaunchContext,
    LoadGenerator,
    LoadJob,
    SimulatorInterface,
    Target,
)
from pytest_msprof.process import EngineProcess
from pytest_msprof.results import Measurement, Value
from pytest_msprof.service import Service, answers, launch
from pytest_msprof.slots import free_port
from pytest_msprof.testing.fake_engine import FakeEngine
from pytest_msprof.workload import Workload

# ruff: noqa: D102, S101 - these are tests: the name is the claim, and assert is pytest's language

__all__ = ["BenchmarkConformance", "SimulatorConformance"]

Measure = Callable[[FakeEngine, Workload], Measurement]
MILLI = 1000
"""What a figure in milliseconds is too large by."""


class SimulatorConformance:
    """What an engine plugin must do; override `simulator_class`, and `model` and `fields` where needed."""

    @pytest.fixture
    def simulator_class(self) -> type[SimulatorInterface]:
        """Return the class under test."""
        raise NotImplementedError("override the fixture simulator_class")

    @pytest.fixture
    def model(self) -> str | None:
        """Return the folder or name of a model to serve."""
        return None

    @pytest.fixture
    def fields(self) -> Mapping[str, Value]:
        """Return fields to start with; none leaves everything to the engine."""
        return {}

    @pytest.fixture
    def context(self, tmp_path: Path, model: str | None) -> LaunchContext:
        """Return where to launch."""
        return LaunchContext(EngineProcess.start, tmp_path, rootdir=Path.cwd(), port=free_port(), model=model)

    @pytest.fixture
    def simulator(self, simulator_class: type[SimulatorInterface], context: LaunchContext) -> SimulatorInterface:
        """Return a simulator that knows where it will be launched."""
        simulator = simulator_class()
        simulator.configure(context)
        return simulator

    @pytest.fixture
    def service(
        self, simulator_class: type[SimulatorInterface], context: LaunchContext, fields: Mapping[str, Value]
    ) -> Iterator[Service]:
        """Start the engine for one test."""
        service = launch(simulator_class(), engine="conformance", fields=fields, declared={}, context=context)
        try:
            yield service
        finally:
            service.stop()

    def test_its_fields_have_names_of_their_own(self, simulator: SimulatorInterface) -> None:
        names = [entry.name for entry in simulator.data_field]
        assert len(names) == len(set(names))

    def test_its_fields_contain_what_they_propose(self, simulator: SimulatorInterface) -> None:
        for entry in simulator.data_field:
            if entry.is_searched:
                for unit in (0.0, 0.5, 1.0):
                    assert entry.contains(entry.from_unit(unit)), entry

    def test_it_keeps_the_values_it_is_given(self, simulator: SimulatorInterface) -> None:
        given = tuple(
            entry.model_copy(update={"value": entry.from_unit(1.0)})
            for entry in simulator.data_field
            if entry.is_searched
        )
        simulator.data_field = given
        kept = {entry.name: entry.value for entry in simulator.data_field}
        assert {entry.name: entry.value for entry in given}.items() <= kept.items()

    def test_it_makes_the_same_command_each_time(self, simulator: SimulatorInterface) -> None:
        simulator.update_command()
        first = list(simulator.command or ())
        simulator.update_command()
        assert list(simulator.command or ()) == first

    def test_it_says_where_it_answers(self, simulator: SimulatorInterface) -> None:
        parts = urlsplit(simulator.base_url)
        assert parts.scheme in ("http", "https")
        assert parts.hostname

    def test_it_forces_the_length_of_answers_with_json(self, simulator: SimulatorInterface) -> None:
        assert "7" in json.dumps(dict(simulator.request_options(7)))

    def test_it_starts_answers_and_describes_itself(self, service: Service) -> None:
        assert answers(service.simulator.base_url)
        json.dumps(dict(service.simulator.describe()))

    def test_nothing_of_it_is_left_after_its_end(self, service: Service) -> None:
        service.stop()
        assert service.process is None or service.process.poll() is not None
        assert service.process is None or not answers(service.simulator.base_url)


class BenchmarkConformance:
    """What a load generator must do; override `benchmark_class`, and `point_at` where it needs settings."""

    TTFT = 0.05
    ITL = 0.005

    @pytest.fixture
    def benchmark_class(self) -> type[LoadGenerator | BenchmarkInterface]:
        """Return the class under test."""
        raise NotImplementedError("override the fixture benchmark_class")

    @pytest.fixture
    def tokenizer(self) -> Path | None:
        """Return the folder of a tokenizer, for a benchmark that cannot do without."""
        return None

    @pytest.fixture
    def workload(self) -> Workload:
        """Return a small load."""
        return Workload(input_tokens=8, output_tokens=8, concurrency=2, num_requests=12, warmup=1, timeout=5.0)

    def point_at(self, base_url: str) -> None:
        """Tell the benchmark's settings where the engine is; a `LoadGenerator` is told by its job."""

    @pytest.fixture
    def measure(
        self, benchmark_class: type[LoadGenerator | BenchmarkInterface], tokenizer: Path | None, tmp_path: Path
    ) -> Measure:
        """Return a function that sends a workload to an engine."""

        def measure(engine: FakeEngine, workload: Workload) -> Measurement:
            url = engine.base_url
            self.point_at(url)
            port = urlsplit(url).port or 0
            context = LaunchContext(
                EngineProcess.start, tmp_path, rootdir=Path.cwd(), port=port, model="fake", base_url=url
            )
            job = LoadJob(workload, Target(url, "fake", tokenizer), tmp_path, context=context)
            return make_generator(benchmark_class).generate(job)

        return measure

    def test_every_request_is_accounted_for(self, measure: Measure, workload: Workload) -> None:
        with FakeEngine(ttft=self.TTFT, itl=self.ITL) as engine:
            found = measure(engine, workload)
            stats = engine.stats()
        sent, _ = _asked(workload)
        assert (found.completed, found.failed) == (sent, 0)
        assert stats["requests"] >= sent
        assert stats["most_running"] <= (workload.concurrency or sent)

    def test_its_figures_are_in_seconds_and_tokens(self, measure: Measure, workload: Workload) -> None:
        with FakeEngine(ttft=self.TTFT, itl=self.ITL) as engine:
            found = measure(engine, workload)
        sent, tokens = _asked(workload)
        shortest = self.TTFT + (tokens - 1) * self.ITL
        at_once = workload.concurrency or sent
        assert 0 < found.metrics["output_throughput"] <= at_once * tokens / shortest
        assert found.metrics.get("success_rate", 1) == 1
        if "ttft" in found.distributions:
            assert self.TTFT <= found.distributions["ttft"].mean < MILLI * self.TTFT
        if "tpot" in found.distributions:
            assert self.ITL / 2 <= found.distributions["tpot"].mean < MILLI * self.ITL

    def test_failed_requests_are_counted_and_not_hidden(self, measure: Measure, workload: Workload) -> None:
        with FakeEngine(ttft=0, itl=0, fail_every=4) as engine:
            found = measure(engine, workload)
        sent, _ = _asked(workload)
        assert 0 < found.failed < sent
        assert found.completed + found.failed == sent

    def test_nothing_measured_is_an_error_whatever_its_exit_code(self, measure: Measure, workload: Workload) -> None:
        with FakeEngine(fail_every=1) as engine, pytest.raises(LoadError):
            measure(engine, workload)


def _asked(workload: Workload) -> tuple[int, int]:
    """Return how many requests the small load sends, and the tokens of each answer."""
    assert isinstance(workload.num_requests, int)
    assert isinstance(workload.output_tokens, int)
    return workload.num_requests, workload.output_tokens
