"""Whether the service counted what the client counted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from pytest_msprof.results import Measurement

__all__ = ["mismatches"]

SLACK = 0.01
"""Share of the tokens by which two honest counts may differ."""


def mismatches(measured: Measurement, counted: Mapping[str, float], *, warmup: int) -> Iterator[str]:
    """Yield what the service *counted* otherwise than the client, one sentence each.

    *warmup* requests came before those of *measured*, and each failed one may or may not have been
    counted, so there is a range between too few and too many. A program that does not say when it
    began may have sent probes that it does not tell of either, so for it there is no too many.
    """
    others = math.inf if measured.began is None else warmup + measured.failed
    if "requests" in counted:
        yield from _outside("requests", counted["requests"], measured.completed, measured.completed + others)
    samples = measured.samples
    if "output_tokens" not in counted or samples is None or not samples.ok.any():
        return
    tokens = samples.output_tokens[samples.ok]
    if (tokens >= 0).all() and "events" not in samples.token_source[samples.ok]:
        total, longest = int(tokens.sum()), int(samples.output_tokens.max())
        yield from _outside("output tokens", counted["output_tokens"], total, total + others * longest, slack=SLACK)


def _outside(what: str, counted: float, fewest: float, most: float, *, slack: float = 0.0) -> Iterator[str]:
    wanted = f"{fewest:.0f} to {most:.0f}" if fewest < most < math.inf else f"{fewest:.0f}"
    if counted < fewest * (1 - slack):
        yield f"the service counted {counted:.0f} {what}, fewer than the {wanted} of this client"
    elif counted > most * (1 + slack):
        yield f"the service counted {counted:.0f} {what}, more than the {wanted} of this client: is it alone?"
