"""An engine is ready when it answered, says why when it does not, and ends with its launch or its service."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_msprof import OptimizerConfigField, integers, settings
from pytest_msprof.errors import ServiceError, ServiceExited, ServiceNotReady, UnknownName
from pytest_msprof.interfaces import LaunchContext, SimulatorInterface
from pytest_msprof.process import EngineProcess
from pytest_msprof.service import Service, answers, bind, launch
from pytest_msprof.slots import free_port
from pytest_msprof.testing import FakeSimulator


class Deaf(SimulatorInterface):
    """Runs and never answers; written after the guide, whose `stop` has no argument."""

    readiness_timeout = 0.1
    base_url = "http://127.0.0.1:1/health"

    def update_command(self) -> None:
        self.command = [sys.executable, "-c", "import signal; signal.pause()"]

    def stop(self) -> None:
        """Leave it to the harness."""


class Broken(Deaf):
    def run(self, *args: Any, **more: Any) -> None:
        super().run(*args, **more)
        raise OSError("no licence")


def started(simulator: SimulatorInterface, folder: Path) -> None:
    context = LaunchContext(EngineProcess.start, folder)
    launch(simulator, engine="deaf", fields={}, declared={}, context=context)


@pytest.mark.parametrize(("kind", "error"), [(Deaf, ServiceNotReady), (Broken, OSError)])
def test_a_failed_launch_leaves_no_process_behind(kind, error, tmp_path):
    simulator = kind()

    with pytest.raises(error):
        started(simulator, tmp_path)

    assert not psutil.pid_exists(simulator.process.pid)


def test_settings_limit_how_long_a_start_may_take(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_EVAL_STATE_WAIT_START_TIME", "1")
    monkeypatch.setattr(settings, "_made", None)

    with pytest.raises(ServiceNotReady, match="did not answer within 1 s"):
        started(Deaf(), tmp_path)


class Slow(SimulatorInterface):
    """Takes a while to tidy up after SIGTERM, and allows itself none."""

    base_url = "http://127.0.0.1:1/health"

    def update_command(self) -> None:
        tidy = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), sys.exit(7)))"
        self.command = [sys.executable, "-c", f"{tidy}; print('up', flush=True); signal.pause()"]

    def stop_grace(self) -> float:
        return 0.0


def test_the_grace_of_the_engine_is_the_one_that_counts(tmp_path):
    simulator = Slow()
    simulator.configure(LaunchContext(EngineProcess.start, tmp_path))
    simulator.update_command()
    simulator.run()
    while "up" not in simulator.process.log_tail():
        assert not simulator.process.wait(0.01)

    simulator.end()

    assert simulator.process.returncode == -signal.SIGKILL


def test_a_service_elsewhere_that_never_answers_is_named_without_its_password(tmp_path):
    class Elsewhere(Deaf):
        base_url = "http://user:pa55w0rd@127.0.0.1:1/health"

        def run(self, *_: Any, **__: Any) -> None:
            """Start nothing."""

    with pytest.raises(ServiceNotReady, match=r"http://user:\*\*\*@127.0.0.1:1/health did not answer") as raised:
        started(Elsewhere(), tmp_path)

    assert "pa55w0rd" not in str(raised.value)


class Fake(FakeSimulator):
    readiness_timeout = 5.0


def launched(folder: Path, fields: dict[str, Any] | None = None, **behaviour: Any) -> Service:
    kind = type("Told", (Fake,), {"behaviour": behaviour})
    folder.mkdir(exist_ok=True)
    context = LaunchContext(EngineProcess.start, folder, port=free_port())
    return launch(kind(), engine="fake", fields=fields or {}, declared={}, context=context)


def test_an_engine_is_ready_when_it_answered_a_request(tmp_path):
    service = launched(tmp_path, {"capacity": 3})
    try:
        assert answers(f"{service.base_url}/health")
        assert (service.model, service.fields, service.process.poll()) == ("fake", {"capacity": 3}, None)
        assert service.ready_after > 0
        assert "--capacity=3" in service.environment["command"]
        assert service.environment["version"] == "fake"
    finally:
        service.stop()
    assert not answers(f"{service.base_url}/health")


@pytest.mark.parametrize(
    ("behaviour", "failure", "message"),
    [
        (
            {"exit_at_start": 3, "say": "error: unrecognized arguments: --turbo"},
            "bad option",
            "exit code 3 (bad option)",
        ),
        ({"oom": True}, "out of memory", "CUDA out of memory"),
        ({"fail_every": 1}, "does not start", "is healthy, but refused a warm-up request: "),
        ({"api_key": "another"}, "does not start", "Unauthorized"),
    ],
)
def test_a_launch_that_fails_says_why(tmp_path, behaviour, failure, message):
    with pytest.raises(ServiceError) as caught:
        launched(tmp_path, **behaviour)

    assert message in str(caught.value)
    assert caught.value.failure == failure


def test_a_plugin_may_say_itself_when_a_service_is_ready(tmp_path):
    asked = []
    context = LaunchContext(EngineProcess.start, tmp_path, port=free_port())
    broken = type("Broken", (Fake,), {"behaviour": {"fail_every": 1}})()

    service = launch(
        broken,
        engine="fake",
        fields={},
        declared={},
        context=context,
        is_ready=lambda found: asked.append(found) or True,
    )

    service.stop()
    assert asked == [service]


def test_an_end_is_noticed_at_once_and_a_coming_one_is_waited_for(tmp_path):
    service = launched(tmp_path, start_delay=0)
    service.check()
    os.kill(service.process.pid, signal.SIGTERM)
    with pytest.raises(ServiceExited):
        service.check(patience=10)


def test_fields_are_the_engines_own_or_say_where_they_belong():
    told = OptimizerConfigField(name="TOLD", config_position="env", min=0, max=9)
    silent = integers("silent", 0, 9)

    bound = bind({"capacity": 2, "TOLD": 3}, Fake().data_field, {"TOLD": told}, "fake")
    assert [(entry.name, entry.value) for entry in bound] == [("capacity", 2), ("TOLD", 3)]

    with pytest.raises(UnknownName, match="unknown field of engine 'fake' 'silent'"):
        bind({"silent": 1}, Fake().data_field, {"silent": silent}, "fake")
    with pytest.raises(UnknownName, match='says where it belongs: position="--two-words"'):
        bind({"two_words": 1}, Fake().data_field, {"two_words": silent}, "fake")
    with pytest.raises(UnknownName, match="did you mean 'capacity'"):
        bind({"capacitee": 1}, Fake().data_field, {}, "fake")


def test_a_run_carries_no_secret_of_its_command_and_variables(tmp_path):
    class Telltale(Fake):
        def update_command(self) -> None:
            super().update_command()
            self.command += ["--api-key", "s3cr3t-key"]
            self.env |= {"ENGINE_TOKEN": "s3cr3t-token", "ENGINE_MODE": "fast"}
            self.api_key = "s3cr3t-key"

    context = LaunchContext(EngineProcess.start, tmp_path, port=free_port())
    service = launch(Telltale(), engine="fake", fields={}, declared={}, context=context)
    service.stop()

    assert service.environment["command"].endswith("--api-key '***'")
    assert service.environment["variables"] == {"ENGINE_TOKEN": "***", "ENGINE_MODE": "fast"}
    assert "s3cr3t" not in repr(service.target)


class Fragile(Fake):
    """Is healthy until somebody asks it anything."""

    def update_command(self) -> None:
        code = (
            "import os, sys\n"
            "from http.server import BaseHTTPRequestHandler, HTTPServer\n"
            "class Handler(BaseHTTPRequestHandler):\n"
            "    def do_GET(self):\n"
            "        self.send_response(200)\n"
            "        self.end_headers()\n"
            "    def do_POST(self):\n"
            "        print('RuntimeError: no kernel for this device', file=sys.stderr, flush=True)\n"
            "        os._exit(3)\n"
            "HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()\n"
        )
        self.command = [sys.executable, "-c", code, str(self.context.port)]


def test_an_engine_that_dies_of_its_first_request_is_known_to_be_dead(tmp_path):
    context = LaunchContext(EngineProcess.start, tmp_path, port=free_port())

    with pytest.raises(ServiceExited, match=r"exit code 3 .*RuntimeError: no kernel for this device"):
        launch(Fragile(), engine="fragile", fields={}, declared={}, context=context)
