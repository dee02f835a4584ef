"""The course of a run equals what counting moment by moment would give."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median

import numpy as np
import pytest
from drawn_samples import RUNS
from hypothesis import given

from pytest_msprof import Sample, Samples
from pytest_msprof import series as module
from pytest_msprof.errors import SchemaTooNew, StoreError
from pytest_msprof.series import Series, course
from pytest_msprof.series_file import read_series, write_series

ONE = Sample(due=0.0, start=0.0, ttft=0.5, latency=2.5, closed=2.5, output_tokens=9, gaps=(1.0, 1.0))
TWO = Sample(due=1.0, start=1.0, ttft=0.2, error="cut", latency=0.2, closed=0.5, output_tokens=1)


def end(sample: Sample) -> float:
    known = [time for time in (sample.ttft, sample.latency, sample.closed) if not math.isnan(time)]
    return sample.start + (known[-1] if known else 0.0)


def slowly(samples: Samples, duration: float) -> dict[str, list[float]]:
    """Return the same figures, request by request and bin by bin."""
    begin = min(sample.start for sample in samples)
    bounds = [*range(math.ceil(duration)), duration]
    found = {name: [] for name in ("running", "output_throughput", "request_throughput", "failures", "ttft.p50")}
    for low, high in pairwise(bounds):
        last = high == duration

        def inside(moment, low=low, high=high, last=last):
            return low <= moment - begin < high or (last and moment - begin == high)

        shares = [max(0.0, min(high, end(s) - begin) - max(low, s.start - begin)) for s in samples]
        tokens = sum(count for s in samples for moment, count in events(s) if inside(moment))
        firsts = [s.ttft for s in samples if not s.error and inside(s.start + s.ttft)]
        found["running"].append(sum(shares) / (high - low))
        found["output_throughput"].append(tokens / (high - low))
        found["request_throughput"].append(sum(1 for s in samples if not s.error and inside(end(s))) / (high - low))
        found["failures"].append(sum(1 for s in samples if s.error and inside(end(s))))
        found["ttft.p50"].append(median(firsts) if firsts else math.nan)
    return found


def events(sample: Sample):
    if math.isnan(sample.ttft):
        return
    moment = sample.start + sample.ttft
    yield moment, min(sample.first_tokens, sample.output_tokens)
    for gap in sample.gaps:
        moment += gap
        yield moment, (sample.output_tokens - sample.first_tokens) / len(sample.gaps)


@given(RUNS)
def test_every_bin_holds_what_counting_by_hand_finds(samples):
    duration = max(end(sample) for sample in samples) - min(sample.start for sample in samples) + 0.125
    wanted = slowly(samples, duration)
    for name, found in course(samples, duration).items():
        if name == "running":
            assert found.values.tolist() == pytest.approx(wanted[name], abs=1e-9)
        else:  # a moment on the edge of two bins may round to either
            assert (
                np.nansum(found.values * widths(duration))
                == pytest.approx(np.nansum(np.array(wanted[name]) * widths(duration)))
                or name == "ttft.p50"
            )


def widths(duration: float):
    return np.diff([*range(math.ceil(duration)), duration])


def test_the_course_of_two_requests_is_told_bin_by_bin():
    found = course(Samples.of([ONE, TWO]), 2.5)
    assert found["running"].times.tolist() == [0.0, 1.0, 2.0]
    assert found["running"].values.tolist() == pytest.approx([1.0, 1.5, 1.0])
    assert found["output_throughput"].values.tolist() == pytest.approx([1.0, 5.0, 8.0])
    assert found["request_throughput"].values.tolist() == pytest.approx([0.0, 0.0, 2.0])
    assert found["failures"].values.tolist() == [0.0, 1.0, 0.0]
    assert np.isnan(found["ttft.p50"].values).tolist() == [False, True, True]


def test_tokens_are_placed_some_requests_at_a_time(monkeypatch):
    samples = Samples.of([ONE, TWO, ONE, TWO, ONE])
    whole = course(samples, 2.5)["output_throughput"].values.tolist()
    monkeypatch.setattr(module, "BATCH", 2)
    assert course(samples, 2.5)["output_throughput"].values.tolist() == whole


def test_a_run_without_requests_has_no_course():
    assert course(Samples.of([]), 1.0) == {}


def test_a_course_survives_the_disk_with_its_holes(tmp_path):
    series = {"server.running": Series(np.array([0.0, 1.0]), np.array([3.0, math.nan]))}
    write_series(tmp_path, series)
    (found,) = read_series(tmp_path).values()
    assert found.values.tolist() == pytest.approx([3.0, math.nan], nan_ok=True)


def test_nobody_watched_is_no_file_and_no_course(tmp_path):
    write_series(tmp_path, {})
    assert (list(tmp_path.iterdir()), read_series(tmp_path)) == ([], {})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", StoreError),
        ('{"schema_version": 1}', StoreError),
        ('{"schema_version": 1, "series": {"running": 3}}', StoreError),
        ('{"schema_version": 99}', SchemaTooNew),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, error):
    (tmp_path / "series.json").write_text(text)
    with pytest.raises(error, match=r"series\.json"):
        read_series(tmp_path)
