"""A running engine, and how one comes to be: configure, start, wait, warm up."""

from __future__ import annotations

import http.client
import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_msprof.errors import ServiceError, ServiceExited, ServiceNotReady, UnknownName
from pytest_msprof.failures import classify, root_cause
from pytest_msprof.fields import OptimizerConfigField
from pytest_msprof.http_client import ask
from pytest_msprof.ids import new_id
from pytest_msprof.interfaces import LaunchContext, ProcessHandle, SimulatorInterface, Stage, Target
from pytest_msprof.readiness import wait_until_ready
from pytest_msprof.redaction import redact
from pytest_msprof.results import Value

__all__ = ["DYING", "Service", "answers", "bind", "configure", "launch"]

PROBE_TIMEOUT = 2.0
WARM_UP_TIMEOUT = 120.0
WARM_UP_TOKENS = 2
WARM_UP_ATTEMPTS = 3
DYING = 0.5
"""Seconds that an engine may take to end after its connections broke."""
NO_SUCH_ENDPOINT = (404, 405, 501)


@dataclass(slots=True)
class Service:
    """A running engine that answered: where it is, what it is, and how it was started."""

    engine: str
    simulator: SimulatorInterface
    base_url: str
    """Where requests go, without a path."""
    model: str
    """The model's name, as requests give it."""
    fields: Mapping[str, Value]
    """Server-side fields; what is absent was left to the engine."""
    folder: Path
    launch_id: str = field(default_factory=new_id)
    environment: dict[str, Value] = field(default_factory=dict)
    ready_after: float = 0.0
    """Seconds from the start until it answered."""
    is_loaded: bool = False
    """Whether a load was begun and has not ended."""
    loads: Counter[str] = field(default_factory=Counter)
    """Loads sent so far, by workload hash: each gets new text."""

    @property
    def process(self) -> ProcessHandle | None:
        """The engine's process, None for one that runs elsewhere."""
        return self.simulator.process

    @property
    def target(self) -> Target:
        """The same service as a load generator sees it."""
        return Target(
            base_url=self.base_url,
            model=self.model,
            tokenizer=self.simulator.tokenizer_path,
            request_options=self.simulator.request_options,
            api_key=getattr(self.simulator, "api_key", None),
        )

    def check(self, *, patience: float = 0) -> None:
        """Raise `ServiceExited` when the engine is gone, or goes within *patience* seconds."""
        if self.process is not None and self.process.wait(patience):
            raise ServiceExited.from_process(self.process, under_load=True)

    def change(
        self,
        fields: Mapping[str, Value],
        own: Iterable[OptimizerConfigField],
        declared: Mapping[str, OptimizerConfigField],
    ) -> bool:
        """Give the running engine other *fields*, those it knows as *own* or *declared*; False where it needs a start.

        Raises `ServiceError` for what the engine refuses.
        """
        params = bind(fields, own, declared, self.engine)
        if not self.simulator.reconfigure(params):
            return False
        self.simulator.data_field, self.fields = params, dict(fields)
        return True

    def stop(self) -> None:
        """End the engine; its log stays."""
        self.simulator.end()

    def log_tail(self) -> str:
        """Return the end of the engine's log, empty where there is none."""
        return self.process.log_tail() if self.process else ""


def bind(
    values: Mapping[str, Value],
    known: Iterable[OptimizerConfigField],
    declared: Mapping[str, OptimizerConfigField],
    engine: str,
) -> tuple[OptimizerConfigField, ...]:
    """Put *values* into fields: *known* ones of the engine, or *declared* ones that say where they belong.

    Raises `UnknownName` for a field that neither knows.
    """
    own = {entry.name: entry for entry in known}
    bound = []
    for name, value in values.items():
        entry = own.get(name) or declared.get(name)
        if entry is None or (name not in own and not entry.config_position):
            otherwise = f'any other option of the engine says where it belongs: position="--{name.replace("_", "-")}"'
            raise UnknownName(f"field of engine {engine!r}", name, own, otherwise)
        bound.append(entry.model_copy(update={"value": value}))
    return tuple(bound)


def configure(
    simulator: SimulatorInterface,
    *,
    engine: str,
    fields: Mapping[str, Value],
    declared: Mapping[str, OptimizerConfigField],
    context: LaunchContext,
) -> tuple[OptimizerConfigField, ...]:
    """Tell *simulator* where it is launched, and give it *fields*; return what it was given."""
    simulator.configure(context)
    params = bind(fields, simulator.data_field, declared, engine)
    simulator.data_field = params
    return params


