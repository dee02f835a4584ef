"""What tokens cost, where somebody says what an hour costs."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_msprof.metric_table import COST

__all__ = ["with_cost"]

HOUR = 3600.0
MILLION = 1e6


def with_cost(metrics: Mapping[str, float], price_per_hour: float | None) -> dict[str, float]:
    """Return *metrics* with the cost of a million output tokens, where they tell how many there were a second.

    *price_per_hour* is what an hour of everything that serves costs, in any currency; None leaves the cost out.
    """
    rate = metrics.get("output_throughput", 0.0)
    if price_per_hour is None or rate <= 0:
        return {name: value for name, value in metrics.items() if name != COST}
    return {**metrics, COST: price_per_hour / HOUR / rate * MILLION}
