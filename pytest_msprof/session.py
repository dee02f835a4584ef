"""One measuring session: the registry, the pool and the stores that its fixtures share."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_msprof.collection import FACTS, case_of, is_worker, repeat_of
from pytest_msprof.errors import ConfigurationError, ModelNotFound, ServiceError
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.golden import Golden, GoldenStore
from pytest_msprof.hardware import device_kind, hardware, slot_hardware
from pytest_msprof.ids import digest, directory_digest, new_id
from pytest_msprof.interfaces import LaunchContext, SimulatorInterface
from pytest_msprof.known_floors import KnownFloors
from pytest_msprof.known_runs import KnownRuns
from pytest_msprof.pool import LeaseKey, ServicePool
from pytest_msprof.process import EngineProcess
from pytest_msprof.redaction import redact
from pytest_msprof.registry import REGISTRY, Registry
from pytest_msprof.results import Run, Value
from pytest_msprof.runners import RunnerPool
from pytest_msprof.series_file import write_series
from pytest_msprof.service import Service, configure, launch
from pytest_msprof.slots import Slot, free_port
from pytest_msprof.store import PartialRun, RunStore, hide_from_git

if TYPE_CHECKING:
    import pytest

    from pytest_msprof.options import Options
    from pytest_msprof.space import SearchSpace
    from pytest_msprof.tuning.storage import Shelf
    from pytest_msprof.tuning.study import TuneStudy
    from pytest_msprof.tuning.trial import Trial

__all__ = ["MsprofSession", "is_load_side"]

LOAD_SIDE = ("CONCURRENCY", "MAXCONCURRENCY", "REQUESTRATE")
"""Fields that belong to the load wherever they are declared (the seed's names)."""


def is_load_side(name: str, load_fields: tuple[OptimizerConfigField, ...] = ()) -> bool:
    """Say whether a change of this field leaves the service as it is."""
    return name.upper() in LOAD_SIDE or any(entry.name == name for entry in load_fields)


class MsprofSession:
    """What the fixtures of one pytest process share; made when the first of them is used."""

    def __init__(self, config: pytest.Config, options: Options, session_id: str) -> None:
        self.config, self.options, self.id = config, options, session_id
        self.started_at = datetime.now(UTC)
        self.started = time.monotonic()
        self.registry: Registry = REGISTRY
        self.last_recorded: dict[str, Run] = {}
        """The run that each test recorded last, by node id."""
        self.studies: dict[str, TuneStudy] = {}
        """Open studies, by case."""
        self.trials: dict[str, Trial] = {}
        """What each item of a study measures, by node id: a rerun measures the same."""
        self.awaited: set[tuple[str, str]] = set()
        """Studies, and the kind of item that waited for other workers there."""
        self._unreachable: ServiceError | None = None
        """Why the service that runs elsewhere did not answer: it is waited for once."""
        self._expected: dict[str, set[str]] = defaultdict(set)
        """Items that have not started, by case."""
        self._collected: dict[str, int] = {}
        """Items that were collected, by case."""
        self._recorded: dict[tuple[str, str], list[Run]] = defaultdict(list)
        """Runs recorded in this process, by case and workload."""

    @cached_property
    def store(self) -> RunStore:
        """The runs on disk."""
        hide_from_git(self.options.folder)
        return RunStore(self.options.folder / "runs")

    @cached_property
    def known_runs(self) -> KnownRuns:
        """What earlier studies measured."""
        return KnownRuns(self.store)

    @cached_property
    def known_floors(self) -> KnownFloors:
        """How far launches of one configuration scattered in earlier sessions."""
        return KnownFloors(self.store)

    @cached_property
    def golden_store(self) -> GoldenStore:
        """The runs to compare with."""
        return GoldenStore(self.options.golden)

    @cached_property
    def shelf(self) -> Shelf:
        """Where studies are kept: the database of `--msprof-study URL`, or journals."""
        from pytest_msprof.tuning.database import Database
        from pytest_msprof.tuning.storage import Journals

        study = self.options.study
        return Database(study) if study and "://" in study else Journals(self.options.folder / "studies")

    @cached_property
    def pool(self) -> ServicePool:
        """The engines of this process; stopped by `close`."""
        groups = self.options.devices
        if self.options.base_url:  # a service that runs elsewhere needs no device here, and gets one load at a time
            groups = ((digest(self.options.base_url),),)
        return ServicePool([Slot(devices) for devices in groups], on_wait=self.say)

    @cached_property
    def runners(self) -> RunnerPool:
        """The ModelRunner of this process; closed by `close`."""
        return RunnerPool(self.registry.runners, self.pool)

    def say(self, text: str) -> None:
        """Write one line to the terminal at once, past the capturing of the running test; a worker has none."""
        manager = self.config.pluginmanager
        terminal: Any = manager.get_plugin("terminalreporter")
        capture: Any = manager.get_plugin("capturemanager")
        if terminal is None:
            return
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            terminal.ensure_newline()
            terminal.write_line(f"msprof: {text}")
            terminal.flush()

    @cached_property
    def model_digest(self) -> str:
        """Digest of the model's folder; a name that an engine resolves stands for itself."""
        model = self.options.model
        if not model:
            return redact(self.options.base_url or "")
        return directory_digest(Path(model)) if Path(model).is_dir() else model

    def check_model(self) -> None:
        """Raise `ModelNotFound` when the model looks like a path and nothing lies there."""
        model = self.options.model
        if not model or self.options.base_url or Path(model).is_dir():
            return
        is_path = model.startswith((".", "/", "~")) or model.count("/") > 1
        if is_path or ("/" in model and Path(model).parent.is_dir()):
            raise ModelNotFound(
                f"no model in {model!r}: give --msprof-model a folder, or make a tiny one "
                "with 'pytest-msprof make-models --output models'"
            )

    @contextmanager
    def lease(
        self,
        simulator: type[SimulatorInterface],
        fields: Mapping[str, Value],
        *,
        engine: str,
        round_: str = "",
        space: SearchSpace | None = None,
        item: pytest.Item,
    ) -> Iterator[Service]:
        """Lend a service with *fields*; load-side ones among them are left to the load generator."""
        declared = {entry.name: entry for entry in space} if space else {}
        server_side = self.server_side(fields)
        own = () if self.options.base_url else self.operator(simulator).data_field
        live = {entry.name for entry in (*own, *declared.values()) if entry.live}
        cold = {name: value for name, value in server_side.items() if name not in live}
        key = LeaseKey.of(engine, self.options.model or self.options.base_url, cold, round_)

        def start(slot: Slot) -> Service:
            if self._unreachable is not None:
                raise self._unreachable
            try:
                return self._launch(simulator, server_side, engine=engine, declared=declared, slot=slot, item=item)
            except ServiceError as error:
                self._unreachable = error if self.options.base_url else None
                raise

        def fits(running: Service) -> bool:
            return not live or running.fields == server_side or running.change(server_side, own, declared)

        self._close_runner()
        with self.pool.lease(key, start, fits) as service:
            yield service

    def _launch(
        self,
        simulator: type[SimulatorInterface],
        fields: Mapping[str, Value],
        *,
        engine: str,
        declared: Mapping[str, OptimizerConfigField],
        slot: Slot,
        item: pytest.Item,
    ) -> Service:
        self.check_model()
        hook: Any = item.ihook
        launch_id = self.id if self.options.base_url else new_id()
        context = self.context(self.options.folder / "logs" / launch_id, devices=slot.devices)
        operator = self.registry.simulators.make(simulator, bak_path=context.folder)
        given: dict[str, Any] = {"engine": engine, "fields": fields, "declared": declared, "context": context}
        if hook.pytest_msprof_launch_service.get_hookimpls():
            configure(operator, **given)
        service: Service = hook.pytest_msprof_launch_service(simulator=operator, item=item) or launch(
            operator, **given, is_ready=lambda started: hook.pytest_msprof_service_ready(service=started)
        )
        own = {} if self.options.base_url else {"slot": slot_hardware(slot.devices)}
        try:
            self._describe(service, launch_id, hook, own)
        except BaseException:
            service.stop()
            raise
        return service

    @staticmethod
    def _describe(service: Service, launch_id: str, hook: Any, own: Mapping[str, Value]) -> None:
        """Put the facts together that each run of *service* carries; *own* are those of its hardware alone."""
        service.launch_id = launch_id
        service.environment |= {"hardware": {**hardware(), **own}, "ready_after": service.ready_after}
        hook.pytest_msprof_update_environment(environment=service.environment, service=service)

    def context(self, folder: Path | None, *, devices: tuple[str, ...] = ()) -> LaunchContext:
        """Describe where a launch happens, with a folder and a port of its own."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return LaunchContext(
            launcher=EngineProcess.start,
            folder=folder or self.options.folder / "logs",
            rootdir=self.config.rootpath,
            port=free_port(),
            model=self.options.model,
            base_url=self.options.base_url,
            devices=devices,
        )

    def adopt(self, run: Run, item: pytest.Item) -> tuple[Run, PartialRun]:
        """Make a run that knows of no session, such as a ModelRunner's, one of this session; return it and its folder.

        Raises `StoreError` for one that was recorded before.
        """
        own = run.model_copy(update={"session_id": self.id, "case": case_of(item), "repeat": repeat_of(item)})
        partial = self.store.open(run.id)
        partial.complete(run.samples)
        write_series(partial.folder, run.series)
        return own, partial

    def record(self, run: Run, partial: PartialRun, item: pytest.Item) -> Run:
        """Seal *run* and remember it; returns it knowing the repeats recorded before it.

        What is no number is left out, so that it loses nothing else that was measured.
        """
        run = run.finite()
        folder = self.store.seal(partial, run)
        earlier = self._earlier(run)
        launches = {other.launch_id for other in (*earlier, run)}
        kept = run.with_repeats(tuple(earlier), planned=self._planned(run.case, len(launches)))
        self._recorded[run.case, run.workload_hash].append(kept)
        self.last_recorded[item.nodeid] = kept
        facts = item.stash.setdefault(FACTS, {})
        facts.setdefault("runs", []).append(run.id)
        facts["golden"] = "golden" in getattr(item, "fixturenames", ())
        item.user_properties.append(("msprof.run", run.id))
        item.ihook.pytest_msprof_run_recorded(run=kept, folder=folder)
        return kept

    def expect(self, items: Sequence[pytest.Item]) -> None:
        """Learn which items will run, after every deselection."""
        for item in items:
            self._expected[case_of(item)].add(item.nodeid)
        self._collected = {case: len(expected) for case, expected in self._expected.items()}

    def begin(self, item: pytest.Item) -> None:
        """Learn that an item starts; whether it measures anything or not, it is no longer to come."""
        self._expected[case_of(item)].discard(item.nodeid)

    def _planned(self, case: str, launches: int) -> int:
        """Return how many launches *case* will have had, *launches* of them so far; a service elsewhere has but one.

        A worker sees only its own items start.
        """
        if self.options.base_url:
            return launches
        if is_worker(self.config):
            return max(launches, self._collected.get(case, 0))
        return launches + len(self._expected[case])

    def _earlier(self, run: Run) -> list[Run]:
        """Return the runs of the same case and workload; other workers' ones are read from disk."""
        if self.options.repeat > 1 and is_worker(self.config):
            stored = (other for other in self.store.runs(session_id=self.id) if other.id != run.id)
            return [other for other in stored if (other.case, other.workload_hash) == (run.case, run.workload_hash)]
        return self._recorded[run.case, run.workload_hash]

    def confirmed(self, item: pytest.Item) -> dict[str, Sequence[Run]]:
        """Return the confirming runs of a study's winner and default, by role, once it was concluded."""
        from pytest_msprof.summary import StudySummary

        summary = item.stash.get(FACTS, {}).get("summary")
        if summary is None:
            return {}
        published = StudySummary.model_validate(summary).published
        return {entry.role: [self.store.load(run.id) for run in entry.runs] for entry in published}

    def apply_settings(self, item: pytest.Item) -> None:
        """Let settings made from now on follow the command line and the hook of *item*'s conftests."""
        from pytest_msprof import config_toml, settings

        files = (self.options.config,) if self.options.config else ()
        config_toml.use(files=files, model=self.options.model or "")
        made = item.ihook.pytest_msprof_settings(config=self.config)
        if made is not None:
            settings.register_settings(lambda: made)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Raise `ConfigurationError` when the options name what is not registered, installed or there."""
        names = {name for item in items for name in getattr(item, "fixturenames", ())}
        if "engine_name" in names:
            for engine in self.options.engine:
                simulator = self.registry.simulators.get(engine)
                if items and not items[0].config.option.collectonly:
                    self.check_model()
                    self.apply_settings(items[0])
                    operator = self.operator(simulator)
                    operator.preflight()
        if "load_generator" in names or "record" in names:
            self.registry.benchmarks.get(self.options.load)

    def operator(self, simulator: type[SimulatorInterface]) -> SimulatorInterface:
        """Return an instance that knows where it is, without a folder of its own: for questions."""
        made: SimulatorInterface = self.registry.simulators.make(simulator)
        made.configure(self.context(None))
        return made

    def is_load_side(self, name: str) -> bool:
        """Say whether a change of this field leaves the service as it is."""
        return is_load_side(name, self.load_fields)

    def own_load_fields(self, fields: Mapping[str, Value]) -> dict[str, Value]:
        """Return the load-side entries of *fields* that are no part of a workload."""
        return {
            name: value for name, value in fields.items() if self.is_load_side(name) and name.upper() not in LOAD_SIDE
        }

    def server_side(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of *fields* that a start depends on.

        Raises `ConfigurationError` where there are some and the service runs already.
        """
        found = {name: value for name, value in fields.items() if not self.is_load_side(name)}
        if self.options.base_url and found:
            raise ConfigurationError(
                f"a running service (--msprof-base-url) cannot be given {', '.join(found)}: "
                "only load-side fields, CONCURRENCY and REQUESTRATE, can change"
            )
        return found

    @cached_property
    def load_fields(self) -> tuple[OptimizerConfigField, ...]:
        """The fields of the chosen load generator, all of them load-side."""
        from pytest_msprof.benchmark_process import make_generator

        return make_generator(self.registry.benchmarks.get(self.options.load)).data_field

    def golden_key(self, run: Run) -> str:
        """Return the identity under which *run* may become golden."""
        return self.golden_store.key(
            case=run.case,
            engine=run.engine,
            model_digest=run.model_digest,
            workload_hash=run.workload_hash,
            device=run.device,
            fields=run.fields,
        )

    def golden(self, run: Run) -> Golden:
        """Return the golden runs of the same case, none where none were accepted."""
        return self.golden_store.load(self.golden_key(run))

    @property
    def device(self) -> str:
        """Kind of the device that serves; unknown for a service that runs elsewhere."""
        return "elsewhere" if self.options.base_url else device_kind()

    @property
    def hardware(self) -> str:
        """What each engine of this session has for itself; unknown for a service that runs elsewhere."""
        return self.device if self.options.base_url else slot_hardware(self.options.devices[0])

    def check_slots(self) -> None:
        """Raise `ConfigurationError` where the device slots are not alike: a study would mix what they measure."""
        kinds = sorted({slot_hardware(devices) for devices in self.options.devices})
        if len(kinds) > 1 and not self.options.base_url:
            raise ConfigurationError(
                f"a study compares what ran on equal devices, but the slots of --msprof-devices are {'; '.join(kinds)}"
            )

    def devices_of(self, service: Service) -> int:
        """Count the devices of the slot that *service* has: a processor is one; 0 where nobody named accelerators."""
        context = service.simulator.context
        named = self.options.devices[0] if self.options.base_url else context.devices if context else ()
        return len(named) or int(self.device.startswith("cpu"))

    def close(self) -> None:
        """Stop the engine, free its slot, and give back trials that nobody told."""
        try:
            for trial in self.trials.values():
                trial.release()
        finally:
            self._close_runner()
            if "pool" in self.__dict__:
                self.pool.close()

    def _close_runner(self) -> None:
        if "runners" in self.__dict__:
            self.runners.close()