def launch(
    simulator: SimulatorInterface,
    *,
    engine: str,
    fields: Mapping[str, Value],
    declared: Mapping[str, OptimizerConfigField],
    context: LaunchContext,
    is_ready: Callable[[Service], bool | None] = lambda _service: None,
) -> Service:
    """Start the engine with *fields* and return it when it answered a request.

    Raises `ServiceExited` when it dies first, `ServiceNotReady` when it does not answer before
    the `wait_start_time` of the settings or else the simulator's `readiness_timeout`, and
    `ServiceError` when it refuses the warm-up request.
    """
    started = time.monotonic()
    params = configure(simulator, engine=engine, fields=fields, declared=declared, context=context)
    if callable(prepare := getattr(simulator, "prepare", None)):
        prepare()
    if simulator.update_config(params) is False:
        raise ServiceError(f"{engine}: update_config() answered False", failure="bad option")
    simulator.update_command()
    try:
        simulator.run(params)
        return _ready(simulator, engine, fields, context, started, is_ready)
    except BaseException:
        simulator.end()
        raise


def _ready(
    simulator: SimulatorInterface,
    engine: str,
    fields: Mapping[str, Value],
    context: LaunchContext,
    started: float,
    is_ready: Callable[[Service], bool | None],
) -> Service:
    from pytest_msprof.settings import seconds_allowed

    timeout = seconds_allowed("wait_start_time", simulator.readiness_timeout)
    waiting_for = simulator.process or _Elsewhere(redact(simulator.base_url), context.folder / "engine.log")
    wait_until_ready(waiting_for, lambda: _healthy(simulator), timeout=timeout)
    service = Service(
        engine=engine,
        simulator=simulator,
        base_url=simulator.root_url,
        model=simulator.served_model,
        fields=dict(fields),
        folder=context.folder,
    )
    answer = is_ready(service)
    if answer is None:
        _warm_up(service)
    elif not answer:
        left = started + simulator.readiness_timeout - time.monotonic()
        wait_until_ready(waiting_for, lambda: bool(is_ready(service)), timeout=left)
    service.ready_after = time.monotonic() - started
    service.environment = {
        "engine": engine,
        "port": context.port,
        **({"config_file": simulator.config_path.name} if simulator.config_path else {}),
        "command": shlex.join(redact([str(part) for part in simulator.command or ()])),
        "variables": redact({k: v for k, v in simulator.env.items() if os.environ.get(k) != v}),
        **redact(dict(simulator.describe())),
    }
    return service


def _healthy(simulator: SimulatorInterface) -> bool:
    """Ask the plugin's own test where it has one, the health URL otherwise."""
    if callable(check := getattr(simulator, "check_success", None)):
        return bool(check())
    if type(simulator).health is not SimulatorInterface.health:
        return simulator.health().stage is Stage.running
    return answers(simulator.base_url)


def answers(url: str, *, timeout: float = PROBE_TIMEOUT) -> bool:
    """Say whether a GET of *url* is answered with 200."""
    try:
        return ask(url, timeout=timeout).ok
    except OSError:
        return False


def _warm_up(service: Service) -> None:
    """Send one short request: some engines are healthy and cannot answer."""
    url = f"{service.base_url}/v1/completions"
    options = service.simulator.request_options(WARM_UP_TOKENS)
    body = {"model": service.model, "prompt": "Hello", "max_tokens": WARM_UP_TOKENS, **options}
    answer = ""
    for _attempt in range(WARM_UP_ATTEMPTS):
        try:
            status, answer = ask(url, body, timeout=WARM_UP_TIMEOUT, key=service.target.api_key)
        except TimeoutError as error:
            text = f"{service.engine} is healthy, but did not answer a request within {WARM_UP_TIMEOUT:g} s"
            raise ServiceNotReady(text, log_tail=service.log_tail()) from error
        except OSError as error:
            service.check(patience=DYING)
            answer = str(error)
            continue
        if status == http.client.OK or status in NO_SUCH_ENDPOINT:
            return
        if status < http.client.INTERNAL_SERVER_ERROR or not _healthy(service.simulator):
            break
    service.check()
    tail = service.log_tail()
    cause = root_cause(tail) if tail else ""
    message = f"{service.engine} is healthy, but refused a warm-up request: {answer[:300]!r}; {cause}"
    raise ServiceError(message, failure=classify(tail, None), log_tail=tail)


class _Elsewhere:
    """Stands for the process of a service that somebody else runs: it never ends here."""

    returncode = None
    pid = 0

    def __init__(self, name: str, log_path: Path) -> None:
        self.name, self.log_path = name, log_path

    def poll(self) -> None:
        return None

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(timeout or 0)
        return False

    def stop(self, *, grace: float = 0) -> None:
        """Leave it running."""

    def log_tail(self, lines: int = 0) -> str:
        """Its log is elsewhere too."""
        del lines
        return ""
