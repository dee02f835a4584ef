"""What the client says about its own lateness, and when it says that it was the bottleneck."""

from __future__ import annotations

import numpy as np
import pytest

from msprof_plugins.load.selfcheck import Findings, limits, mean_gap, notes_on_client

QUIET = np.full(100, 0.0001)


def findings(*, cpu=1.0, delays=QUIET, built_late=0):
    return Findings(10.0, cpu, delays, np.zeros(len(delays)), backlog=0, built_late=built_late)


@pytest.mark.parametrize(
    ("rate", "lag", "tolerated"),
    [(10.0, 0.0049, True), (10.0, 0.0051, False), (100.0, 0.0019, True), (100.0, 0.0021, False)],
)
def test_a_lag_is_tolerated_up_to_2_ms_or_a_twentieth_of_the_mean_gap(rate, lag, tolerated):
    gap = mean_gap(np.arange(100) / rate)
    notes = notes_on_client(findings(), np.full(100, lag), gap)
    told = f"the client could not keep the schedule: requests started {lag * 1e3:.1f} ms late at p99"
    assert tolerated == (notes == ())
    assert all(note.startswith(told) for note in notes)


def test_one_late_request_in_a_hundred_and_fifty_is_no_lag():
    lags = np.full(150, 0.0001)
    lags[7] = 1.0
    assert notes_on_client(findings(), lags, 0.01) == ()


def test_requests_that_were_made_late_are_told():
    assert notes_on_client(findings(built_late=3), np.empty(0), 0.0) == (
        "3 requests were made only when they had to be sent",
    )


@pytest.mark.parametrize(
    ("found", "lags", "words"),
    [
        (findings(), QUIET, ""),
        (findings(cpu=9.5), QUIET, "its event loop used 95% of a core"),
        (findings(delays=np.full(100, 0.02)), QUIET, "its event loop was 20.0 ms late at p99"),
        (findings(), np.full(100, 0.02), "requests started 20.0 ms late at p99"),
        (findings(delays=np.full(100, 0.004)), np.full(100, 0.004), ""),
    ],
)
def test_the_bottleneck_is_named(found, lags, words):
    assert limits(found, lags, np.full(100, 0.05)) == words


def test_lateness_that_is_small_beside_what_is_measured_is_no_bottleneck():
    late = np.full(100, 0.02)
    assert limits(findings(delays=late), late, np.full(100, 0.5)) == ""
    assert notes_on_client(findings(delays=late), np.empty(0), 0.0)[0].startswith("the client was busy")


@pytest.mark.parametrize("due", [[], [1.0]])
def test_one_request_has_no_gap(due):
    assert mean_gap(np.array(due)) == 0.0
