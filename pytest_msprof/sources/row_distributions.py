"""What the rows of an analysed folder add to its summaries: distributions, the forward passes, the KV cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pytest_msprof.sources.quantities import Quantity, quantity, span
from pytest_msprof.sources.row_values import RowValues, row_values
from pytest_msprof.sources.source import Figures, Name
from pytest_msprof.sources.spool import Spool, spooled
from pytest_msprof.sources.spread import spread

__all__ = ["add_rows", "draw"]

SUMMARISED = {
    "ttft": "first_token_latency",
    "waiting_time": "queue_wait_time",
    "latency": "execution_time",
    "input_tokens": "recv_token_size",
    "output_tokens": "reply_token_size",
}
"""Metrics of the summary of requests, and the columns of the rows behind them."""
FACTORS = (1.0, 1000.0)
"""The unit of a column, in that of the summary: `analyze` writes seconds under the name of milliseconds."""
SAME = 0.01
"""Share by which the median of the rows may differ from the summary's."""
FURTHER = (
    ("forward", "during_time", span("forward")),
    ("forward", "bubble_time", quantity("batch", "forward_bubble_time (ms)")),
    ("kvcache", "kvcache_usage_rate", quantity("batch", "kvcache_usage_rate")),
)
"""Columns that no summary has, and what they are."""


def add_rows(folder: Path, figures: Figures) -> None:
    """Add what the rows of *folder* say to *figures*, where the summaries do not say it already."""
    with row_values(folder) as tables, spooled() as spool:
        for key, column in SUMMARISED.items():
            if ("request", key) in figures.quantities:
                _collect(spool, f"request {key}", tables, "request", column)
        for table, column, found in FURTHER:
            if found[:2] not in figures.quantities:
                _collect(spool, " ".join(found[:2]), tables, table, column)
        further = {" ".join(found[:2]): found for _, _, found in FURTHER}
        for name, values in spool.take():
            if name in further:
                told = spread(values)
                figures.add(further[name], told.statistics, count=told.size, shape=told.shape)
            else:
                found = figures.quantities["request", name.removeprefix("request ")]
                draw(figures, found, spread(values).shape)


def draw(figures: Figures, found: Quantity, shape: Sequence[float]) -> None:
    """Add the distribution of a summarised metric, unless its rows are of something else."""
    told = figures.values.get(Name(found.dimension, found.key, "p50"))
    if told is None or not shape:
        return
    median = float(np.median(shape))
    for factor in FACTORS:
        if math.isclose(median * factor, told * found.per_unit, rel_tol=SAME):
            drawn = tuple(value * factor / found.per_unit for value in shape)
            figures.shapes[found.dimension, found.key] = drawn
            return


def _collect(spool: Spool, name: str, tables: RowValues, table: str, column: str) -> None:
    for value in tables.of(table, column):
        spool.add(name, value)
