"""Monitors watch beside a load, and none of them can stop it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_msprof import LoadGenerator, LoadJob, Sample, Samples, Target, Workload, measure
from pytest_msprof.crosscheck import mismatches
from pytest_msprof.errors import PluginError
from pytest_msprof.monitoring import Watch, watching
from pytest_msprof.monitors import Monitor, Watched
from pytest_msprof.registry import Registry
from pytest_msprof.watched_load import run_load

HERE = Watched("http://127.0.0.1:8000")


class Scripted(Monitor):
    """Reads what it is told, one reading after the other; tells when the third was taken."""

    period = 0.001
    counters = frozenset({"tokens"})

    def __init__(self, *readings, starts=True):
        self.left, self.starts = list(readings), starts
        self.thrice, self.stopped = threading.Event(), False
        self.taken = 0

    def start(self, watched):
        return self.outcome(self.starts)

    def read(self):
        self.taken += 1
        if self.taken == 3:
            self.thrice.set()
        return self.outcome(self.left.pop(0) if len(self.left) > 1 else self.left[0])

    def stop(self):
        self.stopped = True

    @staticmethod
    def outcome(found):
        if isinstance(found, Exception):
            raise found
        return found


class Load(LoadGenerator):
    """A load of two requests that lasts until the monitors have read three times."""

    def __init__(self, *monitors, **values):
        self.monitors, self.values = monitors, values

    def generate(self, job):
        for monitor in self.monitors:
            assert monitor.thrice.wait(10)
        requests = [Sample(0.0, 0.0, ttft=0.1, latency=1.0, closed=1.0, output_tokens=5, token_source="usage")] * 2
        return measure(Samples.of(requests), 2.0, **self.values)


def loaded(*watched_by, **monitors):
    job = LoadJob(Workload(warmup=0), Target(HERE.base_url, "model"), Path())
    return run_load(Load(*watched_by), job, monitors=monitors, watched=HERE)


def test_a_monitor_is_read_before_while_and_after():
    monitor = Scripted({"running": 3.0})
    measured = loaded(monitor, server=monitor)
    assert measured.series["server.running"].values.size >= 4
    assert np.all(np.diff(measured.series["server.running"].times) > 0)
    assert monitor.stopped


def test_a_counter_becomes_a_rate_and_its_rise_is_told():
    ticks = iter(range(0, 100, 2))
    watch = Watch("server", Scripted({"tokens": 10.0}, {"tokens": 20.0}, {"tokens": 50.0}), clock=lambda: next(ticks))
    watch.monitor.period = 1000
    watch.begin()
    watch.end()
    ((name, series),) = watch.series(begin=1.0)
    assert (name, series.times.tolist(), series.values.tolist()) == ("server.tokens", [1.0], [5.0])
    assert watch.rises() == {"tokens": 10.0}


def test_a_counter_that_fell_says_nothing():
    watch = Watch("server", Scripted({"tokens": 10.0}, {"tokens": 2.0}))
    watch.monitor.period = 1000
    watch.begin()
    watch.end()
    assert watch.rises() == {}


def test_nothing_to_watch_is_no_mistake():
    measured = loaded(nothing=Scripted({}, starts=False))
    assert measured.notes == ()
    assert not [name for name in measured.series if name.startswith("nothing")]


@pytest.mark.parametrize(
    "monitor",
    [
        Scripted({}, starts=RuntimeError("no driver")),
        Scripted(RuntimeError("no driver")),
        Scripted({"running": 1.0}, RuntimeError("no driver")),
    ],
)
def test_a_monitor_that_fails_is_a_note_and_no_failure(monitor):
    measured = loaded(broken=monitor)
    assert measured.notes == ("monitor 'broken' stopped watching: RuntimeError: no driver",)
    assert measured.completed == 2


def test_a_load_that_fails_lets_the_monitors_go():
    monitor = Scripted({"running": 1.0})
    with pytest.raises(ZeroDivisionError), watching({"server": monitor}, HERE):
        _ = 1 / 0
    assert monitor.stopped


def test_power_becomes_energy_a_token():
    gpus = Scripted({"gpu0.power": 100.0, "gpu1.power": 200.0})
    assert loaded(gpus, nvml=gpus).metrics["energy"] == pytest.approx(300.0 * 2.0 / 10)


def test_the_power_of_a_run_is_the_mean_of_all_devices_together():
    gpus = Scripted({"gpu0.power": 100.0, "gpu1.power": 200.0})
    assert loaded(gpus, nvml=gpus).metrics["power"] == pytest.approx(300.0)


def test_without_power_there_is_no_energy():
    assert not {"energy", "power"} & loaded().metrics.keys()


@pytest.mark.parametrize(
    ("url", "pid", "local"),
    [
        ("http://127.0.0.1:1", None, True),
        ("http://[::1]:1", None, True),
        ("http://localhost", None, True),
        ("http://10.0.0.7:1", None, False),
        ("http://10.0.0.7:1", 7, True),
    ],
)
def test_a_service_is_local_when_its_address_or_its_process_is(url, pid, local):
    assert Watched(url, pid=pid).is_local is local


def test_a_key_is_not_shown():
    assert "secret" not in repr(Watched("http://127.0.0.1:1", "secret"))


@pytest.mark.parametrize(
    ("counted", "told"),
    [
        ({"requests": 2, "output_tokens": 10}, ()),
        ({"requests": 4, "output_tokens": 20}, ()),
        ({}, ()),
        ({"requests": 5}, ("the service counted 5 requests, more than the 2 to 4 of this client: is it alone?",)),
        ({"requests": 1}, ("the service counted 1 requests, fewer than the 2 to 4 of this client",)),
        ({"output_tokens": 8}, ("the service counted 8 output tokens, fewer than the 10 to 20 of this client",)),
    ],
)
def test_what_the_service_counts_otherwise_is_told(counted, told):
    measured = replace(Load().generate(None), began=0.0)
    assert tuple(mismatches(measured, counted, warmup=2)) == told


def test_a_program_of_its_own_may_have_asked_more_than_it_says():
    measured = Load().generate(None)
    assert tuple(mismatches(measured, {"requests": 9, "output_tokens": 99}, warmup=0)) == ()
    assert tuple(mismatches(measured, {"requests": 1}, warmup=0)) == (
        "the service counted 1 requests, fewer than the 2 of this client",
    )


def test_tokens_that_are_only_events_are_not_compared():
    samples = Samples.of([Sample(0.0, 0.0, ttft=0.1, latency=1.0, output_tokens=5, token_source="events")])
    assert list(mismatches(measure(samples, 1.0), {"output_tokens": 99}, warmup=0)) == []


def test_the_registry_takes_monitors_only():
    registry = Registry()
    registry.monitors.add("mine", Scripted)
    with pytest.raises(PluginError, match="must be a subclass of Monitor"):
        registry.monitors.add("other", dict)
