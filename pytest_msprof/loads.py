"""Sending a workload to a service and turning what came back into a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pytest_msprof.benchmark_process import make_generator
from pytest_msprof.errors import LoadError
from pytest_msprof.ids import new_id
from pytest_msprof.interfaces import LoadJob
from pytest_msprof.monitors import Watched
from pytest_msprof.requests import tokenizer_digest
from pytest_msprof.results import Measurement, Run, Value
from pytest_msprof.series_file import write_series
from pytest_msprof.service import DYING, Service
from pytest_msprof.watched_load import run_load
from pytest_msprof.workload import Workload

if TYPE_CHECKING:
    from pytest_msprof.session import MsprofSession
    from pytest_msprof.store import PartialRun

__all__ = ["Loader"]


class Loader:
    """The `load_generator` fixture: runs loads for one test item, and keeps them until recorded."""

    def __init__(self, session: MsprofSession, name: str, *, case: str, repeat: int = 0) -> None:
        self._session, self._name = session, name
        self._case, self._repeat = case, repeat
        self._generator = make_generator(session.registry.benchmarks.get(name))
        self.fields: Mapping[str, Value] = {}
        """Load-side fields that a trial sets."""
        self.judge: Callable[[Service], Mapping[str, float]] = lambda _: {}
        """Measures what a service answers, for the metrics that a study names beside those of the load."""
        self._partials: dict[str, PartialRun] = {}

    def run(self, workload: Workload, service: Service) -> Run:
        """Send *workload* to *service* and return what was measured.

        Raises `LoadError` when nothing usable was measured, and `ServiceExited` when that is
        because the engine died.
        """
        answered = self.judge(service)
        if service.loads or answered:
            service.simulator.reset_cache()
        target = service.target
        tokens = tokenizer_digest(target.tokenizer)
        workload_hash = workload.hash(tokens)
        run_id, started_at = new_id(), datetime.now(UTC)
        partial = self._session.store.open(run_id)
        job = LoadJob(
            workload=workload,
            target=target,
            folder=partial.folder,
            repeat=self._repeat,
            step=service.loads[workload_hash],
            fields=self.fields,
            sink=partial.write,
            context=replace(self._session.context(partial.folder), base_url=service.base_url),
        )
        service.loads[workload_hash] += 1
        service.is_loaded = True
        try:
            measurement = self._generate(job, service)
        except BaseException:
            partial.close() if partial.written else partial.discard()
            raise
        service.is_loaded = False
        per_device = self._per_device(measurement, service)
        measurement = replace(measurement, metrics={**measurement.metrics, **answered, **per_device})
        partial.complete(measurement.samples)
        write_series(partial.folder, measurement.series)
        self._partials[run_id] = partial
        return self._run(run_id, measurement, workload, workload_hash, service, started_at)

    def _generate(self, job: LoadJob, service: Service) -> Measurement:
        try:
            measurement = self._succeeded(self._measure(job, service))
        except LoadError as error:
            service.check(patience=DYING)
            error.log_tail = service.log_tail()
            raise
        service.check(patience=DYING if measurement.failed else 0)
        return measurement

    def _measure(self, job: LoadJob, service: Service) -> Measurement:
        registered = self._session.registry.monitors
        watched = Watched(
            base_url=service.base_url,
            api_key=service.target.api_key,
            pid=service.process.pid if service.process else None,
            metrics_url=service.simulator.metrics_url,
        )
        monitors = {name: registered.make(name) for name in registered.names()}
        return run_load(self._generator, job, monitors=monitors, watched=watched)

    def _per_device(self, measured: Measurement, service: Service) -> dict[str, float]:
        """Return the throughput of one device, where it is known how many serve."""
        rate, devices = measured.metrics.get("output_throughput"), self._session.devices_of(service)
        return {"output_throughput_per_device": rate / devices} if rate is not None and devices else {}

    def _succeeded(self, measurement: Measurement) -> Measurement:
        if measurement.completed:
            return measurement
        errors = dict(measurement.errors)
        raise LoadError(f"{self._name}: none of {measurement.failed} requests succeeded: {errors}")

    def _run(
        self,
        run_id: str,
        measured: Measurement,
        workload: Workload,
        workload_hash: str,
        service: Service,
        started_at: datetime,
    ) -> Run:
        return Run.of(
            measured,
            id=run_id,
            launch_id=service.launch_id,
            session_id=self._session.id,
            case=self._case,
            repeat=self._repeat,
            engine=service.engine,
            load_generator=self._name,
            fields=dict(service.fields),
            load_fields=dict(self.fields),
            workload=workload,
            workload_hash=workload_hash,
            model=service.model,
            model_digest=self._session.model_digest,
            device=self._session.device,
            environment=service.environment,
            started_at=started_at,
        )

    def take(self, run: Run) -> PartialRun:
        """Hand over the folder of *run*, once.

        Raises `LoadError` for a run that did not come from this load generator, or came before.
        """
        try:
            return self._partials.pop(run.id)
        except KeyError:
            raise LoadError(
                f"run {run.id} was recorded before, or does not come from this test's load_generator"
            ) from None

    def discard(self) -> None:
        """Drop the runs that the test measured and did not record."""
        for partial in self._partials.values():
            partial.discard()
        self._partials.clear()
