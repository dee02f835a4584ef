"""A pool keeps at most one engine alive, and lends it as long as it is the one that is wanted."""

from __future__ import annotations

import pytest

from pytest_msprof.errors import LoadError, ServiceError, ServiceExited
from pytest_msprof.interfaces import LaunchContext
from pytest_msprof.pool import LeaseKey, ServicePool
from pytest_msprof.process import EngineProcess
from pytest_msprof.service import launch
from pytest_msprof.slots import Slot, free_port
from pytest_msprof.testing import FakeSimulator


@pytest.fixture
def slot(tmp_path):
    return Slot(folder=tmp_path)


@pytest.fixture
def pool(slot):
    pool = ServicePool([slot])
    yield pool
    pool.close()


@pytest.fixture
def start(tmp_path):
    def start(slot):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        context = LaunchContext(EngineProcess.start, folder, port=free_port(), devices=slot.devices)
        return launch(FakeSimulator(), engine="fake", fields={}, declared={}, context=context)

    return start


def key(round_: str = "0", **fields: object) -> LeaseKey:
    return LeaseKey.of("fake", "model", fields, round_)


def test_equal_keys_share_an_engine(pool, start):
    with pool.lease(key(a=1), start) as first:
        pass
    with pool.lease(key(a=1), start) as second:
        assert second is first
    assert pool.starts == 1


def test_an_engine_that_cannot_be_made_to_fit_is_started_anew_and_one_that_refuses_is_stopped(pool, start):
    def refuses(_service):
        raise ServiceError("no such batch", failure="bad option")

    with pool.lease(key(), start) as first:
        pass
    with pool.lease(key(), start, lambda _service: False) as second:
        assert first.process.poll() is not None
    with pytest.raises(ServiceError, match="no such batch"), pool.lease(key(), start, refuses):
        pass

    assert second.process.poll() is not None
    assert pool.starts == 2


@pytest.mark.parametrize("other", [key(a=2), key(round_="1", a=1), LeaseKey.of("fake", "another", {"a": 1}, "0")])
def test_another_key_stops_the_engine_first(pool, start, other):
    with pool.lease(key(a=1), start) as first:
        pass
    with pool.lease(other, start) as second:
        assert first.process.poll() is not None
        assert second.process.poll() is None
    assert pool.starts == 2


def test_the_order_of_fields_makes_no_other_key():
    assert key(a=1, b=2) == LeaseKey.of("fake", "model", {"b": 2, "a": 1}, "0")


def test_an_engine_that_died_between_leases_is_started_again(pool, start):
    with pool.lease(key(), start) as first:
        pass
    first.process.stop()
    with pool.lease(key(), start) as second:
        assert second is not first


def test_an_engine_that_dies_in_a_lease_is_an_error_of_that_lease(pool, start):
    with pytest.raises(ServiceExited), pool.lease(key(), start) as service:
        service.process.stop()


@pytest.mark.parametrize("error", [ServiceError("it is stuck"), LoadError("no answer")])
def test_nobody_inherits_an_engine_that_failed(pool, start, error):
    with pytest.raises(type(error)), pool.lease(key(), start) as first:
        raise error
    with pool.lease(key(), start) as second:
        assert second is not first


def test_a_test_that_fails_leaves_the_engine_to_the_next(pool, start):
    with pytest.raises(AssertionError), pool.lease(key(), start) as first:
        raise AssertionError
    with pool.lease(key(), start) as second:
        assert second is first


def test_a_start_that_fails_leaves_nothing_to_lend(pool, start):
    def fails(_slot):
        raise ServiceError("no")

    with pytest.raises(ServiceError), pool.lease(key(), fails):
        pass
    with pool.lease(key(), start):
        pass
    assert pool.starts == 2


def test_the_slot_is_held_until_the_pool_is_closed(pool, start, slot):
    rival = Slot(folder=slot._folder)
    with pool.lease(key(), start) as service:
        assert not rival.try_acquire()
    assert not rival.try_acquire()
    pool.close()
    assert rival.try_acquire()
    assert service.process.poll() is not None
    rival.release()


def test_the_engine_gets_the_devices_of_the_slot_that_is_free(tmp_path, start):
    slots = [Slot((name,), folder=tmp_path) for name in ("0", "1")]
    taken = Slot(("0",), folder=tmp_path)
    taken.acquire()
    pool = ServicePool(slots)
    with pool.lease(key(), start) as service:
        assert service.simulator.context.devices == ("1",)
    pool.close()
    taken.release()
