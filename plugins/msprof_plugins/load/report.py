"""What a reader must know about a load: its notes, the figures about the client, and why nothing was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msprof_plugins.load.selfcheck import limits, mean_gap, notes_on_client, statistics
from msprof_plugins.load.share import Outcome
from pytest_msprof.errors import LoadError
from pytest_msprof.http_client import ask
from pytest_msprof.interfaces import LoadJob
from pytest_msprof.metrics import measure
from pytest_msprof.requests import Plan, has_tokenizer, output_tokens
from pytest_msprof.results import Measurement
from pytest_msprof.samples import Samples

__all__ = ["measurement_of"]

QUESTION_TIMEOUT = 5.0
SEVERAL = 1.2
"""Tokens an event from which on the difference is worth a word: a busy engine joins some now and then."""


def measurement_of(job: LoadJob, plan: Plan, outcome: Outcome, *, place: str, patience: float) -> Measurement:
    """Sum up what was measured at *place*.

    Raises `LoadError` when no request succeeded.
    """
    samples = outcome.samples
    if outcome.errors.total() == len(samples):
        raise LoadError(_nothing(job, outcome, place))
    lags = (samples.start - samples.due)[samples.ok] if plan.concurrency is None else np.empty(0)
    limited = next(filter(None, (limits(found, lags, samples.ttft[samples.ok]) for found in outcome.findings)), "")
    facts = [found.facts() for found in outcome.findings]
    client = max(facts, key=lambda found: found["cpu_share"]) | {"workers": len(facts)}
    if lags.size:
        client["schedule_lag"] = statistics(lags)
    (job.folder / "client.json").write_text(json.dumps(client, indent=1), encoding="utf-8")
    notes = [
        *_notes_on_end(outcome, plan, patience),
        *_notes_on_tokens(samples, output_tokens(plan.requests, outcome.numbers), job.target.tokenizer),
        *dict.fromkeys(
            note for found in outcome.findings for note in notes_on_client(found, lags, mean_gap(samples.due))
        ),
    ]
    complete = not (outcome.gave_up or outcome.stopped)
    measured = measure(samples, outcome.last_end - float(samples.start.min()), notes=tuple(notes), complete=complete)
    return replace(measured, client=client, client_limited=limited, began=outcome.began)


def _nothing(job: LoadJob, outcome: Outcome, place: str) -> str:
    """Say that nothing was measured, and why."""
    sent = len(outcome.samples)
    if not sent:
        return f"no request to {place} ended"
    listed = ", ".join(f"{name}: {count}" for name, count in outcome.errors.most_common())
    words = f"none of {sent} requests to {place} succeeded ({listed}); the first: {outcome.first_failure}"
    served = _served_models(job) if set(outcome.errors) == {"status 404"} else []
    return f"{words} (models served there: {', '.join(served)})" if served else words


def _served_models(job: LoadJob) -> list[str]:
    """Ask which models there are, as far as the server says."""
    with suppress(OSError, LookupError, TypeError):
        url = f"{job.target.base_url.rstrip('/').removesuffix('/v1')}/v1/models"
        answer = ask(url, key=job.target.api_key, headers=job.target.headers, timeout=QUESTION_TIMEOUT)
        return [model["id"] for model in answer.body["data"]]
    return []


def _notes_on_end(outcome: Outcome, plan: Plan, patience: float) -> Iterator[str]:
    sent = len(outcome.samples)
    if outcome.gave_up:
        yield f"given up after {sent} of {len(plan.requests)} requests: nothing was answered for {patience:g} s"
    if outcome.stopped:
        yield f"stopped after {sent} requests"
    if failed := outcome.errors.total():
        yield f"{failed} of {sent} requests failed, the first: {outcome.first_failure}"


def _notes_on_tokens(samples: Samples, asked: NDArray[np.int64], tokenizer: Path | None) -> Iterator[str]:
    if not has_tokenizer(tokenizer):
        where = f" in {tokenizer}" if tokenizer else ""
        yield f"no tokenizer{where}: the lengths of prompts are words, not tokens"
    wanted = asked[samples.ok]
    answered = samples.output_tokens[samples.ok]
    if others := int(((answered != wanted) & (answered != 0)).sum()):
        span = f"{wanted.min()}" if wanted.min() == wanted.max() else f"{wanted.min()} to {wanted.max()}"
        yield f"{others} of {wanted.size} answers have another length than the {span} tokens asked for"
    yield from _notes_on_events(samples)
    sources = _distinct(samples.token_source[samples.ok])
    if "tokenizer" in sources:
        yield "output tokens were counted by the tokenizer: the engine did not say"
    if "events" in sources:
        yield "output tokens are events: the engine did not say, and there is no tokenizer"


def _notes_on_events(samples: Samples) -> Iterator[str]:
    """Say where events bring several tokens, since gaps between events then are no times of a token."""
    gaps = np.diff(samples.gap_offsets)
    several = samples.ok & (gaps > 0) & (samples.output_tokens > 0)
    events, tokens = int((gaps + 1)[several].sum()), int(samples.output_tokens[several].sum())
    if tokens <= events * SEVERAL:
        return
    first = "" if (samples.first_tokens[several] > 1).any() else ", where the first event counts as one"
    yield (
        f"an event brought {tokens / events:.3g} tokens on average: itl is the time between events, tpot that of a "
        f"token{first}"
    )


def _distinct(texts: NDArray[np.str_]) -> Sequence[str]:
    found: list[str] = np.unique(texts).tolist()
    return found
