"""What the rows of an analysed folder add to its summaries: distributions, the forward passes, the KV cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pytest_msprof.sources.quantities import Quantity, quantity, span
from pytest_msprof.sources.row_values import row_values
from pytest_msprof.sources.source import Figures, Name
from pytest_msprof.sources.spool import spooled
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
    drawn = {column: key for key, column in SUMMARISED.items() if ("request", key) in figures.quantities}
    further = {(table, column): found for table, column, found in FURTHER if found[:2] not in figures.quantities}
    with row_values(folder) as tables, spooled() as spool:
        for table in ("request", "forward", "kvcache"):
            wanted = list(drawn) if table == "request" else [column for name, column in further if name == table]
            for column, values in tables.of(table, wanted):
                spool.extend(f"{table} {column}", values)
        for name, values in spool.take():
            table, _, column = name.partition(" ")
            told = spread(values)
            if table == "request":
                draw(figures, figures.quantities["request", drawn[column]], told.shape)
            else:
                figures.add(further[table, column], told.statistics, count=told.size, shape=told.shape)


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
