"""Did we get slower? The served model at three concurrencies, against the golden run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_msprof import Tolerance, Workload, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_msprof import Golden, Loader, Run, Service

TOLERANCE = Tolerance({"output_throughput": 0.05, "ttft.p50": 0.10, "tpot.p50": 0.05})


@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_chat(
    service: Service, load_generator: Loader, record: Callable[[Run], Run], golden: Golden, concurrency: int
) -> None:
    run = record(load_generator.run(Workload(concurrency=concurrency, output_tokens=32, endpoint="chat"), service))
    assert run.success_rate == 1
    compare(run, golden.runs, TOLERANCE).raise_for_regression()
